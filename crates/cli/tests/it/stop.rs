//! The end of a run that mails: whatever ends it, a send that was begun is finished, and none is in doubt.

use std::{net::TcpListener, path::Path, process::Command};

use crate::{
    mailbox::{Mailbox, Outbox},
    process::{Running, Signal, eventually, run, run_pipeline, write},
};

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }}</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

/// Hundreds of mails a second, for ever.
const MAILS: &str = "
CREATE TABLE g (n BIGINT NOT NULL, user_id TEXT NOT NULL) WITH (connector = 'generator', events_per_second = 500);
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = 'Number {{ n }}',
                         from = 'Shop <hi@shop.example>');
INSERT INTO mails SELECT user_id AS recipient_key, CAST(n AS TEXT) AS dedupe_key,
                         user_id || '@customers.example' AS email, n FROM g;
";

/// A bad record at the end of a file that another process writes.
const FAILS: &str = "
CREATE TABLE events (n BIGINT NOT NULL) WITH (connector = 'collector', bad_data = 'fail');
CREATE TABLE hole WITH (connector = 'blackhole');
INSERT INTO hole SELECT n FROM events;
";

fn mails(dir: &Path, smtp: &str) -> Command {
    let file = write(dir, "mails.sql", MAILS);
    write(dir, "t.mjml", TEMPLATE);
    let mut command = run_pipeline(&file, &dir.join("state"));
    command.args(["--smtp", smtp]);
    command
}

/// Every row has an end that is known, and every accepted mail is there.
fn nothing_is_in_doubt(dir: &Path, mailbox: &Mailbox) {
    let outbox = Outbox::of(&dir.join("state"));
    assert_eq!(outbox.count("in doubt"), 0, "{:?}", outbox);
    assert_eq!(outbox.count("still to do"), 0, "{:?}", outbox);
    assert_eq!(outbox.count("accepted"), outbox.trigger_rows);
    assert_eq!(outbox.count("accepted"), mailbox.count());
}

#[test]
fn a_stop_finishes_what_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    for signal in [Signal::TERM, Signal::INT] {
        let before = mailbox.count();
        let mut running = Running::start(mails(dir.path(), &mailbox.smtp));
        eventually("mails", || mailbox.count() >= before + 60);
        let err = running.stop(signal);
        assert!(err.contains("stopping: finishing what is on its way"), "{err}");
        assert!(err.contains("pipeline mails  "), "{err}");
        nothing_is_in_doubt(dir.path(), &mailbox);
    }
}

#[test]
fn a_failure_elsewhere_does_not_cut_mails_off() {
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let mut command = mails(dir.path(), &mailbox.smtp);
    command.arg(write(dir.path(), "fails.sql", FAILS));
    command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk"]);
    let mut running = Running::start(command);
    let url = running.err_after("collector");
    eventually("mails", || mailbox.count() >= 60);
    crate::http::post(&format!("{url}/v1/events"), "sk", r#"{"n":"many"}"#);
    let (before, _) = running.err_until("pipeline fails  out of service");
    assert!(before.contains("error: table `events` has bad_data = 'fail'"), "{before}");
    // The other one goes on, and what failed is told again at the end.
    assert!(running.runs());
    running.signal(Signal::TERM);
    let status = running.wait();
    let err = running.rest_of_err();
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("error: table `events` has bad_data = 'fail'"), "{err}");
    nothing_is_in_doubt(dir.path(), &mailbox);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // A relay that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let smtp = format!("smtp://{}", silent.local_addr().unwrap());
    let mut running = Running::start(mails(dir.path(), &smtp));
    let connection = silent.accept().unwrap();
    running.signal(Signal::INT);
    running.err_after("stopping: ");
    assert!(running.runs());
    eventually("the end", || {
        // One that came while the first was still being handled counts as one with it.
        let runs = running.runs();
        if runs {
            running.signal(Signal::INT);
        }
        !runs
    });
    assert_eq!(running.wait().code(), Some(1));
    let err = running.rest_of_err();
    assert!(err.contains("the next run continues from the log"), "{err}");
    drop(connection);

    // The silent relay said nothing before the message, so nothing is in doubt for the next run.
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let mut running = Running::start(mails(dir.path(), &mailbox.smtp));
    eventually("mails", || mailbox.count() >= 10);
    running.stop(Signal::TERM);
}

#[test]
fn sends_on_their_way_are_in_doubt_only_once_their_process_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let smtp = format!("smtp://{}", silent.local_addr().unwrap());
    let state = dir.path().join("state");
    let mut running = Running::start(mails(dir.path(), &smtp));
    let _connection = silent.accept().unwrap();
    let mut outbox = Outbox::of(&state);
    eventually("a send on its way", || {
        outbox = Outbox::of(&state);
        !outbox.ids("intended").is_empty()
    });
    assert_eq!(outbox.ids("in_doubt").len(), 0, "{outbox:?}");
    assert_eq!(outbox.count("in doubt"), 0, "{outbox:?}");
    running.kill();
    let outbox = Outbox::of(&state);
    assert_eq!(outbox.ids("intended").len(), 0, "{outbox:?}");
    assert_ne!(outbox.ids("in_doubt").len(), 0, "{outbox:?}");
}

#[test]
fn a_failed_start_leaves_no_send_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let sql = MAILS.replace(
        "WITH (connector = 'generator', events_per_second = 500)",
        "WITH (connector = 'single_file', path = 'rows.ndjson', format = 'json')",
    );
    let file = write(dir.path(), "mails.sql", &sql);
    write(dir.path(), "t.mjml", TEMPLATE);
    write(
        dir.path(),
        "rows.ndjson",
        &(0..200).map(|n| format!("{{\"n\":{n},\"user_id\":\"u{n}\"}}\n")).collect::<String>(),
    );
    let start = |smtp: &str| {
        let mut command = run_pipeline(&file, &dir.path().join("state"));
        command.args(["--smtp", smtp]);
        command
    };
    // Rows are sealed, and hardly any is sent: the rest waits for the next run.
    let mut running = Running::start(start(&format!("smtp://{}", silent.local_addr().unwrap())));
    drop(silent.accept().unwrap());
    running.kill();
    let before = Outbox::of(&dir.path().join("state"));
    assert!(before.count("still to do") > 0, "{:?}", before);

    std::fs::rename(dir.path().join("rows.ndjson"), dir.path().join("moved.ndjson")).unwrap();
    let err = run(start(&mailbox.smtp)).fails_with(2);
    assert!(err.contains("rows.ndjson"), "{err}");
    assert_eq!(mailbox.count(), 0);
    assert_eq!(Outbox::of(&dir.path().join("state")).counts(), before.counts());

    std::fs::rename(dir.path().join("moved.ndjson"), dir.path().join("rows.ndjson")).unwrap();
    run(start(&mailbox.smtp)).ok();
    let after = Outbox::of(&dir.path().join("state"));
    assert_eq!(after.count("accepted") + after.count("in doubt"), 200);
    assert_eq!(after.count("accepted"), mailbox.count());
}
