//! Checkpoints in an S3 bucket, on a server that others wrote: moto's, which `scripts/fetch-test-data` fetched.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::{
    http::{get_as, put},
    mailbox::{Mailbox, Outbox},
    process::{Running, Signal, eventually, postrider, run, run_pipeline, test_data, write},
    proxy::Proxy,
};

/// An S3 server with one bucket, `shop`. It keeps its objects in memory.
struct S3 {
    _running: Running,
    /// `host:port`.
    address: String,
}

impl S3 {
    fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-B", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        command.env("PYTHONPATH", test_data("s3"));
        let running = Running::start(command);
        let url = running.err_after(" * Running on ");
        let address = url.strip_prefix("http://").unwrap().to_owned();
        let (status, answer) = put(&format!("{url}/shop"));
        assert_eq!(status, 200, "{answer}");
        Self { _running: running, address }
    }

    /// How many checkpoints a pipeline has below a prefix.
    fn checkpoints(&self, pipeline: &str) -> usize {
        let url = format!("http://{}/shop?list-type=2&prefix={pipeline}/manifest/", self.address);
        let (status, answer) =
            get_as(&url, "AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/aws4_request");
        assert_eq!(status, 200, "{answer}");
        answer.matches("<Key>").count()
    }
}

/// A run with its checkpoints in the bucket, one a second.
fn run_on(address: &str, file: &Path, state: &Path, place: &str) -> Command {
    let mut command = run_pipeline(file, state);
    set_up(&mut command, address);
    command.args(["--checkpoint-every", "1", "--checkpoints", place]);
    command
}

fn set_up(command: &mut Command, address: &str) {
    command.env("AWS_ACCESS_KEY_ID", "me").env("AWS_SECRET_ACCESS_KEY", "hush");
    command.env("AWS_REGION", "us-east-1").env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ENDPOINT", format!("http://{address}"));
}

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }} visits</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

/// Fifty windows a second close, each with a mail for each of ten customers.
const VISITS: &str = "
CREATE TABLE visits (user_id TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
WITH (connector = 'generator', rows = 8000, events_per_second = 2000, keys = 10, interval = INTERVAL '1 second');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = '{{ n }}',
                         from = 'Shop <hi@shop.example>');
INSERT INTO mails
SELECT user_id AS recipient_key, user_id || '@customers.example' AS email, n,
       user_id || COALESCE(to_char(w.start, '%H:%M:%S'), '') AS dedupe_key
FROM (SELECT user_id, tumble(INTERVAL '40 seconds') AS w, count(*) AS n FROM visits GROUP BY user_id, w);
";

#[test]
fn a_killed_pipeline_goes_on_from_the_bucket_on_other_shards() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "visits.sql", VISITS);
    write(dir.path(), "t.mjml", TEMPLATE);
    let calm_box = Mailbox::start(&dir.path().join("calm"));
    let calm_state = dir.path().join("calm.state");
    let mut calm = run_pipeline(&file, &calm_state);
    calm.args(["--parallelism", "2", "--smtp", &calm_box.smtp]);
    run(calm).ok();

    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let state = dir.path().join("state");
    let on = |shards: &str, state: &Path| {
        let mut command = run_on(&s3.address, &file, state, "s3://shop/eu/a");
        command.args(["--parallelism", shards, "--smtp", &mailbox.smtp]);
        command
    };
    for (kills, shards) in ["2", "1"].into_iter().enumerate() {
        let (mails, checkpoints) = (mailbox.count(), s3.checkpoints("eu/a/visits"));
        let mut running = Running::start(on(shards, &state));
        if kills > 0 {
            running.err_after("pipeline visits  restored checkpoint ");
        }
        eventually("mails and a checkpoint", || {
            // Taking over wrote one that is not new.
            s3.checkpoints("eu/a/visits") > checkpoints + kills && mailbox.count() > mails
        });
        running.kill();
    }
    let last = run(on("3", &state));
    assert!(last.err.contains("pipeline visits  restored checkpoint "), "{}", last.err);
    last.ok();
    assert!(!state.join("checkpoints").exists(), "all of them are in the bucket");

    let ids = |mailbox: &Mailbox| -> Vec<String> {
        mailbox.mails().into_iter().map(|mail| mail.send_id).collect()
    };
    let delivered = ids(&mailbox);
    let once: BTreeSet<String> = delivered.iter().cloned().collect();
    assert_eq!(once.len(), delivered.len(), "a mail came twice");
    let expected: BTreeSet<String> = ids(&calm_box).into_iter().collect();
    assert!(once.is_subset(&expected), "a mail came that an undisturbed run does not send");
    let end = Outbox::of(&state);
    let in_doubt: BTreeSet<String> = end.ids("in_doubt").into_iter().collect();
    let missing: BTreeSet<String> = expected.difference(&once).cloned().collect();
    let undelivered: BTreeSet<String> = in_doubt.difference(&once).cloned().collect();
    assert_eq!(missing, undelivered, "what is missing is what the outbox lists as in doubt");
    assert_eq!(end.trigger_rows, Outbox::of(&calm_state).trigger_rows);

    // A disk is lost: whatever its log held behind the last checkpoint is, too.
    let err = run(on("1", &dir.path().join("new"))).fails_with(75);
    assert!(err.contains("If that state directory was lost"), "{err}");
    assert!(err.contains(" of pipeline `visits` was taken of log "), "{err}");
}

/// Five hundred rows a second, for ever.
const ENDLESS: &str = "
CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', events_per_second = 500);
CREATE TABLE o WITH (connector = 'single_file', path = 'out.ndjson');
INSERT INTO o SELECT n FROM g;
";

#[test]
fn a_pipeline_goes_on_without_its_bucket_and_checkpoints_come_back() {
    let s3 = S3::start();
    let way = Proxy::to(&s3.address);
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "endless.sql", ENDLESS);
    let rows =
        || fs::read_to_string(dir.path().join("out.ndjson")).unwrap_or_default().lines().count();

    // At the start there is nothing to go on from without them.
    way.cut();
    let mut running =
        Running::start(run_on(&way.address, &file, &dir.path().join("state"), "s3://shop/b"));
    running.err_after("pipeline endless  waiting for its checkpoints, ");
    assert_eq!(rows(), 0);
    way.mend();
    eventually("a checkpoint", || s3.checkpoints("b/endless") > 0);

    way.cut();
    running.err_after(
        "error: pipeline endless: a checkpoint could not be written; it goes on with its log",
    );
    let (before, broken) = (rows(), way.broken());
    eventually("rows and more tries", || rows() > before + 500 && way.broken() > broken + 2);
    way.mend();
    let (meanwhile, _) =
        running.err_until("pipeline endless  checkpoints are written again: number ");
    assert_eq!(meanwhile, "", "the alarm came once");
    let checkpoints = s3.checkpoints("b/endless");
    eventually("the next checkpoint", || s3.checkpoints("b/endless") > checkpoints);
    let err = running.stop(Signal::TERM);
    assert!(!err.contains("could not be written"), "{err}");
}

#[test]
fn a_server_that_overwrites_is_refused_at_the_start() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "endless.sql", ENDLESS);
    let way = Proxy::careless(&s3.address);
    let command = run_on(&way.address, &file, &dir.path().join("state"), "s3://shop/c");
    let err = run(command).fails_with(2);
    assert!(
        err.contains("does not honour put-if-absent: it created the same object twice"),
        "{err}"
    );
    assert!(!dir.path().join("out.ndjson").exists(), "nothing ran");
}

#[test]
fn mistakes_about_the_place_say_what_to_do() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "endless.sql", ENDLESS);
    let state = dir.path().join("state");
    let at = |place: &str| run(run_on(&s3.address, &file, &state, place)).fails_with(2);
    let err = at("s3://shops/a");
    assert!(
        err.contains("NoSuchBucket") && err.contains("create it, or correct its name"),
        "{err}"
    );
    let err = at("ftp://shop/a");
    assert!(
        err.contains("`ftp` is no kind of store") && err.contains("s3://bucket/prefix"),
        "{err}"
    );
    let err = at("s3://key:hush@shop/a");
    assert!(err.contains("variables of the environment") && !err.contains("hush"), "{err}");

    let mut command = run_on(&s3.address, &file, &state, "s3://shop/a");
    command.env_remove("AWS_ALLOW_HTTP");
    let err = run(command).fails_with(2);
    assert!(err.contains("AWS_ALLOW_HTTP=true is not set"), "{err}");

    let mut command = postrider(["run", "--checkpoints", "s3://shop/a"]);
    command.arg(&file);
    set_up(&mut command, &s3.address);
    let err = run(command).fails_with(2);
    assert!(err.contains("give --state-dir DIR too"), "{err}");
}
