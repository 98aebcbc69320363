//! The first thing a visitor does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    http::get,
    process::{Running, Signal, postrider, run},
};

/// The value of each line of a summary, by its first word.
fn lines(out: &str) -> BTreeMap<&str, &str> {
    out.lines().filter_map(|line| line.split_once(' ')).map(|(k, v)| (k, v.trim())).collect()
}

#[test]
fn the_demo_mails_abandoned_carts_and_verifies_itself() {
    let out = run(postrider([
        "demo",
        "--seconds",
        "6",
        "--rate",
        "300",
        "--speed",
        "1800",
        "--verify",
        "--json",
    ]))
    .ok();
    let addresses: Vec<&str> = out.lines().take(3).collect();
    assert!(addresses[0].starts_with("collector  http://127.0.0.1:"), "{out}");
    assert!(addresses[1].starts_with("mailbox    http://127.0.0.1:"), "{out}");
    assert!(addresses[2].starts_with("mail       smtp://127.0.0.1:"), "{out}");
    assert!(lines(&out)["verify"].starts_with("equal: "), "{out}");
    let json = out.lines().find(|line| line.starts_with('{')).unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    let number = |name: &str| json[name].as_u64().unwrap();
    assert_eq!(number("accepted") + number("duplicate") + number("rejected"), number("posted"));
    assert_eq!(number("posted"), 6 * 300);
    assert!(number("duplicate") > 0, "{json}");
    assert_eq!(number("sent"), number("mails"));
    assert_eq!((number("twice"), number("in_doubt")), (0, 0));
    let not_sent: u64 =
        json["not_sent"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(number("sent") + not_sent, number("trigger_rows"), "{json}");
    assert_eq!(json["accepted_to_trigger_row"]["count"], json["trigger_rows"]);
    assert_eq!(json["accepted_to_smtp"]["count"], json["sent"]);
    assert!(number("sent") > 50, "{json}");
}

#[test]
fn ctrl_c_ends_the_demo_with_its_summary() {
    let mut demo =
        Running::start(postrider(["demo", "--seconds", "600", "--rate", "200", "--verify"]));
    demo.out_after("trigger");
    demo.stop(Signal::INT);
    let out = demo.rest_of_out();
    let lines = lines(&out);
    for word in ["events", "triggers", "emails", "mailbox", "latency", "verify"] {
        assert!(lines.contains_key(word), "{word} in {out}");
    }
    assert!(lines["verify"].starts_with("equal"), "{out}");
}

#[test]
fn a_kept_demo_serves_its_mailbox_until_ctrl_c() {
    let mut demo = Running::start(postrider([
        "demo",
        "--seconds",
        "2",
        "--rate",
        "200",
        "--speed",
        "3600",
        "--keep",
    ]));
    let page = demo.out_after("mailbox");
    let sent = demo.out_after("emails");
    demo.err_after("staying up");
    let (status, html) = get(&page);
    assert_eq!(status, 200);
    assert!(html.contains("<html"), "{html}");
    let (status, list) = get(&format!("{page}/api/mails"));
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(status, 200);
    assert_eq!(list["count"].to_string(), sent.split(' ').next().unwrap().replace(',', ""));
    assert_ne!(list["count"], 0);
    demo.stop(Signal::INT);
}

#[test]
fn a_demo_does_not_write_over_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let mut command = postrider(["demo", "--seconds", "1", "--dir"]);
    command.arg(dir.path());
    let err = run(command).fails_with(2);
    assert!(err.contains("is not empty"), "{err}");
}
