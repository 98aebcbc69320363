//! Which events are taken, and what is read from them.

use bytes::Bytes;
use postrider_core::{SubjectId, WorkspaceId};
use postrider_store::KeyRole;

use super::{Context, Event, Rejection, examine};
use crate::collector::slice::Call;

const SERVER: Context = Context {
    workspace: WorkspaceId::DEFAULT,
    role: KeyRole::Server,
    call: None,
    event_bytes_max: 200,
};
const BROWSER: Context = Context { role: KeyRole::Browser, ..SERVER };

fn look(context: &Context, event: &str) -> Result<Event, Rejection> {
    examine(Bytes::copy_from_slice(event.as_bytes()), context)
}

fn reason(context: &Context, event: &str) -> &'static str {
    look(context, event).map_or_else(|rejection| rejection.reason, |_| "taken")
}

#[test]
fn the_message_id_may_have_three_names_and_be_a_number() {
    let id = |event| look(&SERVER, event).unwrap().message_id;
    assert_eq!(id(r#"{"id":"c","message_id":"b","messageId":"a"}"#).as_deref(), Some("a"));
    assert_eq!(id(r#"{"id":"c","message_id":"b","messageId":null}"#).as_deref(), Some("b"));
    assert_eq!(id(r#"{"id":"\u0063","message_id":""}"#).as_deref(), Some("c"));
    assert_eq!(id(r#"{"id":18446744073709551615}"#).as_deref(), Some("18446744073709551615"));
    assert_eq!(id(r#"{"properties":{"id":"x"}}"#), None);
}

#[test]
fn ids_that_could_be_confused_are_refused() {
    for event in
        [r#"{"id":1.5}"#, r#"{"id":18446744073709551616}"#, r#"{"id":true}"#, r#"{"userId":{}}"#]
    {
        assert_eq!(reason(&SERVER, event), "bad_id", "{event}");
    }
    let long = |length| format!(r#"{{"userId":"{}"}}"#, "x".repeat(length));
    let wide = Context { event_bytes_max: 1000, ..SERVER };
    assert_eq!(reason(&wide, &long(256)), "taken");
    assert_eq!(reason(&wide, &long(257)), "bad_id");
    assert_eq!(reason(&SERVER, r#"{"id":"a","id":"b"}"#), "repeated_field");
    assert_eq!(reason(&SERVER, r#"{"userId":null,"user\u0049d":"b"}"#), "repeated_field");
}

#[test]
fn the_subject_is_the_user_or_else_the_anonymous_visitor() {
    let subject = |event| look(&SERVER, event).unwrap().subject;
    let of = |key| SubjectId::of(WorkspaceId::DEFAULT, key);
    assert_eq!(subject(r#"{"anonymousId":"a","userId":"u"}"#), of("u"));
    assert_eq!(subject(r#"{"anonymous_id":"a","userId":null}"#), of("a"));
    assert_eq!(subject(r#"{"user_id":7}"#), of("7"));
    assert_eq!(subject("{}"), SubjectId::NONE);
}

#[test]
fn a_browser_key_never_names_a_recipient() {
    for event in [
        r#"{"userId":"u"}"#,
        r#"{"user_id":7}"#,
        r#"{"USER-ID":"u"}"#,
        r#"{"user\u0049d":"u"}"#,
        r#"{"email":"a@b.c"}"#,
        r#"{"email":["a@b.c"]}"#,
        r#"{"properties":{"email":"a@b.c"}}"#,
        r#"{"properties":{"Email":"a@b.c"}}"#,
        r#"{"properties":{"e_mail":"a@b.c"}}"#,
        r#"{"properties":{"email_address":"a@b.c"}}"#,
        r#"{"properties":{"form":[{"email":"a@b.c"}]}}"#,
        r#"{"traits":{"email":"a@b.c"}}"#,
        r#"{"context":{"traits":{"email":"a@b.c"}}}"#,
        r#"{"context":{"traits":{"email":null,"email":"a@b.c"}}}"#,
        r#"{"type":"identify","anonymousId":"a"}"#,
        r#"{"type":"Alias","anonymousId":"a"}"#,
        r#"{"type":"gr\u006fup","anonymousId":"a"}"#,
    ] {
        assert_eq!(reason(&BROWSER, event), "browser_key_names_recipient", "{event}");
        assert_eq!(reason(&SERVER, event), "taken", "{event}");
    }
    for call in Call::ALL {
        let context = Context { call: Some(call), ..BROWSER };
        let names = matches!(call, Call::Identify | Call::Group | Call::Alias);
        let expected = if names { "browser_key_names_recipient" } else { "taken" };
        assert_eq!(reason(&context, r#"{"anonymousId":"a"}"#), expected, "{call:?}");
    }
    for event in [
        r#"{"type":"track","anonymousId":"a","userId":null,"context":{"traits":{}}}"#,
        r#"{"anonymousId":"a","properties":{"email":"","emails_opened":3}}"#,
    ] {
        assert_eq!(reason(&BROWSER, event), "taken", "{event}");
    }
}

#[test]
fn what_is_no_event_is_refused() {
    for (event, expected) in [
        ("7", "not_an_object"),
        ("[{}]", "not_an_object"),
        (r#"{"a":1e999}"#, "bad_json"),
        (r#"{"a":"\ud800"}"#, "bad_json"),
    ] {
        assert_eq!(reason(&SERVER, event), expected, "{event}");
    }
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(reason(&SERVER, &nested(16)), "taken");
    assert_eq!(reason(&SERVER, &nested(17)), "too_deep");
    let sized = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    assert_eq!(reason(&SERVER, &sized(200)), "taken");
    assert_eq!(reason(&SERVER, &sized(201)), "too_large");
}

#[test]
fn an_endpoint_adds_the_type_that_only_it_knows() {
    let context = Context { call: Some(Call::Track), ..SERVER };
    let body = |event| String::from_utf8(look(&context, event).unwrap().body.to_vec()).unwrap();
    assert_eq!(body(r#"{ "event":"x"}"#), r#"{"type":"track", "event":"x"}"#);
    assert_eq!(body("{ }"), r#"{"type":"track" }"#);
    assert_eq!(body(r#"{"a":1, "type" : "track"}"#), r#"{"a":1, "type" : "track"}"#);
    assert_eq!(reason(&context, r#"{"type":"page"}"#), "type_mismatch");
    assert_eq!(reason(&context, r#"{"type":null}"#), "type_mismatch");
}
