//! Options and names.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use postrider_core::{Format, JsonForm, OptionValue, TableOption, TableOptions};

use super::{check_sink, check_source, unknown_connector};

const JSON: (Format, JsonForm) =
    (Format::Json, JsonForm { unstructured: false, unix_millis: false });

fn options(values: &[(&str, &str)]) -> TableOptions {
    let option =
        |text: &str| TableOption { value: OptionValue::Text(text.to_owned()), range: 3..9 };
    let values: BTreeMap<_, _> =
        values.iter().map(|(name, text)| ((*name).to_owned(), option(text))).collect();
    TableOptions::new("t", 0..1, values)
}

fn schema(data_type: DataType) -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("x", data_type, true)]))
}

#[test]
fn an_unknown_connector_suggests_the_nearest() {
    let hint = |name| unknown_connector(name, None).hint.unwrap();
    assert!(hint("singel_file").starts_with("did you mean 'single_file'?"));
    assert!(hint("colector").starts_with("did you mean 'collector'?"));
    assert!(hint("kafka").starts_with("connectors: collector, single_file"));
}

#[test]
fn a_connector_of_the_wrong_direction_is_refused() {
    let text = schema(DataType::Utf8);
    let faults = check_source("stdout", JSON, options(&[]), &text).unwrap_err();
    assert_eq!(faults[0].message, "table `t`: a `stdout` table can't be read");
    let faults = check_sink("generator", JSON, options(&[]), &text).unwrap_err();
    assert_eq!(faults[0].code, "PR0304");
    assert!(faults[0].hint.as_deref().unwrap().contains("stdout"));
    let faults = check_sink("nowhere", JSON, options(&[]), &text).unwrap_err();
    assert_eq!(faults[0].code, "PR0303");
}

#[test]
fn all_faults_of_the_options_come_at_once() {
    let wrong = options(&[("pattern", "a"), ("pth", "x")]);
    let faults = check_source("filesystem", JSON, wrong, &schema(DataType::Utf8)).unwrap_err();
    let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "table `t` needs option `path`",
            "option `pattern` needs exactly one '*'",
            "table `t` has no option `pth`"
        ]
    );
    let wrong = options(&[("rows", "-1"), ("start", "soon"), ("keys", "0")]);
    assert_eq!(
        check_source("generator", JSON, wrong, &schema(DataType::Utf8)).unwrap_err().len(),
        3
    );
}

#[test]
fn types_are_checked_before_anything_is_opened() {
    let duration = schema(DataType::Duration(TimeUnit::Second));
    let path = || options(&[("path", "{{ UNSET }}/x")]);
    for connector in ["single_file", "filesystem"] {
        assert_eq!(check_source(connector, JSON, path(), &duration).unwrap_err()[0].code, "PR0210");
        assert_eq!(check_sink(connector, JSON, path(), &duration).unwrap_err()[0].code, "PR0210");
        assert_eq!(check_source(connector, JSON, path(), &schema(DataType::Utf8)), Ok(()));
    }
    assert_eq!(
        check_source("generator", JSON, options(&[]), &duration).unwrap_err()[0].code,
        "PR0211"
    );
    assert_eq!(check_sink("blackhole", JSON, options(&[]), &duration), Ok(()));
}

#[test]
fn a_missing_file_and_a_missing_variable_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &str| {
        crate::open_source(
            "single_file",
            crate::SourceSpec {
                options: options(&[("path", path)]),
                format: Format::Json,
                json: JsonForm::default(),
                schema: schema(DataType::Utf8),
                base_dir: dir.path(),
                env: &|_| None,
                clock: Arc::new(crate::conformance::source::StoppedClock::default()),
            },
        )
        .unwrap_err()
        .swap_remove(0)
    };
    let fault = open("none.ndjson");
    assert_eq!(fault.code, "PR0601");
    assert!(fault.message.contains("none.ndjson"), "{fault}");
    assert_eq!(open("{{ DATA }}").code, "PR0305");
    assert!(open(".").hint.unwrap().contains("filesystem"));
}
