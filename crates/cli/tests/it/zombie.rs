//! SIGSTOP: another process takes over, and the stopped one, once resumed, appends nothing, begins no send and exits with 75.
//!
//! Ten cycles; for more, set `POSTRIDER_ZOMBIE_CYCLES`. The lease is short, so that a cycle takes about a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    http::{post, try_post},
    mailbox::{Mailbox, Outbox},
    process::{Running, Signal, eventually, run, run_pipeline, within, write},
};

const CYCLES: usize = 10;

/// Long enough for a busy machine to beat in time, short enough for a test.
const LEASE_MS: &str = "1000";

/// Mails that are on their way when a process is stopped, at most.
const FLOOD: usize = 300;

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }}</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

const SIGNUPS: &str = "
CREATE TABLE signups (user_id TEXT NOT NULL, n BIGINT NOT NULL) WITH (connector = 'collector');
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', subject = 'Number {{ n }}',
                         from = 'Shop <hi@shop.example>');
INSERT INTO mails SELECT user_id AS recipient_key, CAST(n AS TEXT) AS dedupe_key,
                         user_id || '@customers.example' AS email, n FROM signups;
";

struct Shop<'a> {
    dir: &'a Path,
    mailbox: &'a Mailbox,
    posted: usize,
}

/// A running pipeline, and where events are posted to it.
struct Run {
    running: Running,
    url: String,
}

impl Shop<'_> {
    fn command(&self) -> Command {
        let mut command = run_pipeline(&self.dir.join("shop.sql"), &self.dir.join("state"));
        command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk", "--parallelism", "1"]);
        command.args(["--smtp", &self.mailbox.smtp, "--lease-ms", LEASE_MS]);
        command
    }

    fn start(&self) -> Run {
        started(Running::start(self.command()))
    }

    /// Posts so many new events, in one request. Each is mailed once.
    fn post(&mut self, run: &Run, events: usize) {
        let event = |n| format!(r#"{{"messageId":"m{n}","userId":"u{n}","n":{n}}}"#);
        let body: Vec<_> = (self.posted..self.posted + events).map(event).collect();
        let (status, answer) = post(&run.url, "sk", &format!("[{}]", body.join(",")));
        assert_eq!(status, 200, "{answer}");
        self.posted += events;
    }

    /// What all files of the state directory hold, but for the lock files.
    fn state(&self) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(self.dir.join("state")).unwrap().map(|entry| entry.unwrap());
        let segments = files.filter(|entry| entry.path().extension().is_some());
        segments
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}

fn started(running: Running) -> Run {
    let url = running.err_after("collector") + "/v1/events";
    Run { running, url }
}

/// The ids of mails that came, each once.
fn delivered(mailbox: &Mailbox) -> BTreeSet<String> {
    let mails = mailbox.mails();
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.send_id.clone()).collect();
    assert_eq!(ids.len(), mails.len(), "a mail came twice");
    ids
}

/// Nothing new came for a while.
fn is_quiet(mailbox: &Mailbox) -> bool {
    let before = mailbox.count();
    !within(Duration::from_millis(300), || mailbox.count() != before)
}

#[test]
fn a_resumed_zombie_appends_nothing_sends_nothing_and_exits_75() {
    let cycles =
        std::env::var("POSTRIDER_ZOMBIE_CYCLES").map_or(CYCLES, |cycles| cycles.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    write(dir.path(), "shop.sql", SIGNUPS);
    write(dir.path(), "t.mjml", TEMPLATE);
    let mut shop = Shop { dir: dir.path(), mailbox: &mailbox, posted: 0 };
    let mut dice = ChaCha8Rng::seed_from_u64(75);
    let (mut in_flight, mut late, mut doubts_before) = (0, 0, 0);
    let mut first = shop.start();
    for cycle in 0..cycles {
        let before = mailbox.count();
        // Every third process is stopped while it has nothing to do.
        let flood = if cycle % 3 == 2 { 1 } else { FLOOD };
        shop.post(&first, flood);
        let mails = if flood == 1 { 1 } else { dice.random_range(1..FLOOD / 2) };
        eventually("mails", || mailbox.count() >= before + mails);
        first.running.signal(Signal::STOP);

        let second = Running::start(shop.command());
        second.err_after("took over the log from process ");
        let second = started(second);
        shop.post(&second, 5);
        eventually("the successor's mails", || is_quiet(&mailbox));
        let (state, came) = (shop.state(), delivered(&mailbox));
        let doubts: BTreeSet<_> =
            Outbox::of(&dir.path().join("state")).ids("in_doubt").into_iter().collect();
        in_flight += usize::from(doubts.len() > doubts_before);
        doubts_before = doubts.len();

        first.running.signal(Signal::CONT);
        // Its collector still listens until it ends; nothing that it is told counts.
        let answer = try_post(&first.url, "sk", r#"{"messageId":"z","userId":"z","n":-1}"#);
        assert!(!matches!(answer, Ok((200, _))), "{answer:?}");
        let status = first.running.wait();
        let err = first.running.rest_of_err();
        assert_eq!(status.code(), Some(75), "{err}");
        assert!(err.contains("error: the log in "), "{err}");
        assert!(err.contains("was taken over by process "), "{err}");
        assert!(shop.state() == state, "cycle {cycle}: the zombie changed the log");
        // A mail that was on its way when its process was stopped may arrive: its send is in doubt.
        let new: BTreeSet<_> = delivered(&mailbox).difference(&came).cloned().collect();
        assert!(new.is_subset(&doubts), "cycle {cycle}: the zombie began a send");
        late += new.len();
        first = second;
    }
    shop.post(&first, 1);
    eventually("the last mail", || {
        mailbox.mails().iter().any(|mail| mail.subject == format!("Number {}", shop.posted - 1))
    });
    eventually("the end of all mails", || is_quiet(&mailbox));
    first.running.stop(Signal::TERM);

    let (once, outbox) = (delivered(&mailbox), Outbox::of(&dir.path().join("state")));
    let accepted: BTreeSet<_> = outbox.ids("accepted").into_iter().collect();
    let doubts: BTreeSet<_> = outbox.ids("in_doubt").into_iter().collect();
    println!(
        "{cycles} takeovers, {in_flight} of them with sends on their way; {} events, {} mails, {} in doubt, \
         {late} mails that were on their way arrived late",
        shop.posted,
        once.len(),
        doubts.len()
    );
    assert_eq!(outbox.trigger_rows, shop.posted, "no accepted event is lost");
    assert_eq!(accepted.len() + doubts.len(), shop.posted);
    assert!(accepted.is_subset(&once));
    assert!(once.is_subset(&accepted.union(&doubts).cloned().collect()));
}

#[test]
fn a_second_process_beside_a_live_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    write(dir.path(), "shop.sql", SIGNUPS);
    write(dir.path(), "t.mjml", TEMPLATE);
    let mut shop = Shop { dir: dir.path(), mailbox: &mailbox, posted: 0 };
    let mut first = shop.start();
    let err = run(shop.command()).fails_with(75);
    assert!(err.contains("is in use by process "), "{err}");
    shop.post(&first, 1);
    eventually("the mail", || mailbox.count() == 1);
    first.running.stop(Signal::TERM);
    // One that ends while another one watches is followed.
    let mut first = shop.start();
    first.running.signal(Signal::STOP);
    let second = Running::start(shop.command());
    first.running.kill();
    let mut second = started(second);
    shop.post(&second, 1);
    eventually("the other mail", || mailbox.count() == 2);
    second.running.stop(Signal::TERM);
}
