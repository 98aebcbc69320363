//! Segment's own Node SDK posts events, and a mail comes of them; a browser key can't have anybody mailed.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    http::{get, post},
    mailbox::{Mailbox, Outbox},
    process::{Finished, Running, Signal, eventually, root, run, run_pipeline, test_data, write},
};

const PIPELINE: &str = "
CREATE TABLE events (
  user_id TEXT NOT NULL, event TEXT, email TEXT, cart_id TEXT, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '1 second'
) WITH (connector = 'collector', idle_timeout = INTERVAL '500 milliseconds');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = 'Your cart {{ cart }}',
                         from = 'Shop <hi@shop.example>');
INSERT INTO mails
SELECT user_id AS recipient_key, 'cart:' || user_id AS dedupe_key, last_value(email ORDER BY ts) AS email,
       COALESCE(last_value(cart_id ORDER BY ts), '') AS cart
FROM events WHERE event = 'Cart Updated' GROUP BY user_id, session(INTERVAL '2 seconds');
";

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>Cart {{ cart }}</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

/// Posts calls through the SDK.
fn sdk(dir: &Path, url: &str, key: &str, calls: &Value) -> Finished {
    let file = write(dir, "calls.json", &calls.to_string());
    // The script sits beside its packages, so that Node finds them.
    let script = test_data("segment/node_modules").with_file_name("post.mjs");
    let ours = std::fs::read(root().join("scripts/segment/post.mjs")).unwrap();
    let is_current = std::fs::read(&script).is_ok_and(|fetched| fetched == ours);
    assert!(is_current, "{} is outdated: run scripts/fetch-test-data first", script.display());
    let mut command = Command::new("node");
    command.arg(script).args([url, key]).arg(file);
    run(command)
}

/// A call as a shop's server makes it; the SDK puts the time on it.
fn cart(user: &str, cart: &str) -> Value {
    json!({"type": "track", "userId": user, "event": "Cart Updated",
        "properties": {"cart_id": cart, "email": format!("{user}@customers.example")}})
}

#[test]
fn the_segment_sdk_triggers_mails_and_a_browser_key_can_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "carts.sql", PIPELINE);
    write(dir.path(), "t.mjml", TEMPLATE);
    let state = dir.path().join("state");
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let mut command = run_pipeline(&file, &state);
    command.args(["--listen", "127.0.0.1:0", "--smtp", &mailbox.smtp]);
    command.args(["--write-key", "server:sk_test", "--write-key", "browser:pk_test"]);
    let mut running = Running::start(command);
    let url = running.err_after("collector");

    // The shop's page is public, so whoever reads its key could name anybody.
    for call in [
        cart("victim", "c0"),
        json!({"type": "track", "anonymousId": "a1", "event": "Cart Updated",
        "properties": {"cart_id": "c0", "email": "victim@customers.example"}}),
    ] {
        let body = json!({"batch": [call]}).to_string();
        let (status, answer) = post(&format!("{url}/v1/batch"), "pk_test", &body);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &answer["success"]), (200, &json!(false)), "{answer}");
        assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&json!(0), &json!(0)));
        let rejected = &answer["rejected"][0];
        assert_eq!(rejected["reason"], "browser_key_names_recipient");
        assert!(rejected["message"].as_str().unwrap().contains("server key"), "{answer}");
    }
    let naming = json!([cart("victim", "c0"), {"type": "identify", "userId": "victim",
        "traits": {"email": "victim@customers.example"}}]);
    sdk(dir.path(), &url, "pk_test", &naming);
    let anonymous = json!([{"type": "track", "anonymousId": "a1", "event": "Cart Updated",
        "properties": {"cart_id": "c0"}}]);
    sdk(dir.path(), &url, "pk_test", &anonymous).ok();

    let mut earlier = cart("zoe", "c7");
    let second_ago = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
    earlier["timestamp"] = second_ago.to_rfc3339().into();
    let calls = json!([cart("zoe", "c9"), cart("max", "c8"), earlier,
        {"type": "page", "userId": "zoe", "name": "Home"}]);
    let out = sdk(dir.path(), &url, "sk_test", &calls).ok();
    assert_eq!(out.trim(), r#"{"posted":4,"delivered":4,"failed":0}"#);
    let unknown = sdk(dir.path(), &url, "nobodys_key", &json!([cart("eve", "c1")]));
    assert_eq!(unknown.code(), 1, "{}", unknown.out);

    eventually("two mails", || mailbox.count() >= 2);
    running.stop(Signal::INT);
    let mut mails: Vec<_> =
        mailbox.mails().into_iter().map(|mail| (mail.to, mail.subject)).collect();
    mails.sort();
    let expected = [("max", "c8"), ("zoe", "c9")]
        .map(|(user, cart)| (format!("{user}@customers.example"), format!("Your cart {cart}")));
    assert_eq!(mails, expected);
    let outbox = Outbox::of(&state);
    assert_eq!((outbox.trigger_rows, outbox.count("accepted")), (2, 2));
    let (_, page) = get(&format!("{}/api/mails", mailbox.http));
    assert!(page.contains("zoe@customers.example") && page.contains("Your cart c9"), "{page}");
    assert!(!page.contains("victim"), "{page}");
}
