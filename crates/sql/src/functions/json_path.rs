//! `extract_json` and its kin: all values of a JSON text that a path of RFC 9535 leads to.
//!
//! Names, indices and wildcards are taken. They are followed while the text is read, and what they lead to is a part of it, so no
//! tree is built.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, ListBuilder, StringBuilder},
        datatypes::{DataType, Field},
    },
    common::{Result, exec_datafusion_err},
    logical_expr::{Signature, Volatility},
};
use jiter::{Jiter, JiterResult, Peek};

use super::scalar::{Arguments, Planned, Scalar, refused};
use crate::limits::MAX_PATH_STEPS;

const HINT: &str =
    "write names, indices and wildcards: '$.items[0].sku', '$.items[*].sku', '$[''a key'']'";

/// The functions of this file.
pub(super) fn all() -> [Scalar; 3] {
    let function = |name, returns, compute| Scalar {
        name,
        signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable),
        coerce: None,
        returns,
        check,
        compute,
    };
    let texts = DataType::List(Field::new_list_field(DataType::Utf8, true).into());
    [
        function("extract_json", texts, extract_all),
        function("extract_json_string", DataType::Utf8, extract_string),
        function("get_first_json_object", DataType::Utf8, extract_first),
    ]
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    /// Counts from the end if negative.
    Index(i64),
    Wildcard,
}

fn check(call: &Planned<'_>) -> Result<()> {
    let Some(path) = call.text(1) else {
        return Err(refused("the path into the JSON must be a literal".to_owned(), HINT));
    };
    match parse(path) {
        Some(steps) if steps.len() > MAX_PATH_STEPS => Err(refused(
            format!("the path into the JSON has more than {MAX_PATH_STEPS} steps"),
            "take a part of it first, and follow the rest of the path in that",
        )),
        Some(_) => Ok(()),
        None => Err(refused(format!("'{path}' is no path that is supported"), HINT)),
    }
}

/// The steps of `$.name[0].*['other name']`.
fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, behind) = match rest.strip_prefix('.') {
            Some(name) => dotted(name)?,
            None => bracketed(rest.strip_prefix('[')?.trim_start())?,
        };
        steps.push(step);
        rest = behind;
    }
    Some(steps)
}

fn dotted(text: &str) -> Option<(Step, &str)> {
    if let Some(behind) = text.strip_prefix('*') {
        return Some((Step::Wildcard, behind));
    }
    let stops = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '$');
    let (name, behind) = text.split_at(text.find(stops).unwrap_or(text.len()));
    (!name.is_empty()).then(|| (Step::Name(name.to_owned()), behind))
}

fn bracketed(text: &str) -> Option<(Step, &str)> {
    let (step, behind) = match text.chars().next()? {
        quote @ ('\'' | '"') => {
            let (name, behind) = text.get(1..)?.split_once(quote)?;
            // Escapes would have to be undone; no event names a key that way.
            (!name.contains('\\')).then(|| (Step::Name(name.to_owned()), behind))?
        }
        '*' => (Step::Wildcard, text.get(1..)?),
        _ => {
            let end = text.find(|c: char| !(c.is_ascii_digit() || c == '-'))?;
            (Step::Index(text[..end].parse().ok()?), &text[end..])
        }
    };
    Some((step, behind.trim_start().strip_prefix(']')?))
}

/// The steps of a call, which are the same in every row.
fn steps(call: &Arguments) -> Result<Vec<Step>> {
    let path = call.text(1)?.get(0);
    path.and_then(parse).ok_or_else(|| exec_datafusion_err!("the path into the JSON is no literal"))
}

fn extract_all(call: &Arguments) -> Result<ArrayRef> {
    let (texts, steps) = (call.text(0)?, steps(call)?);
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut found = Vec::new();
    for row in 0..call.rows {
        let read = texts.get(row).is_some_and(|json| find(json, &steps, &mut found));
        if read {
            found.iter().for_each(|part| lists.values().append_value(part));
        }
        lists.append(read);
        found.clear();
    }
    Ok(Arc::new(lists.finish()))
}

fn extract_first(call: &Arguments) -> Result<ArrayRef> {
    first(call, |part, results| results.append_value(part))
}

fn extract_string(call: &Arguments) -> Result<ArrayRef> {
    first(call, |part, results| match Jiter::new(part.as_bytes()).next_str() {
        Ok(text) => results.append_value(text),
        Err(_) => results.append_null(),
    })
}

fn first(call: &Arguments, append: impl Fn(&str, &mut StringBuilder)) -> Result<ArrayRef> {
    let (texts, steps) = (call.text(0)?, steps(call)?);
    let mut results = StringBuilder::new();
    let mut found = Vec::new();
    for row in 0..call.rows {
        let read = texts.get(row).is_some_and(|json| find(json, &steps, &mut found));
        match found.first().filter(|_| read) {
            Some(part) => append(part, &mut results),
            None => results.append_null(),
        }
        found.clear();
    }
    Ok(Arc::new(results.finish()))
}

/// Adds what the steps lead to; false if the text is no JSON as a whole.
fn find<'j>(json: &'j str, steps: &[Step], found: &mut Vec<&'j str>) -> bool {
    let mut reader = Jiter::new(json.as_bytes());
    walk(json, &mut reader, steps, found).and_then(|()| reader.finish()).is_ok()
}

/// Reads one value to its end. It recurses once a step, however deep the JSON is.
fn walk<'j>(
    json: &'j str,
    reader: &mut Jiter<'j>,
    steps: &[Step],
    found: &mut Vec<&'j str>,
) -> JiterResult<()> {
    let peek = reader.peek()?;
    let start = reader.current_index();
    let Some((step, rest)) = steps.split_first() else {
        reader.known_skip(peek)?;
        found.extend(json.get(start..reader.current_index()));
        return Ok(());
    };
    match (step, peek) {
        (Step::Name(_) | Step::Wildcard, Peek::Object) => {
            let mut seen = false;
            let mut key = reader.known_object()?;
            while let Some(name) = key {
                // As everywhere in Postrider's JSON functions, the first of two equal keys counts.
                let leads = match step {
                    Step::Name(wanted) => !seen && name == wanted,
                    _ => true,
                };
                seen |= leads;
                if leads {
                    walk(json, reader, rest, found)?
                } else {
                    reader.next_skip()?
                }
                key = reader.next_key()?;
            }
            Ok(())
        }
        (Step::Index(wanted), Peek::Array) => {
            let wanted = match u64::try_from(*wanted) {
                Ok(from_start) => Some(from_start),
                Err(_) => length(json, start)?.checked_sub(wanted.unsigned_abs()),
            };
            items(reader, |index, reader| {
                if Some(index) == wanted {
                    walk(json, reader, rest, found)
                } else {
                    reader.next_skip()
                }
            })
        }
        (Step::Wildcard, Peek::Array) => items(reader, |_, reader| walk(json, reader, rest, found)),
        _ => reader.known_skip(peek),
    }
}

/// Does something with each item of the array that starts here, which has to read it.
fn items<'j>(
    reader: &mut Jiter<'j>,
    mut each: impl FnMut(u64, &mut Jiter<'j>) -> JiterResult<()>,
) -> JiterResult<()> {
    let mut next = reader.known_array()?;
    let mut index = 0;
    while next.is_some() {
        each(index, reader)?;
        index += 1;
        next = reader.array_step()?;
    }
    Ok(())
}

/// How many items the array at a byte has.
fn length(json: &str, start: usize) -> JiterResult<u64> {
    let mut reader = Jiter::new(json.get(start..).unwrap_or_default().as_bytes());
    let mut length = 0;
    reader.peek()?;
    items(&mut reader, |index, reader| {
        length = index + 1;
        reader.next_skip()
    })?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::{Step, find, parse};

    fn found<'j>(json: &'j str, path: &str) -> Option<Vec<&'j str>> {
        let mut parts = Vec::new();
        find(json, &parse(path).unwrap(), &mut parts).then_some(parts)
    }

    #[test]
    fn paths_are_names_indices_and_wildcards() {
        let name = |name: &str| Step::Name(name.to_owned());
        assert_eq!(parse("$"), Some(vec![]));
        assert_eq!(
            parse("$.a[0]['b c'].*"),
            Some(vec![name("a"), Step::Index(0), name("b c"), Step::Wildcard])
        );
        assert_eq!(
            parse("$[-1][\"x\"][*]"),
            Some(vec![Step::Index(-1), name("x"), Step::Wildcard])
        );
        for path in [
            "",
            "a",
            "$a",
            "$.",
            "$..a",
            "$[",
            "$[1",
            "$[1:2]",
            "$[?(@.a)]",
            "$['a]",
            "$.a b",
            "$['\\n']",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_leads_to_parts_of_the_text() {
        let json = r#" {"a": [1, {"b": "x\"y", "c": null}, [2.50, true]], "b": {"c": 3}, "a": 9} "#;
        assert_eq!(found(json, "$.a[0]"), Some(vec!["1"]));
        assert_eq!(found(json, "$.a[1].b"), Some(vec![r#""x\"y""#]));
        assert_eq!(found(json, "$.a[-1]"), Some(vec!["[2.50, true]"]));
        assert_eq!(found(json, "$.a[-1][*]"), Some(vec!["2.50", "true"]));
        assert_eq!(found(json, "$.*.c"), Some(vec!["3"]));
        assert_eq!(found(json, "$.a[*].b"), Some(vec![r#""x\"y""#]));
        assert_eq!(found(json, "$.a[-9]"), Some(vec![]));
        assert_eq!(found(json, "$.z"), Some(vec![]));
    }

    #[test]
    fn a_text_that_is_no_json_as_a_whole_has_no_parts() {
        for json in
            ["", "{", r#"{"a":1"#, r#"{"a":1}}"#, r#"{"a":1 "b":2}"#, r#"{"a":[1,]}"#, "nul"]
        {
            assert_eq!(found(json, "$.a"), None, "{json}");
        }
        let deep = format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(found(&deep, "$.a"), None);
    }
}
