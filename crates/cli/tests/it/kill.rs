//! SIGKILL, twenty times in one run: no mail twice, and whatever is missing is listed as in doubt.

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    http::post,
    process::{Mailbox, Running, eventually, outbox, postrider, run},
};

const KILLS: usize = 20;

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ name }}, {{ n }} events \
    </mj-text></mj-column></mj-section></mj-body></mjml>";

/// 2,000 events a second for five seconds; a mail for every customer and 20 seconds of event time.
const PACED: &str = "
CREATE TABLE clicks (user_id TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)
WITH (connector = 'generator', rows = 10000, events_per_second = 2000, keys = 10,
      start = '2026-01-01T00:00:00Z', interval = INTERVAL '1 second');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = '{{ name }}',
                         from = 'Shop <hi@shop.example>', ttl = INTERVAL '36500 days');
INSERT INTO mails
SELECT user_id AS recipient_key, user_id || cast(w.start AS TEXT) AS dedupe_key,
       user_id || '@customers.example' AS email, user_id AS name, n
FROM (SELECT user_id, tumble(INTERVAL '20 seconds') AS w, count(*) AS n FROM clicks GROUP BY user_id, w);
";

fn write_pipeline(dir: &Path, sql: &str) {
    std::fs::write(dir.join("shop.sql"), sql).unwrap();
    std::fs::write(dir.join("t.mjml"), TEMPLATE).unwrap();
}

fn pipeline(dir: &Path, state: &Path, mailbox: &Mailbox) -> Command {
    let mut command = postrider(["run"]);
    command.arg(dir.join("shop.sql")).arg("--state-dir").arg(state);
    command.arg("--smtp").arg(&mailbox.smtp).arg("--parallelism").arg("2");
    command
}

#[test]
fn twenty_kills_send_nothing_twice_and_lose_nothing_silently() {
    let dir = tempfile::tempdir().unwrap();
    write_pipeline(dir.path(), PACED);
    let calm = Mailbox::start(&dir.path().join("calm"));
    run(pipeline(dir.path(), &dir.path().join("calm-state"), &calm)).ok();
    let expected = calm.message_ids();

    let rough = Mailbox::start(&dir.path().join("rough"));
    let state = dir.path().join("state");
    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    let mut interrupted = 0;
    for _ in 0..KILLS {
        let mut running = Running::start(pipeline(dir.path(), &state, &rough));
        let time = Duration::from_millis(random.random_range(30..700));
        if !running.ends_within(time) {
            interrupted += 1;
        }
        running.kill();
    }
    run(pipeline(dir.path(), &state, &rough)).ok();

    let delivered = rough.message_ids();
    let once: BTreeSet<&String> = delivered.iter().collect();
    assert_eq!(once.len(), delivered.len(), "a mail came twice");
    let expected: BTreeSet<&String> = expected.iter().collect();
    assert!(once.is_subset(&expected), "a mail came that an undisturbed run does not send");
    let sends = outbox(&state);
    let text = |send: &serde_json::Value, field: &str| send[field].as_str().unwrap().to_owned();
    let in_doubt: BTreeSet<String> = sends
        .iter()
        .filter(|send| text(send, "state") == "in_doubt")
        .map(|send| text(send, "send_id"))
        .collect();
    let missing: BTreeSet<String> = expected.difference(&once).map(|id| (*id).clone()).collect();
    let undelivered: BTreeSet<String> =
        in_doubt.iter().filter(|id| !once.contains(id)).cloned().collect();
    println!(
        "{interrupted} of {KILLS} kills hit a run; {} mails expected, {} delivered, {} missing, {} in doubt",
        expected.len(),
        delivered.len(),
        missing.len(),
        in_doubt.len()
    );
    assert_eq!(missing, undelivered, "what is missing is what the outbox lists as in doubt");
    assert_eq!(sends.len(), expected.len());
    assert!(interrupted >= KILLS / 2, "only {interrupted} kills hit a running pipeline");
}

/// Counts what the collector accepted, a window a second of event time.
const COUNTED: &str = "
CREATE TABLE clicks (n BIGINT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)
WITH (connector = 'collector', idle_timeout = INTERVAL '100 milliseconds');
CREATE TABLE counts WITH (connector = 'single_file', path = 'counts.ndjson');
INSERT INTO counts SELECT n FROM clicks;
";

#[test]
fn every_event_that_was_answered_2xx_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("count.sql"), COUNTED).unwrap();
    let start = || {
        let mut command = postrider(["run", "--listen", "127.0.0.1:0", "--write-key", "server:sk"]);
        command.arg(dir.path().join("count.sql")).arg("--state-dir").arg(dir.path().join("state"));
        let running = Running::start(command);
        let url = running.err_after("collector");
        (running, url)
    };
    let mut answered = Vec::new();
    let mut next = 0;
    for round in 0..5 {
        let (mut running, url) = start();
        for _ in 0..40 {
            let body = format!(
                r#"{{"messageId":"m{next}","n":{next},"ts":"2026-01-01T00:00:{:02}Z"}}"#,
                round
            );
            let (status, answer) = post(&format!("{url}/v1/events"), "sk", &body);
            assert_eq!(status, 200, "{answer}");
            answered.push(next);
            next += 1;
        }
        running.kill();
    }
    let (mut running, url) = start();
    // Known message ids are not counted again, whichever process they were posted to.
    let (_, answer) = post(
        &format!("{url}/v1/events"),
        "sk",
        r#"{"messageId":"m0","n":0,"ts":"2026-01-01T00:00:00Z"}"#,
    );
    assert!(answer.contains("\"duplicate\":1"), "{answer}");
    let file = dir.path().join("counts.ndjson");
    let count = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    eventually("every event being written", || count() >= answered.len());
    running.signal("TERM");
    assert!(running.wait().success(), "{}", running.rest_of_err());
    let written = std::fs::read_to_string(&file).unwrap();
    let mut numbers: Vec<i64> = written
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, answered);
}
