//! What DataFusion says about types and arguments, in the words of SQL.

use datafusion::arrow::datatypes::DataType;
use postrider_core::type_name;

/// A message of the planner as we would say it, and what to do.
pub(super) fn reword(message: &str) -> Option<(String, &'static str)> {
    operation(message)
        .or_else(|| condition(message))
        .or_else(|| arguments(message))
        .or_else(|| literal(message))
        .or_else(|| time(message))
        .or_else(|| field(message))
        .or_else(|| union(message))
        .or_else(|| regex(message))
}

/// Whether a message of the planner is about an operator and its two sides.
pub(crate) fn is_operation(message: &str) -> bool {
    operation(message).is_some()
}

/// The field that a STRUCT does not have, if a message of the planner is about that.
pub(crate) fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("field ")?.strip_suffix(" not found in struct")
}

/// `cannot infer common argument type for comparison operation Float64 > List(Utf8)` and its kin.
fn operation(message: &str) -> Option<(String, &'static str)> {
    let common = message.strip_prefix("cannot infer common argument type for ");
    let common = common.and_then(|rest| rest.split_once("operation ")).map(|(_, types)| types);
    let sum = message.strip_prefix("cannot coerce arithmetic expression ");
    let sum = sum.and_then(|rest| rest.strip_suffix(" to valid types"));
    let (left, operator, right) = split(common.or(sum)?)?;
    let (left, right) = (type_name(&left), type_name(&right));
    let message = format!("`{operator}` can't take {left} and {right}");
    Some((message, "convert one side: CAST(x AS type)"))
}

/// Types may have spaces in them, and so may operators: the operator is what stands between two types.
fn split(text: &str) -> Option<(DataType, &str, DataType)> {
    let spaces = || text.match_indices(' ').map(|(at, _)| at);
    spaces().find_map(|end| {
        let left: DataType = text.get(..end)?.parse().ok()?;
        spaces().filter(|start| *start > end).find_map(|start| {
            let right = text.get(start + 1..)?.parse().ok()?;
            Some((left.clone(), text.get(end + 1..start)?, right))
        })
    })
}

/// `cannot create filter with non-boolean predicate 'events.price' returning Float64`
fn condition(message: &str) -> Option<(String, &'static str)> {
    let (_, found) = message
        .strip_prefix("cannot create filter with non-boolean predicate ")?
        .rsplit_once(" returning ")?;
    let found = found.parse().map_or_else(|_| found.to_owned(), |found| type_name(&found));
    Some((
        format!("a condition is true or false, and this is {found}"),
        "compare it, such as x > 0",
    ))
}

/// `function 'upper' expects 1 arguments but received 2`
fn arguments(message: &str) -> Option<(String, &'static str)> {
    let rest = message.strip_prefix("the ").unwrap_or(message).strip_prefix("function '")?;
    let (name, rest) = rest.split_once("' ")?;
    if rest == "can't take these arguments" {
        return Some((
            format!("`{name}` can't take values of these types"),
            "check the types of its arguments, and convert with CAST(x AS type)",
        ));
    }
    let (wanted, given) = rest.split_once(" arguments but received ")?;
    let (_, wanted) = wanted.split_once(' ')?;
    let unit = if wanted == "1" { "argument" } else { "arguments" };
    Some((
        format!("`{name}` takes {wanted} {unit}, not {given}"),
        "check the commas and the parentheses of the call",
    ))
}

/// `arrow error: Cast error: Cannot cast string 'x' to value of Int32 type`
fn literal(message: &str) -> Option<(String, &'static str)> {
    let (_, rest) = message.split_once("Cannot cast string '")?;
    let (text, wanted) = rest.split_once("' to value of ")?;
    let wanted = wanted.strip_suffix(" type")?;
    let wanted = wanted.parse().map_or_else(|_| wanted.to_owned(), |wanted| type_name(&wanted));
    Some((
        format!("'{text}' is no {wanted}"),
        "write a value of that type, or compare as texts: CAST(x AS TEXT)",
    ))
}

/// `arrow error: Parser error: Error parsing timestamp from 'soon': timestamp must ..`
fn time(message: &str) -> Option<(String, &'static str)> {
    let (_, rest) = message.split_once("Error parsing timestamp from '")?;
    let (text, _) = rest.split_once('\'')?;
    Some((format!("'{text}' is no TIMESTAMP"), "write it as '2026-11-24 10:00:00'"))
}

/// `external error: regex parse error:`
fn regex(message: &str) -> Option<(String, &'static str)> {
    message.contains("regex parse error").then(|| {
        (
            "the regular expression can't be read".to_owned(),
            r"check its brackets; a backslash makes a sign stand for itself, as in '\('",
        )
    })
}

/// `field colour not found in struct`
fn field(message: &str) -> Option<(String, &'static str)> {
    let name = missing_field(message)?;
    Some((format!("the STRUCT has no field `{name}`"), "its fields stand in CREATE TABLE"))
}

fn union(message: &str) -> Option<(String, &'static str)> {
    message.starts_with("UNION queries have different number of columns").then(|| {
        (
            "the SELECTs of a UNION yield different numbers of columns".to_owned(),
            "let every SELECT yield the same columns, in the same order",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::reword;

    fn words(message: &str) -> Option<String> {
        reword(message).map(|(message, _)| message)
    }

    #[test]
    fn types_are_those_of_sql() {
        let cases = [
            (
                "cannot infer common argument type for comparison operation Float64 > List(Utf8)",
                "`>` can't take DOUBLE and TEXT[]",
            ),
            (
                "cannot infer common argument type for comparison operation Utf8 IS DISTINCT FROM Boolean",
                "`IS DISTINCT FROM` can't take TEXT and BOOLEAN",
            ),
            (
                "cannot coerce arithmetic expression Utf8 + Timestamp(ns) to valid types",
                "`+` can't take TEXT and TIMESTAMP",
            ),
            (
                "cannot create filter with non-boolean predicate 'events.price' returning Float64",
                "a condition is true or false, and this is DOUBLE",
            ),
            (
                "function 'upper' expects 1 arguments but received 2",
                "`upper` takes 1 argument, not 2",
            ),
            (
                "the function 'nullif' expected 2 arguments but received 1",
                "`nullif` takes 2 arguments, not 1",
            ),
            (
                "arrow error: Cast error: Cannot cast string 'x' to value of Int32 type",
                "'x' is no INT",
            ),
        ];
        for (said, expected) in cases {
            assert_eq!(words(said).as_deref(), Some(expected));
        }
        assert_eq!(words("something else"), None);
    }
}
