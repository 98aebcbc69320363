//! How bodies are cut.

use bytes::Bytes;

use super::{Call, Endpoint, events};
use crate::collector::refusal::Refusal;

fn cut(endpoint: Endpoint, body: &str) -> Result<Vec<String>, Refusal> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let events = events(endpoint, &body, 3)?;
    Ok(events.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect())
}

#[test]
fn the_bytes_of_an_event_are_not_changed() {
    let odd = r#"{ "a" : 1.0e0,  "b":"\u00e9\/é", "a":[ ] }"#;
    for (endpoint, body) in [
        (
            Endpoint::Batch,
            format!(r#" {{"sentAt":"x","b\u0061tch" : [ {odd} , {odd}],"z":[{{}}]}} "#),
        ),
        (Endpoint::Events, format!(" [{odd},\n{odd} ]\n")),
        (Endpoint::Events, format!("\n{odd}\r\n{odd}\n\n")),
    ] {
        assert_eq!(cut(endpoint, &body).unwrap(), [odd, odd], "{body}");
    }
    assert_eq!(cut(Endpoint::Single(Call::Track), &format!("\t{odd}\n")).unwrap(), [odd]);
}

#[test]
fn one_event_may_span_lines() {
    assert_eq!(cut(Endpoint::Events, "{\n \"a\": 1\n}\n").unwrap(), ["{\n \"a\": 1\n}"]);
}

#[test]
fn values_that_are_no_objects_are_cut_all_the_same() {
    assert_eq!(cut(Endpoint::Batch, r#"{"batch":[1,null,"x"]}"#).unwrap(), ["1", "null", "\"x\""]);
}

#[test]
fn the_limit_is_exact() {
    for (endpoint, three, four) in [
        (Endpoint::Batch, r#"{"batch":[1,2,3]}"#, r#"{"batch":[1,2,3,4]}"#),
        (Endpoint::Events, "[1,2,3]", "[1,2,3,4]"),
        (Endpoint::Events, "1\n2\n3", "1\n2\n3\n4"),
    ] {
        assert_eq!(cut(endpoint, three).unwrap().len(), 3);
        assert_eq!(cut(endpoint, four), Err(Refusal::TooManyEvents(3)));
    }
}

#[test]
fn a_mistake_is_shown_with_its_place() {
    let place = |endpoint, body| match cut(endpoint, body) {
        Err(Refusal::BadJson { line, column, message }) => (line, column, message),
        other => panic!("{other:?}"),
    };
    assert_eq!(place(Endpoint::Events, "{\"a\":1}\n{\"a\" 2}"), (2, 6, "expected `:`".to_owned()));
    assert_eq!(place(Endpoint::Batch, "{\"batch\":[{}").0, 1);
    assert_eq!(
        place(Endpoint::Batch, "{\"batch\":{}}").2,
        "invalid type: map, expected an array of events"
    );
    assert_eq!(place(Endpoint::Batch, "{\"batch\":[],\"batch\":[]}").2, "duplicate field `batch`");
    assert_eq!(place(Endpoint::Single(Call::Page), "{} {}").2, "trailing characters");
    let not_utf_8 = events(Endpoint::Events, &Bytes::from_static(b"{}\n{\"\xff\":1}"), 3);
    assert_eq!(
        not_utf_8,
        Err(Refusal::BadJson { line: 2, column: 3, message: "this is not UTF-8".to_owned() })
    );
}

#[test]
fn a_body_without_events_says_what_is_missing() {
    assert!(matches!(cut(Endpoint::Batch, "{}"), Err(Refusal::BadShape(_))));
    assert!(matches!(cut(Endpoint::Events, " \n"), Err(Refusal::BadShape(_))));
    assert_eq!(cut(Endpoint::Batch, r#"{"batch":[]}"#), Ok(vec![]));
    assert_eq!(cut(Endpoint::Events, "[]"), Ok(vec![]));
}
