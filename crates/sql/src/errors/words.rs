//! What DataFusion says about types and arguments, in the words of SQL.

mod phrases;

use datafusion::arrow::datatypes::DataType;
use postrider_core::type_name;

/// A message, and what to do.
type Words = (String, &'static str);

const CONVERT: &str = "convert one side: CAST(x AS type)";
const LENGTH_OF_TIME: &str = "a length of time is written INTERVAL '5 minutes'";

/// A message of the planner as we would say it, and what to do.
pub(super) fn reword(message: &str) -> Option<Words> {
    operation(message)
        .or_else(|| like(message))
        .or_else(|| condition(message))
        .or_else(|| arguments(message))
        .or_else(|| union(message))
        .or_else(|| phrases::of(message))
}

/// Whether a message of the planner is about an operator and its two sides.
pub(crate) fn is_operation(message: &str) -> bool {
    operation(message).is_some()
}

/// The field that a STRUCT does not have, if a message of the planner is about that.
pub(crate) fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("field ")?.strip_suffix(" not found in struct")
}

/// What stands between two texts.
fn between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    Some(message.split_once(before)?.1.split_once(after)?.0)
}

/// An Arrow type by its SQL name; what is none stays as it is.
fn sql_type(written: &str) -> String {
    written.parse().map_or_else(|_| written.to_owned(), |found: DataType| type_name(&found))
}

/// `cannot infer common argument type for comparison operation Float64 > List(Utf8)` and its kin.
fn operation(message: &str) -> Option<Words> {
    let common = message.strip_prefix("cannot infer common argument type for ");
    let common = common.and_then(|rest| rest.split_once("operation ")).map(|(_, types)| types);
    let sum = message.strip_prefix("cannot coerce arithmetic expression ");
    let sum = sum.and_then(|rest| rest.strip_suffix(" to valid types"));
    let (left, operator, right) = split(common.or(sum)?)?;
    let shifts = matches!(operator, "+" | "-")
        && [&left, &right].iter().any(|side| matches!(side, DataType::Timestamp(..)));
    let (left, right) = (type_name(&left), type_name(&right));
    let message = format!("`{operator}` can't take {left} and {right}");
    Some((message, if shifts { LENGTH_OF_TIME } else { CONVERT }))
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

/// `there isn't a common type to coerce Utf8 and Int64 in LIKE expression`
fn like(message: &str) -> Option<Words> {
    let types = between(message, "there isn't a common type to coerce ", " in ")?;
    let operator = between(message, &format!("{types} in "), " expression")?;
    let (left, right) = types.split_once(" and ")?;
    Some((format!("`{operator}` can't take {} and {}", sql_type(left), sql_type(right)), CONVERT))
}

/// `cannot create filter with non-boolean predicate 'events.price' returning Float64`, or
/// `unary operator 'NOT' requires a boolean expression, got Utf8`
fn condition(message: &str) -> Option<Words> {
    let filter = message.strip_prefix("cannot create filter with non-boolean predicate ");
    let filter = filter.and_then(|rest| rest.rsplit_once(" returning "));
    let not = message.split_once("requires a boolean expression, got ");
    let found = sql_type(filter.or(not)?.1);
    Some((
        format!("a condition is true or false, and this is {found}"),
        "compare it, such as x > 0",
    ))
}

/// `function 'upper' expects 1 arguments but received 2`, or `function 'sum' can't take (Utf8)`
fn arguments(message: &str) -> Option<Words> {
    let rest = message.strip_prefix("the ").unwrap_or(message).strip_prefix("function '")?;
    let (name, rest) = rest.split_once("' ")?;
    if let Some(types) = rest.strip_prefix("can't take ") {
        let types = types.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let given = types.filter(|types| !types.is_empty()).map_or_else(
            || "these values".to_owned(),
            |types| types.split(", ").map(sql_type).collect::<Vec<_>>().join(", "),
        );
        let message = format!("`{name}` can't take {given}");
        return Some((message, "check its arguments, and convert with CAST(x AS type)"));
    }
    let (wanted, given) = rest.split_once(" arguments but received ")?;
    let (_, wanted) = wanted.split_once(' ')?;
    let unit = if wanted == "1" { "argument" } else { "arguments" };
    Some((
        format!("`{name}` takes {wanted} {unit}, not {given}"),
        "check the commas and the parentheses of the call",
    ))
}

/// The SELECTs of a UNION have other columns.
fn union(message: &str) -> Option<Words> {
    if message.starts_with("UNION queries have different number of columns") {
        return Some((
            "the SELECTs of a UNION yield different numbers of columns".to_owned(),
            "let every SELECT yield the same columns, in the same order",
        ));
    }
    let one = between(message, "Previous inputs were of type ", ", but got")?;
    let other = between(message, "incompatible type ", " on column")?;
    let message = format!(
        "the SELECTs of a UNION yield {} and {} in one column",
        sql_type(one),
        sql_type(other)
    );
    Some((message, "convert one of them: CAST(x AS type)"))
}

#[cfg(test)]
mod tests;
