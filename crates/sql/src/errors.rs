//! DataFusion's errors in our words, with a place in the text.

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, DataFusionError, Diagnostic as PlannerDiagnostic, SchemaError},
};
use postrider_core::Diagnostic;

use crate::{codes, parse::lower_first, suggest, text::SourceText, types::TYPES};

/// Explains an error; without a better place it is at `within`.
pub(crate) fn explain(
    error: &DataFusionError,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    match error {
        DataFusionError::Collection(errors) => {
            errors.iter().flat_map(|error| explain(error, source, within)).collect()
        }
        error => vec![explain_one(error, source, within)],
    }
}

fn explain_one(
    error: &DataFusionError,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Diagnostic {
    let noted = error.diagnostic();
    let place = noted.and_then(|noted| place(noted, source, within));
    if let DataFusionError::SchemaError(schema_error, _) = root(error) {
        return explain_schema(schema_error, place.as_ref(), source, within);
    }
    let message = root_message(error);
    if message.contains("must appear in the GROUP BY clause")
        || message.contains("must be part of the GROUP BY clause")
    {
        let column = noted.and_then(|noted| quoted(&noted.message)).unwrap_or("the column");
        let shown = column.rsplit('.').next().unwrap_or(column);
        return Diagnostic::error(
            codes::BAD_EXPRESSION,
            format!("`{shown}` is neither grouped by nor aggregated"),
        )
        .at(place.or_else(|| source.find_name(shown, within)).unwrap_or_else(|| within.clone()))
        .hint("add it to GROUP BY, or wrap it in an aggregate such as max(..)");
    }
    if let Some(found) = explain_type(&message, source, within) {
        return found;
    }
    if message.contains("require unique expression names") {
        return explain_duplicate(&message, source, within);
    }
    let code = if message.contains("is not the event time") {
        codes::NO_EVENT_TIME
    } else if message.contains("once for each of its windows") {
        codes::WINDOW_PLACE
    } else {
        codes::BAD_EXPRESSION
    };
    let named = || {
        let name = quoted(&message)?;
        source.find_name(name.rsplit('.').next()?, within)
    };
    let hint = noted
        .and_then(|noted| noted.helps.first())
        .map_or_else(|| hint_for(&message).to_owned(), |help| lower_first(&help.message));
    Diagnostic::error(code, message.clone())
        .at(place.or_else(named).unwrap_or_else(|| within.clone()))
        .hint(hint)
}

/// A type in a CAST that can't be.
fn explain_type(
    message: &str,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let zoned = message.contains("TIME ZONE is not supported");
    let written = message.strip_prefix("unsupported SQL type ").unwrap_or_default();
    if !zoned && written.is_empty() {
        return None;
    }
    let words = ["TIMESTAMPTZ", "TIMESTAMP", written.split([' ', '(']).next().unwrap_or_default()];
    let words = if zoned { &words[..2] } else { &words[2..] };
    let place = words.iter().find_map(|word| source.find_name(word, within));
    let (message, hint) = if zoned {
        (message.to_owned(), "use TIMESTAMP: every time is UTC".to_owned())
    } else {
        (format!("there is no type {written}"), suggest::hint(written, "types", TYPES))
    };
    Some(
        Diagnostic::error(codes::BAD_TYPE, message)
            .at(place.unwrap_or_else(|| within.clone()))
            .hint(hint),
    )
}

/// `.. the expression "t.x AS a" at position 0 and "t.y AS a" at position 1 ..`
fn explain_duplicate(message: &str, source: &SourceText<'_>, within: &Range<usize>) -> Diagnostic {
    let second = message.split('"').nth(3).unwrap_or_default();
    let name = second.rsplit_once(" AS ").map_or(second, |(_, name)| name);
    let shown = if name == second { name.rsplit('.').next().unwrap_or(name) } else { name };
    let places = source.find_names(shown, within);
    Diagnostic::error(codes::DUPLICATE_NAME, format!("two columns are named `{shown}`"))
        .at(places.into_iter().nth(1).unwrap_or_else(|| within.clone()))
        .hint("give one of them another name: expr AS name")
}

fn hint_for(message: &str) -> &'static str {
    if message.contains("arguments") {
        return "check the number and the types of the arguments";
    }
    if message.contains("the time zone of") {
        return "name a TEXT column, or a zone such as 'Europe/Berlin'";
    }
    if message.contains("not found in struct") {
        return "check the field's name in CREATE TABLE";
    }
    if message.contains("non-boolean predicate") {
        return "write a condition, such as x > 0";
    }
    if message.contains("different number of columns") {
        return "every SELECT of a UNION yields the same columns";
    }
    if message.contains("coerce") || message.contains("type") || message.contains("compar") {
        "convert one side: CAST(x AS type)"
    } else if message.contains("more than once") || message.contains("unique expression names") {
        "give one of them another name: expr AS name"
    } else {
        "see docs/errors.md"
    }
}

fn explain_schema(
    error: &SchemaError,
    place: Option<&Range<usize>>,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Diagnostic {
    let find = |name: &str| {
        place.cloned().or_else(|| source.find_name(name, within)).unwrap_or_else(|| within.clone())
    };
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let fields = || valid_fields.iter().filter(|valid| same_table(field, valid));
            let mut names: Vec<&str> = fields().map(|valid| valid.name.as_str()).collect();
            if names.is_empty() {
                names = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
            }
            let table =
                field.relation.as_ref().map_or_else(String::new, |table| format!("{table}."));
            Diagnostic::error(
                codes::UNKNOWN_COLUMN,
                format!("column `{table}{}` does not exist", field.name),
            )
            .at(find(&field.name))
            .hint(suggest::hint(&field.name, "columns here", names))
        }
        SchemaError::AmbiguousReference { field } => Diagnostic::error(
            codes::AMBIGUOUS_COLUMN,
            format!("several tables have a column `{}`", field.name),
        )
        .at(find(&field.name))
        .hint(format!("say which: table.{}", field.name)),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Diagnostic::error(codes::DUPLICATE_NAME, format!("two columns are named `{name}`"))
                .at(find(name))
                .hint(format!("give one of them another name: {name} AS other"))
        }
    }
}

fn same_table(wanted: &Column, valid: &Column) -> bool {
    wanted.relation.is_none() || wanted.relation == valid.relation
}

/// The first place that the planner noted inside of `within`.
fn place(
    noted: &PlannerDiagnostic,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Range<usize>> {
    let notes = noted.notes.iter().filter_map(|note| note.span);
    noted
        .span
        .into_iter()
        .chain(notes)
        .map(|span| {
            source.offset(span.start.line, span.start.column)
                ..source.offset(span.end.line, span.end.column)
        })
        .find(|range| range.start >= within.start && range.end <= within.end)
}

/// The innermost error.
pub(crate) fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        error => error,
    }
}

/// The innermost error's text, without DataFusion's framing.
pub(crate) fn root_message(error: &DataFusionError) -> String {
    let text = match root(error) {
        DataFusionError::Plan(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Execution(text)
        | DataFusionError::Internal(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("Error during planning: ").unwrap_or(first);
    let first = first.strip_prefix("Internal error: ").unwrap_or(first);
    // What a function itself says about its arguments.
    let first =
        first.split("coercion failed with: Error during planning: ").last().unwrap_or(first);
    if let Some((_, rest)) = first.split_once("coerce arguments to satisfy a call to '")
        && let Some((function, _)) = rest.split_once('\'')
    {
        return format!("`{function}` can't take these arguments");
    }
    if let Some((function, _)) = first.split_once(" failed to match any signature") {
        return format!("{} can't take these arguments", lower_first(function));
    }
    let first = first.split(" You might need to add explicit type casts").next().unwrap_or(first);
    let first = first.split(" No function matches").next().unwrap_or(first);
    lower_first(first)
}

fn quoted(text: &str) -> Option<&str> {
    let mut parts = text.split(['\'', '`', '"']);
    parts.next()?;
    parts.next()
}

/// A type as SQL writes it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::Null => "NULL".to_owned(),
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        DataType::Struct(_) => "STRUCT".to_owned(),
        other => other.to_string(),
    }
}
