//! DataFusion's errors in our words, with a place in the text.

mod words;

use std::{collections::BTreeSet, ops::Range};

use datafusion::common::{Column, DataFusionError, Diagnostic as PlannerDiagnostic, SchemaError};
use postrider_core::Diagnostic;

pub(crate) use self::words::{is_operation, missing_field};
pub(crate) use postrider_core::type_name;

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
        let name = name.rsplit('.').next()?;
        source.find_name(name, within).or_else(|| source.find_text(name, within))
    };
    let place = place.or_else(named).unwrap_or_else(|| within.clone());
    let (said, hint) =
        words::reword(&message).unwrap_or_else(|| (message.clone(), hint_for(&message)));
    // `Perhaps you need to cast events.event`: our hint shows how.
    let mut helps = noted.iter().flat_map(|noted| &noted.helps);
    let help =
        helps.find(|help| !help.message.to_lowercase().starts_with("perhaps you need to cast"));
    Diagnostic::error(code, said)
        .at(place)
        .hint(help.map_or_else(|| hint.to_owned(), |help| lower_first(&help.message)))
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
    if message.contains("the time zone of") {
        return "name a TEXT column, or a zone such as 'Europe/Berlin'";
    }
    if message.contains("coerce") || message.contains("type") || message.contains("compar") {
        "convert one side: CAST(x AS type)"
    } else if message.contains("more than once") || message.contains("unique expression names") {
        "give one of them another name: expr AS name"
    } else {
        "check the types and the arguments of this expression"
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
            if let Some(found) = explain_qualifier(field, valid_fields) {
                return found.at(find(&field.name));
            }
            let fields = || valid_fields.iter().filter(|valid| same_table(field, valid));
            let mut names: Vec<&str> = fields().map(|valid| valid.name.as_str()).collect();
            if names.is_empty() {
                names = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
            }
            let table =
                field.relation.as_ref().map_or_else(String::new, |table| format!("{table}."));
            let mut seen = BTreeSet::new();
            names.retain(|name| seen.insert(*name));
            let hint = match suggest::nearest(&field.name, names.iter().copied()) {
                None if source.names_result(&field.name, within) => {
                    "it is a result of this SELECT, and WHERE comes first: repeat the expression, or filter around a subquery"
                        .to_owned()
                }
                None if !is_plain(&field.name) => {
                    format!("a text stands in single quotes: '{}'", field.name)
                }
                _ => suggest::hint(&field.name, "columns here", names),
            };
            Diagnostic::error(
                codes::UNKNOWN_COLUMN,
                format!("column `{table}{}` does not exist", field.name),
            )
            .at(find(&field.name))
            .hint(hint)
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

/// `x.user_id`, where nothing is called `x`.
fn explain_qualifier(field: &Column, valid: &[Column]) -> Option<Diagnostic> {
    let wanted = field.relation.as_ref()?.table();
    let mut names: Vec<&str> =
        valid.iter().filter_map(|valid| Some(valid.relation.as_ref()?.table())).collect();
    names.dedup();
    if names.is_empty() || names.contains(&wanted) {
        return None;
    }
    Some(
        Diagnostic::error(
            codes::UNKNOWN_COLUMN,
            format!("nothing here is called `{wanted}`, as in `{wanted}.{}`", field.name),
        )
        .hint(match suggest::nearest(wanted, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "columns here are of: {}; a table with an alias goes by its alias alone",
                names.join(", ")
            ),
        }),
    )
}

/// Whether a name could be written without quotes: most columns are called so, and few texts.
fn is_plain(name: &str) -> bool {
    name.chars().all(|letter| letter.is_lowercase() || letter.is_ascii_digit() || letter == '_')
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
        // `.. and argument types 'sum(Utf8)'`
        let types = text.split_once("argument types '").and_then(|(_, call)| call.split_once('\''));
        let types = types.and_then(|(call, _)| Some(call.split_at(call.find('(')?).1));
        return format!("{} can't take {}", lower_first(function), types.unwrap_or("()"));
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
