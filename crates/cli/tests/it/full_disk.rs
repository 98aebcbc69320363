//! A disk that is full, and then is not. What has to hold is tested with a disk that is none (`crates/store/src/log/tests/disk_full.rs`,
//! `crates/serve/tests/it/durability.rs`); here is the same with a real one, which needs a small file system:
//!
//! ```text
//! mkdir /mnt/small && mount -t tmpfs -o size=8m tmpfs /mnt/small
//! POSTRIDER_SMALL_DISK=/mnt/small cargo test -p postrider --test it full_disk -- --ignored --nocapture
//! ```
//!
//! `POSTRIDER_FULL_DISKS` says how many times, each with a new state.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use postrider_reliability::{Campaign, Tally};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    http::{get, post},
    process::{
        DEADLINE, Running, Signal, eventually, json_lines, postrider, run, run_pipeline, within,
        write,
    },
};

const EVENTS: &str = "
CREATE TABLE events (n BIGINT NOT NULL) WITH (connector = 'collector');
CREATE TABLE seen WITH (connector = 'single_file', path = 'seen.ndjson', format = 'json');
INSERT INTO seen SELECT n FROM events;
";

/// What lies on the disk and is removed to make room.
const BALLAST: usize = 3 << 20;

/// One event.
fn body(n: usize) -> String {
    format!(r#"{{"messageId":"m{n}","n":{n},"more":"{}"}}"#, "x".repeat(2_000))
}

/// What full disks came to.
#[derive(Default)]
struct Figures {
    tally: Tally,
    refused: usize,
    accepted: usize,
    /// From freed room to the next event that was accepted.
    resumed: Vec<Duration>,
}

/// A pipeline whose state is on a small disk.
struct Shop {
    dir: TempDir,
    state: TempDir,
    running: Running,
    url: String,
    accepted: BTreeSet<usize>,
    next: usize,
}

impl Shop {
    fn start(disk: &Path) -> Self {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in(disk).unwrap());
        let file = write(dir.path(), "events.sql", EVENTS);
        let mut command = run_pipeline(&file, state.path());
        command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk"]);
        let running = Running::start(command);
        let url = running.err_after("collector");
        Self { dir, state, running, url, accepted: BTreeSet::new(), next: 0 }
    }

    /// Posts the next event. Whether it was accepted, or the disk is full.
    fn post(&mut self) -> bool {
        let (status, answer) = post(&format!("{}/v1/events", self.url), "sk", &body(self.next));
        if status == 200 {
            self.accepted.insert(self.next);
        } else {
            assert_eq!(status, 503);
            assert!(answer.contains("disk_full"), "{answer}");
        }
        self.next += 1;
        status == 200
    }

    fn rows(&self) -> Vec<usize> {
        let text = fs::read_to_string(self.dir.path().join("seen.ndjson")).unwrap_or_default();
        let rows = json_lines(&text);
        rows.iter().map(|row| usize::try_from(row["n"].as_u64().unwrap()).unwrap()).collect()
    }

    /// Ends it, and compares.
    fn finish(mut self, figures: &mut Figures) {
        // Should one be lost, the count says which.
        within(DEADLINE, || self.rows().len() >= self.accepted.len());
        self.running.stop(Signal::TERM);
        figures.tally.compare("events", self.rows(), self.accepted.iter().copied());
        figures.accepted += self.accepted.len();
        let mut verify = postrider(["log", "verify"]);
        verify.arg(self.state.path());
        run(verify).ok();
    }
}

/// A disk that gets full, and then has room again.
fn fill(disk: &Path, figures: &mut Figures) {
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; BALLAST]).unwrap();
    let mut shop = Shop::start(disk);
    let mut refused = 0;
    while refused < 200 {
        refused += usize::from(!shop.post());
    }
    figures.refused += refused;
    assert_eq!(get(&format!("{}/healthz", shop.url)).0, 200, "it will pass");
    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    eventually("an accepted event", || shop.post());
    figures.resumed.push(freed.elapsed());
    for _ in 0..200 {
        assert!(shop.post());
    }
    shop.finish(figures);
}

#[test]
#[ignore = "needs a small file system, see above"]
fn accepted_events_survive_a_full_disk_and_the_collector_goes_on_by_itself() {
    let disk = std::env::var_os("POSTRIDER_SMALL_DISK").unwrap();
    let times = std::env::var("POSTRIDER_FULL_DISKS").map_or(1, |times| times.parse().unwrap());
    let (mut figures, began) = (Figures::default(), Instant::now());
    for _ in 0..times {
        fill(Path::new(&disk), &mut figures);
    }
    figures.resumed.sort();
    let ms = |time: Option<&Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
    let campaign = Campaign {
        cases: times,
        lost: figures.tally.lost(),
        twice: figures.tally.twice(),
        ..Campaign::default()
    };
    let campaign = campaign
        .took(began.elapsed())
        .fact("events_accepted", figures.accepted)
        .fact("events_refused", figures.refused)
        .fact("resumed_ms_p50", json!(ms(figures.resumed.get(figures.resumed.len() / 2))))
        .fact("resumed_ms_max", json!(ms(figures.resumed.last())));
    println!("{campaign:#?}");
    campaign.write("full_disks").unwrap();
    assert_eq!(figures.tally.verdict(), Ok(()));
}
