//! What endpoints answer and what they journal.

use postrider_core::{SubjectId, WorkspaceId};
use postrider_store::KeyRole;
use reqwest::Method;
use serde_json::json;

use crate::harness::{BROWSER_KEY, SERVER_KEY, START, answer_of, code, start};

#[tokio::test]
async fn a_batch_is_journaled_byte_for_byte() {
    let running = start().await;
    let events = [
        r#"{ "type":"track", "event":"Caf\u00e9 é",  "userId":"u1", "messageId":"m1", "n":1.0E+2 }"#,
        r#"{"type":"track","anonymousId":"a1","messageId":"m2","nested":{"b":[ 1 , 2 ]}}"#,
    ];
    let body = format!(
        r#"{{"sentAt":"2026-01-01T00:00:00Z","context":{{"ip":"x"}},"batch":[ {} , {}],"writeKey":"k"}}"#,
        events[0], events[1]
    );
    let answer = running.answer("/v1/batch", body).await;
    let all = json!({"success": true, "accepted": 2, "duplicate": 0, "rejected": []});
    assert_eq!(answer, (200, all));
    assert_eq!(running.bodies(), events);

    let frames = running.frames();
    let of = |key| SubjectId::of(WorkspaceId::DEFAULT, key);
    assert_eq!((frames[0].subject, frames[1].subject), (of("u1"), of("a1")));
    let first = &running.stored()[0];
    assert_eq!((first.stream.as_str(), first.message_id.as_str()), ("default", "m1"));
    assert_eq!((first.role(), first.received_at), (KeyRole::Server, START));
}

#[tokio::test]
async fn flat_events_come_in_three_forms() {
    let running = start().await;
    for body in ["{\"id\":1}", "[{\"id\":2}, {\"id\":3}]", "{\"id\":4}\n{\"id\":5}\r\n\n"] {
        assert_eq!(running.answer("/v1/events", body).await.0, 200, "{body}");
    }
    assert_eq!(running.bodies(), [1, 2, 3, 4, 5].map(|id| format!("{{\"id\":{id}}}")));
}

#[tokio::test]
async fn an_endpoint_for_one_event_sets_its_type() {
    let running = start().await;
    for call in ["track", "identify", "page", "screen", "group", "alias"] {
        let (status, answer) = running.answer(&format!("/v1/{call}"), r#"{"userId":"u"}"#).await;
        assert_eq!((status, &answer["success"]), (200, &json!(true)), "{call}");
        let stored = running.bodies().pop().unwrap();
        assert_eq!(stored, format!(r#"{{"type":"{call}","userId":"u"}}"#));
    }
    let whole = r#"{"userId":"u","type":"track"}"#;
    running.answer("/v1/track", whole).await;
    assert_eq!(running.bodies().pop().unwrap(), whole, "nothing is added to what is complete");
}

#[tokio::test]
async fn each_bad_event_is_named_and_the_others_are_taken() {
    let running = start().await;
    let body = r#"{"batch":[{"id":"a"},7,{"id":"b"},{"id":[]}]}"#;
    let (status, answer) = running.answer("/v1/batch", body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["success"], false);
    assert_eq!(answer["accepted"], 2);
    let rejected: Vec<_> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["index"].as_u64().unwrap(), it["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(rejected, [(1, "not_an_object"), (3, "bad_id")]);
    assert_eq!(running.bodies(), [r#"{"id":"a"}"#, r#"{"id":"b"}"#]);
    let stats = running.collector.stats();
    assert_eq!((stats.accepted(), stats.duplicate(), stats.rejected()), (2, 0, 2));
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_a_place() {
    let running = start().await;
    for (path, body, expected) in [
        ("/v1/events", "{\"a\":1}\n{oops}", "line 2, column 2"),
        ("/v1/events", "[{}", "line 1, column 3"),
        ("/v1/batch", "{\"batch\":[{},]}", "line 1, column 14"),
        ("/v1/track", "", "line 1, column 0"),
        ("/v1/track", "{} x", "line 1, column 4"),
    ] {
        let answer = running.answer(path, body).await;
        assert_eq!(code(&answer), (400, "bad_json"), "{path} {body}");
        let message = answer.1["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{path} {body}: {message}");
    }
    for (path, body) in [("/v1/batch", "{}"), ("/v1/events", "")] {
        assert_eq!(code(&running.answer(path, body).await), (400, "bad_shape"), "{path}");
    }
    assert!(running.stored().is_empty());
    assert_eq!(running.collector.stats().refused(), 7);
}

#[tokio::test]
async fn an_empty_batch_is_fine() {
    let answer = start().await.answer("/v1/batch", r#"{"batch":[]}"#).await;
    let nothing = json!({"success": true, "accepted": 0, "duplicate": 0, "rejected": []});
    assert_eq!(answer, (200, nothing));
}

#[tokio::test]
async fn events_of_a_browser_key_are_marked_and_join_its_stream() {
    let running = start().await;
    let event = r#"{"type":"track","anonymousId":"a","userId":null,"messageId":"m"}"#;
    let (status, _) = answer_of(running.post("/v1/track", BROWSER_KEY, event)).await;
    assert_eq!(status, 200);
    let stored = running.stored().remove(0);
    assert_eq!((stored.role(), stored.stream.as_str()), (KeyRole::Browser, "web"));
    assert_eq!(stored.body, event);
}

#[tokio::test]
async fn no_endpoint_lets_a_browser_key_name_a_recipient() {
    let running = start().await;
    let events = [
        r#"{"type":"track","userId":"u"}"#,
        r#"{"type":"track","user_id":"u"}"#,
        r#"{"type":"track","email":"a@b.example"}"#,
        r#"{"type":"track","properties":{"email":"a@b.example"}}"#,
        r#"{"type":"track","traits":{"email":"a@b.example"}}"#,
        r#"{"type":"track","context":{"traits":{"email":"a@b.example"}}}"#,
        r#"{"type":"track","\u0065mail":"a@b.example"}"#,
    ];
    let calls = ["identify", "alias", "group"];
    let mut posts: Vec<(String, String)> = Vec::new();
    for event in events {
        posts.push(("/v1/batch".to_owned(), format!("{{\"batch\":[{event}]}}")));
        posts.push(("/v1/track".to_owned(), event.to_owned()));
        posts.push(("/v1/events".to_owned(), event.to_owned()));
        for call in ["page", "screen"] {
            posts.push((format!("/v1/{call}"), event.replace("track", call)));
        }
    }
    for call in calls {
        let event = format!(r#"{{"type":"{call}","anonymousId":"a"}}"#);
        posts.push(("/v1/batch".to_owned(), format!("{{\"batch\":[{event}]}}")));
        posts.push((format!("/v1/{call}"), event.clone()));
        posts.push((format!("/v1/{call}"), r#"{"anonymousId":"a"}"#.to_owned()));
        posts.push(("/v1/events".to_owned(), event));
    }
    let count = posts.len();
    for (path, body) in posts {
        let (status, answer) = answer_of(running.post(&path, BROWSER_KEY, body.clone())).await;
        let reason = answer["rejected"][0]["reason"].as_str();
        let expected = (200, Some("browser_key_names_recipient"));
        assert_eq!((status, reason), expected, "{path} {body}");
        let (status, answer) = answer_of(running.post(&path, SERVER_KEY, body.clone())).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{path} {body}");
    }
    assert!(running.stored().iter().all(|event| event.role() == KeyRole::Server));
    assert_eq!(running.stored().len(), count);
}

#[tokio::test]
async fn other_paths_and_methods_say_what_there_is() {
    let running = start().await;
    let request = |method, path| running.server.request(method, path);
    assert_eq!(code(&answer_of(request(Method::GET, "/v2")).await), (404, "no_such_path"));
    assert_eq!(code(&answer_of(request(Method::GET, "/v1/batch")).await), (405, "wrong_method"));
    let healthy = answer_of(request(Method::GET, "/healthz")).await;
    assert_eq!(healthy, (200, json!({"status": "ok"})));
}
