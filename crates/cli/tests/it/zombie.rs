//! SIGSTOP: another process takes over, and the stopped one, once resumed, appends nothing, writes no row, begins no send and
//! exits with 75.
//!
//! Ten cycles; for more, set `POSTRIDER_ZOMBIE_CYCLES`. The lease is short, so that a cycle takes about a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use postrider_reliability::{Campaign, Seeds, Tally};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    http::{post, try_post},
    mailbox::{Mailbox, Outbox},
    process::{Running, Signal, eventually, json_lines, run, run_pipeline, within, write},
};

const CYCLES: usize = 10;

const SEED: u64 = 75;

/// Long enough for a busy machine to beat in time, short enough for a test.
const LEASE_MS: &str = "1000";

/// Mails that are on their way when a process is stopped, at most.
const FLOOD: usize = 300;

/// The least that a row takes, such as `{"n":7}` and the end of its line.
const ROW_BYTES: usize = 8;

const TEMPLATE: &str = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }}</mj-text></mj-column>\
    </mj-section></mj-body></mjml>";

const SIGNUPS: &str = "
CREATE TABLE signups (user_id TEXT NOT NULL, n BIGINT NOT NULL) WITH (connector = 'collector');
CREATE TABLE seen WITH (connector = 'single_file', path = 'seen.ndjson', format = 'json');
INSERT INTO seen SELECT n FROM signups;
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
        let (status, answer) = post(&run.url, "sk", &body(self.posted..self.posted + events));
        assert_eq!(status, 200, "{answer}");
        self.posted += events;
    }

    /// What the rows and all files of the state directory hold, but for the lock files.
    fn state(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files =
            fs::read_dir(self.dir.join("state")).unwrap().map(|entry| entry.unwrap().path());
        let segments = files.filter(|path| path.extension().is_some());
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        segments.chain([self.dir.join("seen.ndjson")]).map(read).collect()
    }

    /// How long the file of the rows is.
    fn row_bytes(&self) -> usize {
        let file = fs::metadata(self.dir.join("seen.ndjson"));
        file.map_or(0, |file| usize::try_from(file.len()).unwrap())
    }

    /// The numbers in the rows, sorted.
    fn rows(&self) -> Vec<usize> {
        let rows = json_lines(&fs::read_to_string(self.dir.join("seen.ndjson")).unwrap());
        let number = |row: &serde_json::Value| usize::try_from(row["n"].as_u64().unwrap()).unwrap();
        let mut numbers: Vec<_> = rows.iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Whether every event is mailed, or in doubt.
    fn is_settled(&self) -> bool {
        let outbox = self.outbox();
        outbox.count("accepted") + outbox.count("in doubt") == self.posted
    }

    fn outbox(&self) -> Outbox {
        Outbox::of(&self.dir.join("state"))
    }
}

/// The files that differ, with their lengths.
fn differences(
    before: &BTreeMap<PathBuf, Vec<u8>>,
    after: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<(PathBuf, Option<usize>, Option<usize>)> {
    let files: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = files.into_iter().filter(|file| before.get(*file) != after.get(*file));
    let length = |files: &BTreeMap<PathBuf, Vec<u8>>, file: &PathBuf| files.get(file).map(Vec::len);
    changed.map(|file| (file.clone(), length(before, file), length(after, file))).collect()
}

/// A request with these events.
fn body(events: Range<usize>) -> String {
    let event = |n| format!(r#"{{"messageId":"m{n}","userId":"u{n}","n":{n}}}"#);
    format!("[{}]", events.map(event).collect::<Vec<_>>().join(","))
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

/// Cycles on one state directory, and what they came to.
struct Takeovers<'a> {
    shop: Shop<'a>,
    dice: ChaCha8Rng,
    /// Takeovers that left sends in doubt, and such whose zombie was posted to when it was stopped.
    in_flight: usize,
    busy: usize,
    /// Mails that were on their way and arrived later.
    late: usize,
    doubts: BTreeSet<String>,
    began: Instant,
}

impl Takeovers<'_> {
    /// Stops a process in the middle of its work, lets another one take over, resumes the first; the second one.
    fn cycle(&mut self, first: Run, cycle: usize) -> Run {
        let shop = &mut self.shop;
        // In turn: so many mails came, so many rows were written, and there is nothing to do.
        let events = if cycle % 3 == 2 { 1 } else { FLOOD };
        let (mails, rows) = match cycle % 3 {
            0 => (self.dice.random_range(1..FLOOD / 2), 1),
            1 => (1, self.dice.random_range(1..FLOOD)),
            _ => (1, 1),
        };
        let (mails, bytes) = (mails + shop.mailbox.count(), rows * ROW_BYTES + shop.row_bytes());
        let (flood, url) = (shop.posted..shop.posted + events, first.url.clone());
        thread::scope(|scope| {
            let posting = scope.spawn(move || post_until_refused(&url, flood));
            eventually("rows", || shop.row_bytes() >= bytes);
            eventually("mails", || shop.mailbox.count() >= mails);
            first.running.signal(Signal::STOP);
            let second = Running::start(shop.command());
            second.err_after("took over the log from process ");
            let second = started(second);
            // What the first one has not taken; by their ids, nothing that it took counts again.
            shop.post(&second, events + 5);
            eventually("the successor's mails", || shop.is_settled());
            // From here on nobody but the zombie can change anything.
            second.running.signal(Signal::STOP);
            let (state, came) = (shop.state(), delivered(shop.mailbox));
            let doubts: BTreeSet<_> = shop.outbox().ids("in_doubt").into_iter().collect();
            self.in_flight += usize::from(doubts.len() > self.doubts.len());
            self.doubts = doubts;
            resume(first);
            self.busy += usize::from(!posting.join().unwrap());
            let changed = differences(&state, &shop.state());
            assert!(changed.is_empty(), "cycle {cycle}: the zombie changed {changed:?}");
            // A mail that was on its way when its process was stopped may arrive: its send is in doubt.
            let new: BTreeSet<_> = delivered(shop.mailbox).difference(&came).cloned().collect();
            assert!(new.is_subset(&self.doubts), "cycle {cycle}: the zombie began a send");
            self.late += new.len();
            second.running.signal(Signal::CONT);
            second
        })
    }

    /// Lets everything drain.
    fn finish(&mut self, mut last: Run, cycles: usize) -> (Campaign, Tally) {
        let shop = &mut self.shop;
        shop.post(&last, 1);
        let subject = format!("Number {}", shop.posted - 1);
        let came = || shop.mailbox.mails().iter().any(|mail| mail.subject == subject);
        eventually("the last mail", came);
        eventually("the end of all mails", || is_quiet(shop.mailbox));
        last.running.stop(Signal::TERM);
        self.count(cycles)
    }

    /// Compares what there is with what was posted.
    fn count(&self, cycles: usize) -> (Campaign, Tally) {
        let (shop, mut tally) = (&self.shop, Tally::default());
        let mails: Vec<_> = shop.mailbox.mails().into_iter().map(|mail| mail.send_id).collect();
        let (came, outbox) = (mails.len(), shop.outbox());
        let accepted: BTreeSet<_> = outbox.ids("accepted").into_iter().collect();
        let doubts: BTreeSet<_> = outbox.ids("in_doubt").into_iter().collect();
        let once: BTreeSet<_> = mails.iter().cloned().collect();
        let due = accepted.iter().chain(doubts.intersection(&once)).cloned();
        tally.compare("mails", mails, due);
        tally.compare("rows", shop.rows(), 0..shop.posted);
        tally.compare_counts("trigger rows", outbox.trigger_rows, shop.posted);
        tally.compare_counts("settled rows", accepted.len() + doubts.len(), shop.posted);
        let campaign = Campaign {
            cases: cycles as u64,
            seeds: Seeds { first: SEED, count: 1 },
            lost: tally.lost(),
            twice: tally.twice(),
            in_doubt: doubts.len() as u64,
            ..Campaign::default()
        };
        let campaign = campaign
            .took(self.began.elapsed())
            .fact("with_sends_on_their_way", self.in_flight)
            .fact("with_a_request", self.busy)
            .fact("events", shop.posted)
            .fact("mails", came)
            .fact("mails_that_arrived_late", self.late);
        (campaign, tally)
    }
}

/// Posts events, a few in a request, so that a process is always at some step with some of them. False if it was
/// refused some.
fn post_until_refused(url: &str, events: Range<usize>) -> bool {
    let events: Vec<_> = events.collect();
    events
        .chunks(3)
        .all(|few| matches!(try_post(url, "sk", &body(few[0]..few[0] + few.len())), Ok((200, _))))
}

/// Lets a stopped process that was taken over go on, to its end.
fn resume(mut zombie: Run) {
    zombie.running.signal(Signal::CONT);
    // Its collector still listens until it ends; nothing that it is told counts.
    let answer = try_post(&zombie.url, "sk", r#"{"messageId":"z","userId":"z","n":-1}"#);
    assert!(!matches!(answer, Ok((200, _))), "{answer:?}");
    let status = zombie.running.wait();
    let err = zombie.running.rest_of_err();
    assert_eq!(status.code(), Some(75), "{err}");
    assert!(err.contains("error: the log in "), "{err}");
    assert!(err.contains("was taken over by process "), "{err}");
}

#[test]
fn a_resumed_zombie_writes_nothing_sends_nothing_and_exits_75() {
    let cycles =
        std::env::var("POSTRIDER_ZOMBIE_CYCLES").map_or(CYCLES, |cycles| cycles.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::start(&dir.path().join("mails"));
    write(dir.path(), "shop.sql", SIGNUPS);
    write(dir.path(), "t.mjml", TEMPLATE);
    let mut takeovers = Takeovers {
        shop: Shop { dir: dir.path(), mailbox: &mailbox, posted: 0 },
        dice: ChaCha8Rng::seed_from_u64(SEED),
        in_flight: 0,
        busy: 0,
        late: 0,
        doubts: BTreeSet::new(),
        began: Instant::now(),
    };
    let mut first = takeovers.shop.start();
    for cycle in 0..cycles {
        first = takeovers.cycle(first, cycle);
    }
    let (figures, tally) = takeovers.finish(first, cycles);
    println!("{figures:#?}");
    figures.write("zombies").unwrap();
    assert_eq!(tally.verdict(), Ok(()));
    assert!(takeovers.busy > 0, "no process was stopped while it was posted to");
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
