//! The real Segment SDK posts events, and a mail comes of them.

use std::process::Command;

use crate::{
    http::post,
    process::{Mailbox, Running, eventually, postrider, root, run, test_data},
};

const PIPELINE: &str = "
CREATE TABLE events (
  user_id TEXT NOT NULL, event TEXT, email TEXT, cart_id TEXT, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '1 second'
) WITH (connector = 'collector', idle_timeout = INTERVAL '300 milliseconds');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = 'Your cart {{ cart }}',
                         from = 'Shop <hi@shop.example>', ttl = INTERVAL '36500 days');
INSERT INTO mails
SELECT user_id AS recipient_key, 'cart:' || user_id AS dedupe_key, last_value(email ORDER BY ts) AS email,
       COALESCE(last_value(cart_id ORDER BY ts), '') AS cart
FROM events WHERE event = 'Cart Updated' GROUP BY user_id, session(INTERVAL '1 second');
";

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>Cart {{ cart }}</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

#[test]
fn the_segment_sdk_triggers_a_mail_and_a_browser_key_can_not() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("carts.sql"), PIPELINE).unwrap();
    std::fs::write(dir.path().join("t.mjml"), TEMPLATE).unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let mut command = postrider(["run", "--listen", "127.0.0.1:0"]);
    command.args(["--write-key", "server:sk_test", "--write-key", "browser:pk_test"]);
    command.arg("--smtp").arg(&mailbox.smtp).arg("--state-dir").arg(dir.path().join("state"));
    let mut running = Running::start({
        command.arg(dir.path().join("carts.sql"));
        command
    });
    let url = running.err_after("collector");

    let browser = r#"{"batch":[{"type":"track","messageId":"b1","userId":"victim","event":"Cart Updated",
        "timestamp":"2026-01-01T10:00:00Z","properties":{"email":"victim@customers.example"}}]}"#;
    let (_, answer) = post(&format!("{url}/v1/batch"), "pk_test", browser);
    assert!(answer.contains("browser_key_names_recipient"), "{answer}");

    let events = r#"[{"type":"track","userId":"u1","event":"Cart Updated","timestamp":"2026-01-01T10:00:00Z",
        "properties":{"cart_id":"c7","email":"zoe@customers.example"}}]"#;
    let file = dir.path().join("events.json");
    std::fs::write(&file, events).unwrap();
    // The module sits beside its packages, so that Node finds them.
    let packages = test_data("segment/node_modules");
    let script = packages.parent().unwrap().join("post.mjs");
    std::fs::copy(root().join("scripts/segment/post.mjs"), &script).unwrap();
    let mut sdk = Command::new("node");
    sdk.arg(&script).arg(&url).arg("sk_test").arg(&file);
    let out = run(sdk).ok();
    assert!(out.contains(r#""delivered":1"#), "{out}");

    eventually("the mail", || !mailbox.message_ids().is_empty());
    running.signal("INT");
    assert!(running.wait().success(), "{}", running.rest_of_err());
    assert_eq!(mailbox.message_ids().len(), 1);
    let (_, page) = crate::http::get(&format!("{}/api/mails", mailbox.http));
    assert!(page.contains("zoe@customers.example") && page.contains("Your cart c7"), "{page}");
    assert!(!page.contains("victim"), "{page}");
}
