//! A disk that is full, and then is not. What has to hold is tested with a disk that is none (`crates/store/src/log/tests/disk_full.rs`,
//! `crates/serve/tests/it/durability.rs`); here is the same with a real one, which needs a small file system:
//!
//! ```text
//! mkdir /mnt/small && mount -t tmpfs -o size=8m tmpfs /mnt/small
//! POSTRIDER_SMALL_DISK=/mnt/small cargo test -p postrider --test it full_disk -- --ignored --nocapture
//! ```

use std::{collections::BTreeSet, fs, path::Path, time::Instant};

use crate::{
    http::{get, post},
    process::{Running, Signal, eventually, json_lines, postrider, run, run_pipeline, write},
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

#[test]
#[ignore = "needs a small file system, see above"]
fn accepted_events_survive_a_full_disk_and_the_collector_goes_on_by_itself() {
    let disk = std::env::var_os("POSTRIDER_SMALL_DISK").unwrap();
    let disk = Path::new(&disk);
    let dir = tempfile::tempdir().unwrap();
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; BALLAST]).unwrap();
    let file = write(dir.path(), "events.sql", EVENTS);
    let state = tempfile::tempdir_in(disk).unwrap();
    let mut command = run_pipeline(&file, state.path());
    command.args(["--listen", "127.0.0.1:0", "--write-key", "server:sk"]);
    let mut running = Running::start(command);
    let url = running.err_after("collector");
    let events = format!("{url}/v1/events");

    let (mut accepted, mut refused, mut next) = (BTreeSet::new(), 0, 0);
    while refused < 200 {
        let (status, answer) = post(&events, "sk", &body(next));
        if status == 200 {
            accepted.insert(next);
        } else {
            assert_eq!(status, 503);
            assert!(answer.contains("disk_full"), "{answer}");
            refused += 1;
        }
        next += 1;
    }
    assert_eq!(get(&format!("{url}/healthz")).0, 200, "it will pass");
    let before = accepted.len();
    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    eventually("an accepted event", || post(&events, "sk", &body(next)).0 == 200);
    let resumed = freed.elapsed();
    accepted.insert(next);
    for n in next + 1..next + 200 {
        assert_eq!(post(&events, "sk", &body(n)).0, 200);
        accepted.insert(n);
    }
    let seen = || -> Vec<usize> {
        let text = fs::read_to_string(dir.path().join("seen.ndjson")).unwrap_or_default();
        let rows = json_lines(&text);
        rows.iter().map(|row| usize::try_from(row["n"].as_u64().unwrap()).unwrap()).collect()
    };
    eventually("all rows", || seen().len() >= accepted.len());
    let err = running.stop(Signal::TERM);
    let rows = seen();
    let once: BTreeSet<_> = rows.iter().copied().collect();
    assert_eq!((rows.len(), &once), (accepted.len(), &accepted), "each accepted one, once");
    let report = run(postrider(
        ["log", "verify"].map(std::ffi::OsStr::new).into_iter().chain([state.path().as_os_str()]),
    ));
    report.ok();
    println!(
        "{before} events until the disk was full, {refused} refused, {resumed:?} from free room to the next accepted one, \
         {} accepted in all, {} counted\n{err}",
        accepted.len(),
        rows.len()
    );
}
