//! Renders a template with sample rows at check time, to find what its syntax does not show: unknown
//! filters, wrong types, and columns that may be NULL where the template has no `default` for them.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use minijinja::{ErrorKind, Value};

use super::{FaultKind, Part, RenderError, Renderer, TemplateFault};
use crate::contract::{EMAIL, SinkColumn, is_variable};

/// What a text may look like. The template is fine if it renders with one of them.
const SAMPLE_TEXTS: [&str; 3] = ["https://sample.example/", "2026-11-24T10:00:00Z", "12"];

/// Finds what fails.
///
/// Not exhaustive: a branch that the samples don't take is not seen, and then shows as a `render_error` of that row.
pub(crate) fn probe(renderer: &Renderer, columns: &[SinkColumn]) -> Vec<TemplateFault> {
    let mut failed = None;
    for text in SAMPLE_TEXTS {
        let sample = sample_row(columns, text, None);
        match renderer.render(&sample) {
            Ok(_) => return null_faults(renderer, columns, text),
            Err(error) if is_certain(error.kind) => {
                return vec![fault(&error, FaultKind::Syntax, &error.message)];
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let warn = |error: RenderError| {
        let message = format!("it fails with a sample row: {}", error.message);
        fault(&error, FaultKind::Sample, &message)
    };
    failed.map(warn).into_iter().collect()
}

/// One warning a column whose NULL makes the render fail.
fn null_faults(renderer: &Renderer, columns: &[SinkColumn], text: &str) -> Vec<TemplateFault> {
    columns
        .iter()
        // A row without an address is not sent anyway.
        .filter(|column| column.nullable && is_variable(&column.name) && column.name != EMAIL)
        .filter(|column| is_used(renderer, &column.name))
        .filter_map(|column| {
            let error = renderer.render(&sample_row(columns, text, Some(&column.name))).err()?;
            (error.kind == ErrorKind::UndefinedError)
                .then(|| fault(&error, FaultKind::Null, &column.name))
        })
        .collect()
}

fn is_used(renderer: &Renderer, name: &str) -> bool {
    Part::ALL.iter().any(|part| {
        renderer.variables(*part).iter().any(|path| path.split('.').next() == Some(name))
    })
}

/// Errors that don't depend on the row.
const fn is_certain(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::UnknownBlock
            | ErrorKind::TemplateNotFound
            | ErrorKind::BadInclude
            | ErrorKind::MissingArgument
            | ErrorKind::TooManyArguments
            | ErrorKind::SyntaxError
    )
}

fn fault(error: &RenderError, kind: FaultKind, message: &str) -> TemplateFault {
    TemplateFault { part: error.part, kind, message: message.to_owned() }
}

fn sample_row(columns: &[SinkColumn], text: &str, null: Option<&str>) -> Value {
    let mut row = BTreeMap::new();
    for column in columns.iter().filter(|column| is_variable(&column.name)) {
        let value = match null {
            Some(name) if name == column.name => Value::UNDEFINED,
            _ => sample(&column.data_type, text),
        };
        row.insert(column.name.clone(), value);
    }
    Value::from_pairs(row)
}

fn sample(kind: &DataType, text: &str) -> Value {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Value::from(text),
        DataType::Boolean => Value::from(true),
        kind if kind.is_integer() => Value::from(2),
        kind if kind.is_floating() || kind.is_decimal() => Value::from(12.5),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            Value::from("2026-11-24T10:00:00Z")
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Value::from_iter([sample(item.data_type(), text), sample(item.data_type(), text)])
        }
        DataType::Struct(fields) => Value::from_pairs(
            fields.iter().map(|field| (field.name().clone(), sample(field.data_type(), text))),
        ),
        DataType::Dictionary(_, value) => sample(value, text),
        _ => Value::from(text),
    }
}
