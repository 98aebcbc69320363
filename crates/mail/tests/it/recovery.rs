//! What is left of a dispatcher that died, and what its successor makes of it.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use postrider_core::OptionValue;
use postrider_mail::{Outcome, Outgoing, Provider, RecordingProvider};
use postrider_store::{Log, LogOptions, LogRepair, Outbox, SendOutcome};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::{
    HOUR, ManualClock, NOON, attempts, counts, options, row, rows, seal, sink, start,
};

/// Is called and never answers.
#[derive(Debug)]
struct BlackHole {
    called: Semaphore,
}

impl BlackHole {
    fn new() -> Arc<Self> {
        Arc::new(Self { called: Semaphore::new(0) })
    }

    async fn was_called(&self, times: u32) {
        let calls = self.called.acquire_many(times);
        tokio::time::timeout(Duration::from_secs(10), calls).await.unwrap().unwrap().forget();
    }
}

#[async_trait]
impl Provider for BlackHole {
    fn name(&self) -> &str {
        "default"
    }

    async fn send(&self, _: &Outgoing) -> Outcome {
        self.called.add_permits(1);
        std::future::pending().await
    }
}

fn open(dir: &Path) -> Log {
    Log::open(LogOptions::new(dir)).unwrap().log
}

async fn close(log: Log) {
    log.close().await;
}

fn transactional() -> [(&'static str, OptionValue); 1] {
    [("class", OptionValue::Text("transactional".to_owned()))]
}

/// Seals rows, lets a dispatcher call a provider that never answers, and kills it.
async fn crash_with(dir: &Path, more: &[(&str, OptionValue)], count: usize) -> usize {
    let log = open(dir);
    let hole = BlackHole::new();
    let running = start(options(&log, &sink(more), hole.clone()));
    seal(&log, 1, &rows("a", count)).await;
    let started = count.min(8);
    hole.was_called(u32::try_from(started).unwrap()).await;
    running.crash().await;
    close(log).await;
    started
}

#[tokio::test]
async fn a_crash_leaves_as_many_in_doubt_as_were_in_flight_and_none_is_sent_again() {
    let dir = TempDir::new().unwrap();
    let doubtful = crash_with(dir.path(), &[], 20).await;
    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    assert!(running.handle.settle().await);
    running.end().await;
    let found = counts(&log);
    assert_eq!((found.in_doubt, found.accepted, found.pending()), (8, 12, 0));
    assert_eq!(doubtful, 8);
    let (intents, results) = attempts(&log);
    let doubts: Vec<_> =
        results.iter().filter(|result| result.outcome() == SendOutcome::InDoubt).collect();
    assert_eq!(doubts.len(), 8);
    for doubt in doubts {
        assert!(provider.calls().iter().all(|call| call.send_id != doubt.send()));
    }
    assert_eq!(intents.len(), 20);
    close(log).await;

    // A third process finds nothing left to do.
    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    assert!(running.handle.settle().await);
    running.end().await;
    assert!(provider.calls().is_empty());
    assert_eq!(counts(&log), found);
}

#[tokio::test]
async fn a_transactional_mail_in_doubt_is_sent_again_under_the_same_id() {
    let dir = TempDir::new().unwrap();
    crash_with(dir.path(), &transactional(), 1).await;
    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let clock = ManualClock::at(NOON);
    let mut opts = options(&log, &sink(&transactional()), provider.clone());
    opts.wall = clock.clone();
    let running = start(opts);
    let sent = async {
        while counts(&log).accepted == 0 {
            clock.advance(HOUR);
            assert!(running.handle.settle().await);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), sent).await.unwrap();
    running.end().await;
    let (intents, _) = attempts(&log);
    assert_eq!(intents.iter().map(|intent| intent.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(intents[0].message_id, intents[1].message_id);
    assert_eq!(intents[0].message_hash, intents[1].message_hash);
}

#[tokio::test]
async fn a_send_that_waits_for_another_attempt_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let busy = Outcome::Retry { after: None, reason: "busy".to_owned() };
    let provider = Arc::new(RecordingProvider::answering("default", [busy]));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    seal(&log, 1, &[row("x"), row("y"), row("z")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!((counts(&log).retry, counts(&log).accepted), (1, 2));
    let first = provider.calls()[0].clone();
    close(log).await;

    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let clock = ManualClock::at(NOON);
    let mut opts = options(&log, &sink(&[]), provider.clone());
    opts.wall = clock.clone();
    let running = start(opts);
    let sent = async {
        while counts(&log).accepted < 3 {
            clock.advance(HOUR);
            assert!(running.handle.settle().await);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), sent).await.unwrap();
    running.end().await;
    let calls = provider.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].send_id, calls[0].attempt), (first.send_id, 2));
    assert_eq!(calls[0].bytes, first.bytes);
}

#[tokio::test]
async fn rows_that_nobody_decided_about_are_taken_up() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    seal(&log, 1, &rows("a", 3)).await;
    close(log).await;
    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!(provider.calls().len(), 3);
    assert_eq!(counts(&log).accepted, 3);
}

#[tokio::test]
async fn replayed_rows_are_neither_sent_nor_counted() {
    let dir = TempDir::new().unwrap();
    for _ in 0..3 {
        let log = open(dir.path());
        let provider = Arc::new(RecordingProvider::new("default"));
        let running = start(options(&log, &sink(&[]), provider.clone()));
        seal(&log, 1, &rows("a", 3)).await;
        assert!(running.handle.settle().await);
        running.end().await;
        assert_eq!((counts(&log).trigger_rows, counts(&log).accepted), (3, 3));
        close(log).await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_answers() {
    #[derive(Debug)]
    struct Gate {
        called: Semaphore,
        open: Semaphore,
    }
    #[async_trait]
    impl Provider for Gate {
        fn name(&self) -> &str {
            "default"
        }
        async fn send(&self, _: &Outgoing) -> Outcome {
            self.called.add_permits(1);
            self.open.acquire().await.unwrap().forget();
            Outcome::Accepted { response: String::new() }
        }
    }
    let log = Log::in_memory();
    let gate = Arc::new(Gate { called: Semaphore::new(0), open: Semaphore::new(0) });
    let running = start(options(&log, &sink(&[]), gate.clone()));
    seal(&log, 1, &rows("a", 20)).await;
    gate.called.acquire_many(8).await.unwrap().forget();
    running.stop.cancel();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!running.task.is_finished());
    gate.open.add_permits(20);
    running.end().await;
    let counts = counts(&log);
    assert_eq!((counts.in_flight, counts.in_doubt), (0, 0));
    assert_eq!((counts.accepted, counts.undecided), (8, 12));
}

/// Random answers, random crashes: the law holds, and no marketing mail is accepted twice.
#[tokio::test]
async fn nothing_is_lost_or_doubled_under_random_trouble() {
    let mut shortened = 0;
    for seed in 0..6_u64 {
        let dir = TempDir::new().unwrap();
        let mut random = seed;
        let mut next = move || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let mut accepted = Vec::new();
        for round in 1..=5 {
            let log = open(dir.path());
            let answers: Vec<_> = (0..60)
                .map(|_| match next() % 5 {
                    0 => Outcome::Rejected { code: 550, reason: "no".to_owned() },
                    1 => Outcome::Retry { after: None, reason: "busy".to_owned() },
                    2 => Outcome::InDoubt { reason: "silence".to_owned() },
                    _ => Outcome::Accepted { response: "ok".to_owned() },
                })
                .collect();
            let provider = Arc::new(RecordingProvider::answering("default", answers.clone()));
            let running = start(options(&log, &sink(&[]), provider.clone()));
            // Every second row repeats one of the round before.
            seal(&log, round, &rows(&format!("r{}-", round / 2), 20)).await;
            if next() % 3 == 0 {
                running.handle.snapshot().await.unwrap();
                if let [oldest, _] = log.views().kept(Outbox::VIEW).unwrap()[..] {
                    shortened += log.truncate_before(oldest).unwrap().segments;
                }
            }
            if next() % 2 == 0 {
                assert!(running.handle.settle().await);
                running.end().await;
            } else {
                tokio::task::yield_now().await;
                running.crash().await;
            }
            accepted.extend(
                provider
                    .calls()
                    .into_iter()
                    .zip(answers)
                    .filter(|(_, answer)| matches!(answer, Outcome::Accepted { .. }))
                    .map(|(call, _)| call.send_id),
            );
            counts(&log);
            close(log).await;
        }
        let log = open(dir.path());
        let provider = Arc::new(RecordingProvider::new("default"));
        let running = start(options(&log, &sink(&[]), provider.clone()));
        assert!(running.handle.settle().await);
        running.end().await;
        accepted.extend(provider.calls().iter().map(|call| call.send_id));
        let total = accepted.len();
        accepted.sort();
        accepted.dedup();
        assert_eq!(accepted.len(), total, "a mail was accepted twice with seed {seed}");
        assert_eq!(counts(&log).trigger_rows, 100);
    }
    assert!(shortened > 0);
}

#[tokio::test]
async fn sends_are_remembered_and_tried_again_after_their_frames_were_deleted() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let busy = Outcome::Retry { after: None, reason: "busy".to_owned() };
    let provider = Arc::new(RecordingProvider::answering("default", [busy]));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    seal(&log, 1, &[row("x"), row("y"), row("z")]).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!((counts(&log).retry, counts(&log).accepted), (1, 2));
    let first = provider.calls()[0].clone();
    close(log).await;

    // Each process begins a segment.
    let log = open(dir.path());
    let running = start(options(&log, &sink(&[]), provider.clone()));
    let at = running.handle.snapshot().await.unwrap().unwrap();
    running.end().await;
    assert_eq!(log.truncate_before(at).unwrap().segments, 1);
    assert!(attempts(&log).0.is_empty(), "the intents are gone");
    close(log).await;

    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let clock = ManualClock::at(NOON);
    let mut opts = options(&log, &sink(&[]), provider.clone());
    opts.wall = clock.clone();
    let running = start(opts);
    seal(&log, 2, &[row("y"), row("new")]).await;
    let sent = async {
        while counts(&log).accepted < 4 {
            clock.advance(HOUR);
            assert!(running.handle.settle().await);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), sent).await.unwrap();
    running.end().await;
    assert_eq!(counts(&log).not_sent["duplicate"], 1);
    let calls = provider.calls();
    assert_eq!(calls.len(), 2);
    let again = calls.iter().find(|call| call.send_id == first.send_id).unwrap();
    assert_eq!((again.attempt, &again.bytes), (2, &first.bytes));
    close(log).await;
}

#[tokio::test]
async fn a_restart_from_a_snapshot_knows_what_was_on_its_way() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let hole = BlackHole::new();
    let running = start(options(&log, &sink(&transactional()), hole.clone()));
    seal(&log, 1, &rows("a", 20)).await;
    hole.was_called(8).await;
    // The provider never answers, and the snapshot does not wait for it.
    let at = running.handle.snapshot().await.unwrap().unwrap();
    running.crash().await;
    assert_eq!(log.views().kept(Outbox::VIEW).unwrap(), [at]);
    close(log).await;

    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let clock = ManualClock::at(NOON);
    let mut opts = options(&log, &sink(&transactional()), provider.clone());
    opts.wall = clock.clone();
    let running = start(opts);
    let sent = async {
        while counts(&log).accepted < 20 {
            clock.advance(HOUR);
            assert!(running.handle.settle().await);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), sent).await.unwrap();
    running.end().await;
    let (_, results) = attempts(&log);
    let doubts = results.iter().filter(|result| result.outcome() == SendOutcome::InDoubt);
    assert_eq!(doubts.count(), 8);
    assert_eq!(provider.calls().iter().filter(|call| call.attempt == 2).count(), 8);
}

#[tokio::test]
async fn a_dispatcher_that_has_ended_writes_no_snapshot() {
    let log = Log::in_memory();
    let running = start(options(&log, &sink(&[]), Arc::new(RecordingProvider::new("default"))));
    let handle = running.handle.clone();
    running.end().await;
    assert_eq!(handle.snapshot().await.unwrap(), None);
}

#[tokio::test]
async fn what_was_mailed_behind_damage_is_not_mailed_again_after_its_repair() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let running = start(options(&log, &sink(&[]), Arc::new(RecordingProvider::new("default"))));
    seal(&log, 1, &rows("a", 5)).await;
    assert!(running.handle.settle().await);
    running.end().await;
    close(log).await;

    let segment = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(Log::open(LogOptions::new(dir.path())).is_err(), "its first frame is damaged");
    let repair = LogRepair::begin(dir.path()).unwrap().unwrap();
    assert_eq!(repair.forgotten().sends(), 5);
    repair.drop_damaged().unwrap();

    // The epoch is computed anew, with one row more.
    let log = open(dir.path());
    let provider = Arc::new(RecordingProvider::new("default"));
    let running = start(options(&log, &sink(&[]), provider.clone()));
    seal(&log, 1, &rows("a", 6)).await;
    assert!(running.handle.settle().await);
    running.end().await;
    assert_eq!(provider.calls().len(), 1);
    let found = counts(&log);
    assert_eq!((found.accepted, found.not_sent["duplicate"]), (1, 5));
}
