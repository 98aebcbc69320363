//! The shop: its pipeline, its state, and what lies in its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use super::oracle;
use crate::{
    mailbox::{Mailbox, Outbox},
    process::{json_lines, postrider, run, run_pipeline, write},
};

/// The number of the event that closes all windows.
pub(super) const LAST: i64 = -1;

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ total }}</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

const ROWS: &str = "
CREATE TABLE visits (
  user_id TEXT NOT NULL, n BIGINT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'collector');
CREATE TABLE seen WITH (connector = 'single_file', path = 'seen.ndjson', format = 'json');
INSERT INTO seen SELECT user_id, n FROM visits;
CREATE TABLE hops WITH (connector = 'single_file', path = 'hops.ndjson', format = 'json');
INSERT INTO hops
SELECT user_id, to_char(w.start, '%Y-%m-%dT%H:%M:%S') AS start, events, total
FROM (SELECT user_id, hop(INTERVAL '1 minute', INTERVAL '3 minutes') AS w, count(*) AS events, sum(n) AS total
      FROM visits GROUP BY user_id, w);
";

const DIGESTS: &str = "
CREATE TABLE digests WITH (connector = 'email', template = 't.mjml', subject = '{{ events }} visits',
                           from = 'Shop <hi@shop.example>');
INSERT INTO digests
SELECT user_id AS recipient_key, user_id || '@customers.example' AS email, events, total,
       COALESCE(to_char(w.start, '%Y-%m-%dT%H:%M:%S'), '') || ' ' || CAST(events AS TEXT) || ' ' || CAST(total AS TEXT) AS dedupe_key
FROM (SELECT user_id, tumble(INTERVAL '2 minutes') AS w, count(*) AS events, sum(n) AS total
      FROM visits GROUP BY user_id, w);
";

/// What is in a key is all that a window computed: one that is fired with another content is another send. A row of 500
/// ms is never as far from the next one as the gap of the session.
const VISITORS: &str = "
CREATE TABLE visitors WITH (connector = 'email', template = 't.mjml', subject = '{{ events }} visits',
                            from = 'Shop <hi@shop.example>');
INSERT INTO visitors
SELECT user_id AS recipient_key, user_id || '@customers.example' AS email, events, total,
       CAST(first AS TEXT) || ' ' || CAST(last AS TEXT) || ' ' || CAST(events AS TEXT) || ' ' || CAST(total AS TEXT) AS dedupe_key
FROM (SELECT user_id, session(INTERVAL '300250 milliseconds') AS w, min(n) AS first, max(n) AS last,
             count(*) AS events, sum(n) AS total
      FROM visits GROUP BY user_id, w HAVING max(n) % 100000 < {below});
";

/// Members that stay the same: each of them is in the window of a month from the first moment on, and they buy all the time.
const MEMBERS: &str = "
CREATE TABLE joined (member_id BIGINT NOT NULL, at TIMESTAMP NOT NULL, points DOUBLE NOT NULL, WATERMARK FOR at AS at)
WITH (connector = 'generator', rows = {rows}, keys = {members}, interval = INTERVAL '1 millisecond');
CREATE TABLE purchases (member_id BIGINT NOT NULL, at TIMESTAMP NOT NULL, points DOUBLE NOT NULL, WATERMARK FOR at AS at)
WITH (connector = 'generator', events_per_second = 4000, keys = {members}, interval = INTERVAL '1 millisecond');
CREATE TABLE points WITH (connector = 'blackhole');
INSERT INTO points
SELECT member_id, tumble(INTERVAL '30 days') AS w, count(*) AS purchases, sum(points) AS total, max(points) AS best
FROM (SELECT member_id, points FROM joined UNION ALL SELECT member_id, points FROM purchases) GROUP BY member_id, w;
";

/// So many draws of one of them, and one in a thousand million is left out.
const DRAWS_PER_MEMBER: u64 = 20;

fn members(count: u64) -> String {
    let rows = (count * DRAWS_PER_MEMBER).to_string();
    let sql = MEMBERS.replace("{rows}", &rows).replace("{members}", &count.to_string());
    if count == 0 { String::new() } else { sql }
}

/// How often the shop mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mails {
    /// For every window and every session.
    Many,
    /// For one session of 500: those that end soon behind a number with five zeros.
    Few,
}

impl Mails {
    fn pipeline(self) -> String {
        let visitors = VISITORS.replace("{below}", &self.below().to_string());
        let digests = if self == Self::Many { DIGESTS } else { "" };
        format!("{ROWS}{digests}{visitors}")
    }

    const fn below(self) -> i64 {
        match self {
            Self::Many => 100_000,
            Self::Few => 200,
        }
    }
}

/// A shop on disk and its customers' mailbox.
pub(super) struct Shop {
    dir: TempDir,
    mails: Mails,
    pub(super) mailbox: Mailbox,
}

impl Shop {
    pub(super) fn open(mails: Mails) -> Self {
        Self::with_members(mails, 0)
    }

    /// With so many members who stay the same.
    pub(super) fn with_members(mails: Mails, members: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "shop.sql", &(mails.pipeline() + &self::members(members)));
        write(dir.path(), "t.mjml", TEMPLATE);
        let mailbox = Mailbox::start(&dir.path().join("mails"));
        Self { dir, mails, mailbox }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A process that takes checkpoints and deletes what it can of its log all the time.
    pub(super) fn command(&self, parallelism: u64) -> Command {
        let mut command = run_pipeline(&self.dir.path().join("shop.sql"), &self.state());
        command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk"]);
        command.args(["--smtp", &self.mailbox.smtp, "--parallelism", &parallelism.to_string()]);
        command.args(["--checkpoint-every", "1", "--log-segment-bytes", "65536"]);
        command.args(["--keep-seconds", "0", "--housekeeping-ms", "100"]);
        command
    }

    /// The same, that dies at a failpoint.
    pub(super) fn command_with(&self, parallelism: u64, failpoint: Option<&str>) -> Command {
        let mut command = self.command(parallelism);
        command.envs(failpoint.map(|failpoint| ("POSTRIDER_FAILPOINT", failpoint)));
        command
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// How often each event is in the file that takes them as they are, and its customer. An unfinished line is none.
    pub(super) fn seen(&self) -> BTreeMap<i64, (usize, String)> {
        let mut seen: BTreeMap<i64, (usize, String)> = BTreeMap::new();
        for row in json_lines(whole(&self.text("seen.ndjson"))) {
            let user = row["user_id"].as_str().unwrap().to_owned();
            seen.entry(row["n"].as_i64().unwrap()).or_insert((0, user)).0 += 1;
        }
        seen
    }

    /// The events that windows are computed of: a number and its customer.
    pub(super) fn events(&self) -> Vec<(i64, String)> {
        let seen = self.seen().into_iter().filter(|(n, _)| *n != LAST);
        seen.map(|(n, (_, user))| (n, user)).collect()
    }

    /// The rows of the hopping windows, sorted.
    pub(super) fn hops(&self) -> Vec<(String, String, i64, i64)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let rows = json_lines(whole(&self.text("hops.ndjson")));
        let mut rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let (events, total) =
                    (row["events"].as_i64().unwrap(), row["total"].as_i64().unwrap());
                (text(&row["user_id"]), text(&row["start"]), events, total)
            })
            .collect();
        rows.sort();
        rows
    }

    /// The numbers of bad events in the dead letters, sorted.
    pub(super) fn dead_letters(&self) -> Vec<i64> {
        let letters = self.text("state/dead_letters/shop.dead-letters.ndjson");
        let number = |line: &str| {
            let rest = line.split_once("bad-").unwrap().1;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            digits.parse().unwrap()
        };
        let mut numbers: Vec<_> = whole(&letters).lines().map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The ids of all mails that there should be.
    pub(super) fn expected_sends(&self) -> BTreeSet<String> {
        let (events, below) = (self.events(), self.mails.below());
        let mut sends = oracle::visitors(&events, |last| last % 100_000 < below);
        if self.mails == Mails::Many {
            sends.append(&mut oracle::digests(&events));
        }
        sends
    }

    pub(super) fn outbox(&self) -> Outbox {
        Outbox::of(&self.state())
    }

    /// Reads every frame of the log.
    pub(super) fn verify_log(&self) {
        let mut command = postrider(["log", "verify"]);
        command.arg(self.state());
        run(command).ok();
    }

    /// Whether the beginning of the log was deleted.
    pub(super) fn log_was_shortened(&self) -> bool {
        !self.state().join(format!("{:020}.log", 0)).exists()
    }
}

/// The lines of a file that may be written to that are whole.
fn whole(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}
