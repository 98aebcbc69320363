//! Tables: connectors, options and types.

use std::ops::Range;

use sqlparser::ast::{
    CreateTable, CreateTableOptions, DataType, Expr, SqlOption, TimezoneInfo, Value,
};

use super::Findings;

/// Arroyo's connectors.
const CONNECTORS: [&str; 22] = [
    "blackhole",
    "confluent",
    "delta",
    "filesystem",
    "fluvio",
    "iceberg",
    "impulse",
    "kafka",
    "kinesis",
    "memory",
    "mqtt",
    "nats",
    "nexmark",
    "polling_http",
    "preview",
    "rabbitmq",
    "redis",
    "single_file",
    "sse",
    "stdout",
    "webhook",
    "websocket",
];

/// Its formats.
const FORMATS: [&str; 7] =
    ["json", "debezium_json", "avro", "protobuf", "raw_string", "raw_bytes", "parquet"];

/// What stands for a connector that only Postrider has.
const INSTEAD: [(&str, &str); 3] = [
    ("collector", "read the events from connector = 'kafka'"),
    (
        "email",
        "write the trigger rows to connector = 'kafka', type = 'sink', from which a mailer takes them",
    ),
    ("generator", "use connector = 'impulse' or 'nexmark'"),
];

/// Options of Postrider's own that any table may have, and what to know without them.
const OPTIONS: [(&str, &str); 5] = [
    ("max_lookup_bytes", "write lookup.cache.max_bytes: its cache may be smaller than the table"),
    (
        "idle_timeout",
        "without it no clock runs on: what fires last in a quiet hour waits for the next event",
    ),
    ("idle_advance", "remove it: there is no idle_timeout either"),
    ("max_future_skew", "filter events from the future before they come to the table"),
    ("at_end", "remove it: the end of all input completes every window there"),
];

/// Looks at a declaration.
pub(super) fn check(create: &CreateTable, range: &Range<usize>, findings: &mut Findings<'_, '_>) {
    if let CreateTableOptions::With(options) = &create.table_options {
        let connector = options.iter().find_map(|option| value_of(option, "connector"));
        let own = connector.and_then(|name| INSTEAD.iter().find(|(known, _)| *known == name));
        for option in options {
            check_option(option, own.copied(), range, findings);
        }
    }
    for column in &create.columns {
        let zoned = matches!(
            column.data_type,
            DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
        );
        if zoned {
            findings.refused(
                place(findings, column.name.span, range),
                format!("Arroyo has no TIMESTAMP WITH TIME ZONE, which `{}` is", column.name.value),
                "declare it TIMESTAMP: it holds the same moment, in UTC",
            );
        }
    }
}

fn check_option(
    option: &SqlOption,
    own: Option<(&str, &str)>,
    range: &Range<usize>,
    findings: &mut Findings<'_, '_>,
) {
    let SqlOption::KeyValue { key, .. } = option else { return };
    let item = findings
        .source
        .range(key.span)
        .map_or_else(|| range.clone(), |key| findings.source.item(key.start));
    let name = key.value.to_lowercase();
    if let Some(value) = value_of(option, "connector") {
        match own {
            Some((_, hint)) => findings.refused(item, no_connector(value), hint),
            None if !CONNECTORS.contains(&value) => {
                findings.refused(item, no_connector(value), "choose one that both have");
            }
            None => {}
        }
    } else if let Some((_, hint)) = OPTIONS.iter().find(|(known, _)| *known == name) {
        findings.refused(item, format!("Arroyo has no option `{name}`"), *hint);
    } else if let Some(value) = value_of(option, "format").filter(|name| !FORMATS.contains(name)) {
        findings.refused(item, format!("Arroyo has no format '{value}'"), "write 'json'");
    } else if value_of(option, "bad_data") == Some("dead_letter") {
        findings.refused(
            item,
            "Arroyo keeps no dead letters",
            "write 'drop', which loses such records, or 'fail'",
        );
    }
}

fn no_connector(name: &str) -> String {
    format!("Arroyo has no connector '{name}'")
}

/// The text of the option of this name.
fn value_of<'o>(option: &'o SqlOption, name: &str) -> Option<&'o str> {
    let SqlOption::KeyValue { key, value: Expr::Value(value) } = option else { return None };
    match &value.value {
        Value::SingleQuotedString(text) if key.value.eq_ignore_ascii_case(name) => Some(text),
        _ => None,
    }
}

fn place(
    findings: &Findings<'_, '_>,
    span: sqlparser::tokenizer::Span,
    range: &Range<usize>,
) -> Range<usize> {
    findings.source.range(span).unwrap_or_else(|| range.clone())
}
