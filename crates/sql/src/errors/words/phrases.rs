//! Messages that name no operator: literals, fields, elements, calls.

use super::{Words, between, missing_field, sql_type};

pub(super) fn of(message: &str) -> Option<Words> {
    literal(message)
        .or_else(|| time(message))
        .or_else(|| part(message))
        .or_else(|| call(message))
        .or_else(|| sign(message))
        .or_else(|| framed(message))
}

/// `arrow error: Cast error: Cannot cast string 'x' to value of Int32 type`
fn literal(message: &str) -> Option<Words> {
    let text = between(message, "Cannot cast string '", "' to value of ")?;
    let wanted = sql_type(between(message, "to value of ", " type")?);
    let hint = "write a value of that type, or compare as texts: CAST(x AS TEXT)";
    Some((format!("'{text}' is no {wanted}"), hint))
}

/// `.. Error parsing timestamp from 'soon': ..`, `.. Invalid input syntax for type interval: "1 hours ago"`
fn time(message: &str) -> Option<Words> {
    if let Some(text) = between(message, "Error parsing timestamp from '", "'") {
        return Some((format!("'{text}' is no TIMESTAMP"), "write it as '2026-11-24 10:00:00'"));
    }
    let text = between(message, "Invalid input syntax for type interval: \"", "\"")?;
    let hint = "write numbers and units: INTERVAL '1 hour 30 minutes'";
    Some((format!("'{text}' is no INTERVAL"), hint))
}

/// A field or an element of what has none.
fn part(message: &str) -> Option<Words> {
    if let Some(name) = missing_field(message) {
        let message = format!("the STRUCT has no field `{name}`");
        return Some((message, "its fields stand in CREATE TABLE"));
    }
    if let Some(found) = between(message, "cannot access field at argument 1: type ", " is not") {
        let hint = "fields are those of a STRUCT; a list is read by number: tags[1]";
        return Some((format!("a {} has no fields", sql_type(found)), hint));
    }
    let found = message.strip_prefix("array_element does not support type ")?;
    let message = format!("[..] takes an element of a list, and this is {}", sql_type(found));
    Some((message, "a part of a text is substr(x, 1, 1)"))
}

/// Functions where they can't stand, or without what they need.
fn call(message: &str) -> Option<Words> {
    if message.starts_with("aggregate functions are not allowed in the WHERE clause") {
        let message = "an aggregate can't stand in WHERE, which looks at one row";
        return Some((message.to_owned(), "filter groups with HAVING, or around a subquery"));
    }
    if message.starts_with("substring without for/from") {
        let hint = "substr(text, 1, 3): from which character, and how many";
        return Some(("`substr` needs a place to start".to_owned(), hint));
    }
    let name = message.strip_prefix("invalid function '")?.strip_suffix('\'')?;
    let hint = "say which rows it looks at: OVER (PARTITION BY user_id ORDER BY ts)";
    Some((format!("`{name}` needs OVER"), hint))
}

/// `unary operator '-' only supports signed numeric, interval and timestamp types`
fn sign(message: &str) -> Option<Words> {
    let operator = between(message, "unary operator '", "' only supports")?;
    let message = format!("a sign `{operator}` needs a number behind it");
    Some((message, "convert it: CAST(x AS DOUBLE)"))
}

/// What is framed by the names of those who passed it on.
fn framed(message: &str) -> Option<Words> {
    if message.contains("regex parse error") {
        let hint = r"check its brackets; a backslash makes a sign stand for itself, as in '\('";
        return Some(("the regular expression can't be read".to_owned(), hint));
    }
    let (_, inner) = message.rsplit_once("user-defined coercion failed with: ")?;
    let inner = inner.rsplit_once("xecution error: ").map_or(inner, |(_, inner)| inner);
    Some((inner.to_owned(), "check the number and the types of the arguments"))
}
