//! The first thing a visitor does.

use crate::{
    http::get,
    process::{Running, postrider, run},
};

#[test]
fn the_demo_mails_abandoned_carts_and_verifies_itself() {
    let out = run(postrider([
        "demo",
        "--seconds",
        "6",
        "--rate",
        "400",
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
    assert!(out.contains("verify     equal"), "{out}");
    let json = out.lines().find(|line| line.starts_with('{')).unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let number = |name: &str| json[name].as_u64().unwrap();
    assert_eq!(number("accepted") + number("duplicate") + number("rejected"), number("posted"));
    assert_eq!(number("sent"), number("mails"));
    assert_eq!(number("twice"), 0);
    assert!(number("sent") > 50, "{json}");
}

#[test]
fn ctrl_c_ends_the_demo_cleanly_and_keep_stays_up() {
    let mut demo = Running::start(postrider(["demo", "--seconds", "600", "--rate", "200"]));
    demo.out_after("trigger");
    demo.signal("INT");
    assert!(demo.wait().success(), "{}", demo.rest_of_err());
    assert!(demo.rest_of_out().contains("emails"));

    let mut demo = Running::start(postrider([
        "demo",
        "--seconds",
        "1",
        "--rate",
        "100",
        "--speed",
        "3600",
        "--keep",
    ]));
    let mailbox = demo.out_after("mailbox");
    demo.err_after("staying up");
    let (status, page) = get(&mailbox);
    assert_eq!(status, 200);
    assert!(page.contains("<html"), "{page}");
    demo.signal("INT");
    assert!(demo.wait().success(), "{}", demo.rest_of_err());
}
