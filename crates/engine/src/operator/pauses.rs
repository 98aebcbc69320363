//! How long operators stop the flow, with millions of keys:
//! `cargo test --release -p postrider-engine pauses -- --ignored --nocapture --test-threads 1`.

use std::time::{Duration, Instant};

use postrider_core::Watermark;

use super::{
    Advanced, Operator, StateSnapshot,
    testing::{keyed_cheaply, keyed_rows},
};

const KEYS: i64 = 5_000_000;
/// Rows between two snapshots, each of another key.
const ROWS: i64 = 1_000_000;
const BATCH: i64 = 8_192;
/// The last of them merges all.
const SNAPSHOTS: u64 = 16;
/// Windows and sessions outlast the test.
const LONG: i64 = 1 << 40;

/// Gives the operator `count` rows of keys that are spread over all; the longest time that a batch took.
fn feed(operator: &mut dyn Operator, first: i64, count: i64) -> Duration {
    let mut longest = Duration::ZERO;
    let mut at = first;
    while at < first + count {
        let rows = at..(at + BATCH).min(first + count);
        at = rows.end;
        // The factor has no divisor in common with the number of keys.
        let rows: Vec<_> = rows.map(|row| (Some(row * 7_368_787 % KEYS), row, row)).collect();
        let batch = keyed_rows(&rows);
        let started = Instant::now();
        operator.process(0, &batch, &mut Vec::new()).unwrap();
        longest = longest.max(started.elapsed());
    }
    longest
}

/// Does what a snapshot left to do, as the task that writes checkpoints does.
fn finish(snapshot: &StateSnapshot) {
    for rows in snapshot.parts.iter().filter_map(|part| part.new.as_ref()) {
        assert!(!rows.get().unwrap().is_empty());
    }
}

fn measure(what: &str, operator: &mut dyn Operator) {
    let mut longest = Duration::ZERO;
    let mut row = 0;
    let mut work: Option<std::thread::JoinHandle<()>> = None;
    for number in 1..=SNAPSHOTS {
        let rows = if number == 1 { KEYS } else { ROWS };
        let batch = feed(operator, row, rows);
        row += rows;
        let mut out = Vec::new();
        let advance = Instant::now();
        assert_eq!(operator.advance(Watermark(0), &mut out).unwrap(), Advanced::Whole);
        let advance = advance.elapsed();
        // Another snapshot is marked once the one before is written.
        if let Some(work) = work.take() {
            work.join().unwrap();
        }
        let started = Instant::now();
        let snapshot = operator.snapshot(number).unwrap();
        let took = started.elapsed();
        println!(
            "{what}: snapshot {number:>2} of {} parts: {took:>9.3?}; longest batch {batch:.3?}, end of the epoch {advance:.3?}",
            snapshot.parts.len()
        );
        longest = longest.max(took);
        work = Some(std::thread::spawn(move || finish(&snapshot)));
    }
    println!("{what}: longest {longest:.3?}");
}

#[test]
#[ignore = "takes a minute and gigabytes"]
fn windows() {
    measure(
        "windows",
        &mut super::SlicingWindows::new(super::Grid::hop(LONG, LONG, 0), keyed_cheaply()),
    );
}

#[test]
#[ignore = "takes a minute and gigabytes"]
fn sessions() {
    measure("sessions", &mut super::SessionWindows::new(LONG, keyed_cheaply()).unwrap());
}
