//! SIGKILL, twenty times in one run, a new process each time: no mail twice, whatever is missing is listed as in doubt, and
//! no event that was answered 2xx is lost or counted twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    http::{post, try_post},
    mailbox::{Mailbox, Outbox},
    process::{Running, Signal, eventually, json_lines, run, run_pipeline, within, write},
};

const KILLS: usize = 20;

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ name }}, {{ n }} visits \
    </mj-text></mj-column></mj-section></mj-body></mjml>";

/// 100 windows a second close, each with rows for most of ten customers: more than the mailbox takes, so that sends are
/// always on their way. One customer is mailed once a minute, so the other windows of the minute are duplicates.
const VISITS: &str = "
CREATE TABLE visits (user_id TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
WITH (connector = 'generator', rows = 8000, events_per_second = 2000, keys = 10, interval = INTERVAL '1 second');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = '{{ name }}',
                         from = 'Shop <hi@shop.example>');
INSERT INTO mails
SELECT user_id AS recipient_key, user_id || '@customers.example' AS email, user_id AS name, n,
       user_id || COALESCE(to_char(w.start, CASE WHEN user_id = 'user-7' THEN '%H:%M' ELSE '%H:%M:%S' END), '') AS dedupe_key
FROM (SELECT user_id, tumble(INTERVAL '20 seconds') AS w, count(*) AS n FROM visits GROUP BY user_id, w);
";

fn visits(dir: &Path, state: &Path, mailbox: &Mailbox) -> Command {
    let mut command = run_pipeline(&dir.join("shop.sql"), state);
    command.args(["--parallelism", "2", "--smtp", &mailbox.smtp]);
    command
}

#[test]
fn twenty_kills_send_nothing_twice_and_lose_nothing_silently() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "shop.sql", VISITS);
    write(dir.path(), "t.mjml", TEMPLATE);
    let calm_state = dir.path().join("calm.state");
    let calm_box = Mailbox::start(&dir.path().join("calm"));
    run(visits(dir.path(), &calm_state, &calm_box)).ok();
    let calm = Outbox::of(&calm_state);

    let state = dir.path().join("state");
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    let mut dice = ChaCha8Rng::seed_from_u64(20_261_124);
    // Kills that met a running process, that left sends in doubt, and that came after new mails.
    let (mut hits, mut in_flight, mut moved) = (0, 0, 0);
    let (mut doubts, mut arrived) = (0, 0);
    for kill in 0..KILLS {
        let mut running = Running::start(visits(dir.path(), &state, &mailbox));
        if kill % 2 == 0 {
            // Any moment: also while it starts, replays or recovers.
            let moment = Duration::from_millis(dice.random_range(20..800));
            within(moment, || !running.runs());
        } else {
            let mails = arrived + dice.random_range(1..100);
            eventually("more mails", || mailbox.count() >= mails || !running.runs());
        }
        hits += usize::from(running.runs());
        running.kill();
        let (now, mails) = (Outbox::of(&state).ids("in_doubt").len(), mailbox.count());
        in_flight += usize::from(now > doubts);
        moved += usize::from(mails > arrived);
        (doubts, arrived) = (now, mails);
    }
    run(visits(dir.path(), &state, &mailbox)).ok();
    let end = Outbox::of(&state);

    let ids = |mailbox: &Mailbox| -> Vec<String> {
        mailbox.mails().into_iter().map(|mail| mail.send_id).collect()
    };
    let delivered = ids(&mailbox);
    let once: BTreeSet<String> = delivered.iter().cloned().collect();
    assert_eq!(once.len(), delivered.len(), "a mail came twice");
    let expected: BTreeSet<String> = ids(&calm_box).into_iter().collect();
    assert!(once.is_subset(&expected), "a mail came that an undisturbed run does not send");
    let in_doubt: BTreeSet<String> = end.ids("in_doubt").into_iter().collect();
    let missing: BTreeSet<String> = expected.difference(&once).cloned().collect();
    let undelivered: BTreeSet<String> = in_doubt.difference(&once).cloned().collect();
    println!(
        "{hits} of {KILLS} kills hit a running process, {in_flight} of them sends on their way, {moved} came after new \
         mails; {} mails expected, {} delivered, {} missing, {} in doubt",
        expected.len(),
        delivered.len(),
        missing.len(),
        in_doubt.len()
    );
    assert_eq!(missing, undelivered, "what is missing is what the outbox lists as in doubt");
    assert!(in_doubt.is_subset(&expected));
    assert_eq!((end.rows.len(), end.trigger_rows), (calm.rows.len(), calm.trigger_rows));
    assert_eq!(end.count("accepted") + end.count("in doubt"), calm.count("accepted"));
    assert!(calm.count("not sent: duplicate") > 0);
    assert_eq!(end.count("not sent: duplicate"), calm.count("not sent: duplicate"));
    assert_eq!(hits, KILLS, "every kill hit a running process");
    assert!(in_flight >= KILLS / 8, "only {in_flight} kills hit sends on their way");
    assert!(moved >= KILLS / 8, "only {moved} kills came after new mails");
}

/// Each event as it is, and each customer's events of the day.
const CLICKS: &str = "
CREATE TABLE clicks (user_id TEXT NOT NULL, n BIGINT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
WITH (connector = 'collector');
CREATE TABLE seen WITH (connector = 'single_file', path = 'seen.ndjson', format = 'json');
INSERT INTO seen SELECT user_id, n FROM clicks WHERE user_id <> 'last';
CREATE TABLE counts WITH (connector = 'single_file', path = 'counts.ndjson', format = 'json');
INSERT INTO counts SELECT user_id, count(*) AS events, sum(n) AS total
FROM clicks GROUP BY user_id, tumble(INTERVAL '1 day');
";

/// The end of the day.
const LAST: &str = r#"{"messageId":"last","userId":"last","n":0,"ts":"2026-01-03T00:00:00Z"}"#;

const POSTERS: usize = 3;
const USERS: usize = 7;

/// What the posting side knows while the collector is killed.
#[derive(Default)]
struct Posting {
    /// Where the collector is now.
    url: Mutex<String>,
    done: AtomicBool,
    /// Requests that were answered.
    answers: AtomicUsize,
    /// Requests that broke on their way.
    broken: AtomicUsize,
    /// Events that were answered 2xx, and those of which nobody knows.
    answered: Mutex<BTreeSet<usize>>,
    unknown: Mutex<BTreeSet<usize>>,
}

impl Posting {
    fn url(&self) -> String {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(set: &Mutex<BTreeSet<usize>>, event: usize) {
        set.lock().unwrap_or_else(PoisonError::into_inner).insert(event);
    }

    /// Posts until told to stop: three events of four with an id and until they are answered, the fourth once.
    fn post(&self, poster: usize) {
        let mut numbers = (poster..).step_by(POSTERS);
        while !self.done.load(Ordering::Relaxed) {
            let event = numbers.next().unwrap();
            let has_id = event % 4 > 0;
            let id = if has_id { format!(r#""messageId":"m{event}","#) } else { String::new() };
            let (user, hour) = (event % USERS, event % 24);
            let body = format!(
                r#"{{{id}"userId":"u{user}","n":{event},"ts":"2026-01-01T{hour:02}:00:00Z"}}"#
            );
            let mut is_answered = self.try_once(&body);
            if has_id {
                eventually("an answer", || {
                    is_answered = is_answered || self.try_once(&body);
                    is_answered
                });
            }
            Self::note(if is_answered { &self.answered } else { &self.unknown }, event);
        }
    }

    fn try_once(&self, body: &str) -> bool {
        match try_post(&format!("{}/v1/events", self.url()), "sk", body) {
            Ok((status, answer)) => {
                assert_eq!(status, 200, "{answer}");
                self.answers.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(error) => {
                // Between two processes nobody listens.
                if error.kind() != ErrorKind::ConnectionRefused {
                    self.broken.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
        }
    }
}

#[test]
fn every_event_that_was_answered_2xx_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "clicks.sql", CLICKS);
    let posting = Posting::default();
    let start = || {
        let mut command = run_pipeline(&file, &dir.path().join("state"));
        command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk"]);
        let running = Running::start(command);
        *posting.url.lock().unwrap() = running.err_after("collector");
        running
    };
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let mut running = start();
    thread::scope(|scope| {
        for poster in 0..POSTERS {
            let posting = &posting;
            scope.spawn(move || posting.post(poster));
        }
        for _ in 0..KILLS {
            let answers = posting.answers.load(Ordering::Relaxed) + dice.random_range(1..60);
            eventually("more answers", || posting.answers.load(Ordering::Relaxed) >= answers);
            running.kill();
            running = start();
        }
        posting.done.store(true, Ordering::Relaxed);
    });
    let url = format!("{}/v1/events", posting.url());
    // A known id is not counted again, whichever process it was posted to.
    let (_, answer) =
        post(&url, "sk", r#"{"messageId":"m1","userId":"u1","n":1,"ts":"2026-01-01T01:00:00Z"}"#);
    assert!(answer.contains(r#""duplicate":1"#), "{answer}");
    post(&url, "sk", LAST);

    let lines = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    eventually("the end of the day", || lines("counts.ndjson").lines().count() >= USERS);
    running.stop(Signal::TERM);
    let answered = posting.answered.into_inner().unwrap();
    let unknown = posting.unknown.into_inner().unwrap();
    let mut seen = BTreeSet::new();
    let mut users: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for row in json_lines(&lines("seen.ndjson")) {
        let n = usize::try_from(row["n"].as_u64().unwrap()).unwrap();
        assert!(seen.insert(n), "event {n} was counted twice");
        let user = users.entry(row["user_id"].as_str().unwrap().to_owned()).or_default();
        *user = (user.0 + 1, user.1 + n);
    }
    let broken = posting.broken.into_inner();
    println!(
        "{KILLS} kills broke {broken} requests; {} events answered, {} of unknown fate, {} counted",
        answered.len(),
        unknown.len(),
        seen.len()
    );
    let lost: Vec<_> = answered.difference(&seen).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let either: BTreeSet<usize> = answered.union(&unknown).copied().collect();
    assert!(seen.is_subset(&either));
    // The state of the windows went through the same kills.
    let counts: BTreeMap<_, _> = json_lines(&lines("counts.ndjson"))
        .iter()
        .map(|row| {
            let number = |name: &str| usize::try_from(row[name].as_u64().unwrap()).unwrap();
            (row["user_id"].as_str().unwrap().to_owned(), (number("events"), number("total")))
        })
        .collect();
    assert_eq!(counts, users);
    assert!(broken >= KILLS / 4, "only {broken} requests were hit by a kill");
}
