//! `WITH (..)`: option values, and the options that every table may have.

use std::{collections::BTreeMap, ops::Range};

use postrider_core::{Diagnostic, Format, JsonForm, OptionValue, TableOption, TableOptions};
use postrider_plan::{AtEnd, BadData, CommonOptions, TableRole};
use sqlparser::ast::{Expr, SqlOption, UnaryOperator, Value};

use crate::{
    catalog::Catalog,
    codes,
    interval::{self, NotALength},
    text::SourceText,
};

/// Options in the order of the text.
pub(crate) fn read(
    catalog: &Catalog,
    source: &SourceText<'_>,
    table: &str,
    table_range: Range<usize>,
    options: &[SqlOption],
) -> Result<TableOptions, Vec<Diagnostic>> {
    let mut read: BTreeMap<String, TableOption> = BTreeMap::new();
    let mut errors = Vec::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            errors.push(
                Diagnostic::error(codes::BAD_OPTION, format!("`{option}` is no option"))
                    .at(table_range.clone())
                    .hint("write options as name = value"),
            );
            continue;
        };
        let name =
            if key.quote_style.is_some() { key.value.clone() } else { key.value.to_lowercase() };
        let range = source
            .range(key.span)
            .map_or_else(|| table_range.clone(), |key| source.item(key.start));
        let Some(read_value) = option_value(catalog, value) else {
            errors.push(no_value(catalog, &name, value).at(range));
            continue;
        };
        if read.contains_key(&name) {
            errors.push(
                Diagnostic::error(codes::BAD_OPTION, format!("option `{name}` is given twice"))
                    .at(range)
                    .hint("remove one of them"),
            );
            continue;
        }
        read.insert(name, TableOption { value: read_value, range });
    }
    if errors.is_empty() { Ok(TableOptions::new(table, table_range, read)) } else { Err(errors) }
}

/// What is wrong with an option that has no value that it could have.
fn no_value(catalog: &Catalog, name: &str, written: &Expr) -> Diagnostic {
    let months = matches!(written, Expr::Interval(_))
        && interval::literal_ns(catalog, written) == Err(NotALength::Months);
    let (message, hint) = match written {
        _ if months => (
            format!("months and years have no fixed length, so option `{name}` can't take them"),
            "use days: INTERVAL '30 days'".to_owned(),
        ),
        Expr::Identifier(word) => (
            format!("option `{name}` must be a literal"),
            format!("a text stands in single quotes: '{}'", word.value),
        ),
        _ => (
            format!("option `{name}` must be a literal"),
            "a text 'abc', a number, true or false, or INTERVAL '5 seconds'".to_owned(),
        ),
    };
    Diagnostic::error(codes::BAD_OPTION, message).hint(hint)
}

fn option_value(catalog: &Catalog, expr: &Expr) -> Option<OptionValue> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(OptionValue::Text(text.clone()))
            }
            Value::Boolean(value) => Some(OptionValue::Boolean(*value)),
            Value::Number(text, _) => number(text),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match option_value(catalog, expr)? {
            OptionValue::Number(number) => Some(OptionValue::Number(-number)),
            OptionValue::Decimal(number) => Some(OptionValue::Decimal(-number)),
            _ => None,
        },
        Expr::Interval(_) => interval::literal_ns(catalog, expr).ok().map(OptionValue::Interval),
        _ => None,
    }
}

fn number(text: &str) -> Option<OptionValue> {
    if let Ok(number) = text.parse() {
        return Some(OptionValue::Number(number));
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(OptionValue::Decimal)
}

/// The connectors whose tables have no options `json.*`.
const NO_JSON: [&str; 3] = ["generator", "blackhole", "email"];

/// Takes `connector` and the common options; the rest is the connector's.
pub(crate) fn take_common(
    options: &mut TableOptions,
) -> Result<(String, CommonOptions), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut keep = |result: Result<&'static str, Diagnostic>| match result {
        Ok(word) => word,
        Err(error) => {
            errors.push(error);
            ""
        }
    };
    let role = match options.peek("type") {
        // Its name is to be known all the same.
        None => options.take("type").and(None),
        Some(_) => match keep(options.word("type", &["source", "sink"])) {
            "source" => Some(TableRole::Source),
            "sink" => Some(TableRole::Sink),
            _ => None,
        },
    };
    let bad_data = match keep(options.word("bad_data", &["dead_letter", "fail"])) {
        "fail" => BadData::Fail,
        _ => BadData::DeadLetter,
    };
    let at_end = match keep(options.word("at_end", &["observed", "fire"])) {
        "fire" => AtEnd::Fire,
        _ => AtEnd::Observed,
    };
    let format = keep(options.word("format", &Format::ALL.map(Format::name)));
    let format = Format::ALL.into_iter().find(|known| known.name() == format).unwrap_or_default();
    let mut json = JsonForm::default();
    // Rows that are made here, and mail, are no JSON.
    let connector = options.peek("connector").map(|option| &option.value);
    let is_json =
        !matches!(connector, Some(OptionValue::Text(name)) if NO_JSON.contains(&name.as_str()));
    if is_json && matches!(format, Format::Json | Format::DebeziumJson) {
        let forms = ["RFC3339", "unix_millis"];
        json.unix_millis = keep(options.word("json.timestamp_format", &forms)) == "unix_millis";
    }
    if is_json && format == Format::Json {
        match options.boolean("json.unstructured") {
            Ok(unstructured) => json.unstructured = unstructured.unwrap_or(false),
            Err(error) => errors.push(error),
        }
    }
    let idle_timeout = options.interval("idle_timeout").unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let idle_advance = options.boolean("idle_advance").unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let max_future_skew = options.interval("max_future_skew").unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let connector = take_connector(options).unwrap_or_else(|error| {
        errors.push(error);
        String::new()
    });
    let common = CommonOptions {
        bad_data,
        idle_timeout,
        idle_advance: idle_advance.unwrap_or(true),
        max_future_skew,
        max_lookup_bytes: CommonOptions::MAX_LOOKUP_BYTES,
        at_end,
        role,
        format,
        json,
    };
    if errors.is_empty() { Ok((connector, common)) } else { Err(errors) }
}

/// How many bytes of a table that is looked up each shard may keep.
pub(crate) fn lookup_bytes(options: &mut TableOptions) -> Result<u64, Diagnostic> {
    let place = options.peek("max_lookup_bytes").map(|option| option.range.clone());
    let Some(number) = options.number("max_lookup_bytes")? else {
        return Ok(CommonOptions::MAX_LOOKUP_BYTES);
    };
    u64::try_from(number).ok().filter(|bytes| *bytes > 0).ok_or_else(|| {
        Diagnostic::error(codes::BAD_OPTION, "`max_lookup_bytes` is a number of bytes above 0")
            .at_option(place)
            .hint("a gigabyte is 1073741824")
    })
}

fn take_connector(options: &mut TableOptions) -> Result<String, Diagnostic> {
    options.text("connector")?.ok_or_else(|| {
        Diagnostic::error(
            codes::NO_CONNECTOR,
            format!("table `{}` does not say where its rows come from or go to", options.table),
        )
        .at(options.table_range.clone())
        .hint("add WITH (connector = '..'): collector, single_file, filesystem, generator, stdout, blackhole or email")
    })
}
