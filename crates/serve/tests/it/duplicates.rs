//! Message ids: sent twice, at the same time, and across a restart.

use std::collections::HashSet;

use futures::future::join_all;
use postrider_core::{SubjectId, WorkspaceId};
use postrider_serve::{Collector, CollectorLimits};
use postrider_store::{EventRecord, KeyRole, Log, LogOptions};
use serde_json::{Value, json};

use crate::harness::{
    BROWSER_KEY, Running, SERVER_KEY, answer_of, options, serving, start, start_with,
};

const DAY: i64 = 24 * 3600 * 1_000_000_000;

fn counts(answer: &(u16, Value)) -> (u64, u64) {
    assert_eq!(answer.0, 200);
    (answer.1["accepted"].as_u64().unwrap(), answer.1["duplicate"].as_u64().unwrap())
}

#[tokio::test]
async fn a_repeated_event_is_answered_as_a_duplicate() {
    let running = start().await;
    let body = r#"{"batch":[{"messageId":"a"},{"messageId":"b"},{"messageId":"a"}]}"#;
    assert_eq!(counts(&running.answer("/v1/batch", body).await), (2, 1));
    assert_eq!(counts(&running.answer("/v1/batch", body).await), (0, 3));
    assert_eq!(counts(&running.answer("/v1/events", r#"{"id":"a"}"#).await), (0, 1));
    assert_eq!(running.stored().len(), 2);
    let stats = running.collector.stats();
    assert_eq!((stats.accepted(), stats.duplicate()), (2, 5));
}

#[tokio::test]
async fn streams_have_their_own_ids() {
    let running = start().await;
    let event = r#"{"messageId":"a"}"#;
    assert_eq!(counts(&running.answer("/v1/events", event).await), (1, 0));
    let browser = answer_of(running.post("/v1/events", BROWSER_KEY, event)).await;
    assert_eq!(counts(&browser), (1, 0));
}

#[tokio::test]
async fn a_browser_can_not_make_an_event_of_a_server_a_duplicate() {
    let log = Log::in_memory();
    let event = r#"{"messageId":"order-1"}"#;
    for (round, expected) in [(1, (1, 0)), (2, (0, 1))] {
        let clock = start_with(log.clone(), CollectorLimits::default()).await.clock;
        let mut options = options(&log, &clock, CollectorLimits::default());
        options.keys.iter_mut().for_each(|key| "web".clone_into(&mut key.stream));
        let collector = Collector::open(options).unwrap();
        let server = serving(collector.router()).await;
        let running = Running { collector, log: log.clone(), clock, server };
        for key in [BROWSER_KEY, SERVER_KEY] {
            let answer = answer_of(running.post("/v1/events", key, event)).await;
            assert_eq!(counts(&answer), expected, "round {round} {key}");
        }
    }
}

#[tokio::test]
async fn after_a_restart_only_ids_that_were_sent_take_memory() {
    let log = Log::in_memory();
    let limits = CollectorLimits { dedupe_ids: 64, ..CollectorLimits::default() };
    let running = start_with(log.clone(), limits.clone()).await;
    // What an export of earlier events looks like.
    let sent = r#"{"messageId":"minted-aaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
    assert_eq!(counts(&running.answer("/v1/events", sent).await), (1, 0));
    assert_eq!(counts(&running.answer("/v1/events", "{}".repeat(300)).await), (300, 0));
    let later = start_with(log, limits).await;
    assert_eq!(later.collector.forgotten_message_ids(), 0);
    assert_eq!(counts(&later.answer("/v1/events", sent).await), (0, 1));
}

#[tokio::test]
async fn an_event_without_an_id_gets_one_and_is_stored_each_time() {
    let running = start().await;
    for _ in 0..2 {
        assert_eq!(counts(&running.answer("/v1/events", "{}{}").await), (2, 0));
    }
    let ids: HashSet<_> = running.stored().into_iter().map(|event| event.message_id).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| id.starts_with("minted-") && id.len() == 33), "{ids:?}");
}

#[tokio::test]
async fn an_id_is_forgotten_after_the_window() {
    let running = start().await;
    let event = r#"{"messageId":"a"}"#;
    assert_eq!(counts(&running.answer("/v1/events", event).await), (1, 0));
    running.clock.advance(7 * DAY - 1);
    assert_eq!(counts(&running.answer("/v1/events", event).await), (0, 1));
    running.clock.advance(1);
    assert_eq!(counts(&running.answer("/v1/events", event).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_posts_at_once_exactly_one_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let running = start_with(log, CollectorLimits::default()).await;
    for round in 0..5 {
        let body =
            format!(r#"{{"batch":[{{"messageId":"x{round}"}},{{"messageId":"y{round}"}}]}}"#);
        let posts = (0..50).map(|_| running.answer("/v1/batch", body.clone()));
        let answers = join_all(posts).await;
        let totals = answers.iter().map(counts);
        let totals = totals.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(totals, (2, 98));
    }
    assert_eq!(running.stored().len(), 10);
    running.log.close().await;
}

#[tokio::test]
async fn a_restart_forgets_no_id() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"{"batch":[{"messageId":"a"},{"messageId":"b"}]}"#;
    {
        let running = start_with(open(dir.path()), CollectorLimits::default()).await;
        assert_eq!(counts(&running.answer("/v1/batch", body).await), (2, 0));
        stop(running).await;
    }
    let log = open(dir.path());
    let running = start_with(log, CollectorLimits::default()).await;
    let more = r#"{"batch":[{"messageId":"a"},{"messageId":"b"},{"messageId":"c"}]}"#;
    assert_eq!(counts(&running.answer("/v1/batch", more).await), (1, 2));

    running.clock.advance(7 * DAY);
    let later = Collector::open(options(&running.log, &running.clock, CollectorLimits::default()));
    let server = serving(later.unwrap().router()).await;
    let later = Running { server, ..running };
    assert_eq!(counts(&later.answer("/v1/batch", body).await), (2, 0), "but only for the window");
    stop(later).await;
}

#[tokio::test]
async fn more_ids_than_allowed_forget_the_oldest_and_say_so() {
    let limits = CollectorLimits { dedupe_ids: 1, ..CollectorLimits::default() };
    let running = start_with(Log::in_memory(), limits).await;
    let events: Vec<_> = (0..300).map(|id| json!({"id": id}).to_string()).collect();
    assert_eq!(counts(&running.answer("/v1/events", events.join("\n")).await), (300, 0));
    assert!(running.collector.forgotten_message_ids() >= 300 - 64);
}

fn open(dir: &std::path::Path) -> Log {
    Log::open(LogOptions::new(dir)).unwrap().log
}

async fn stop(running: Running) {
    running.server.stop.cancel();
    running.server.task.await.unwrap().unwrap();
    running.log.close().await;
}

/// A log that begins a segment with every batch.
fn log_in(dir: &std::path::Path) -> Log {
    Log::open(LogOptions { segment_bytes: 1, ..LogOptions::new(dir) }).unwrap().log
}

#[tokio::test]
async fn ids_are_known_after_their_events_were_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_in(dir.path());
    let running = start_with(log.clone(), CollectorLimits::default()).await;
    for id in ["a", "b", "c"] {
        let event = json!({"messageId": id}).to_string();
        assert_eq!(counts(&running.answer("/v1/events", event).await), (1, 0));
    }
    let at = running.collector.snapshot().await.unwrap();
    assert_eq!(at, *log.durable().borrow());
    let event = |id| json!({"messageId": id}).to_string();
    assert_eq!(counts(&running.answer("/v1/events", event("d")).await), (1, 0));
    log.truncate_before(at).unwrap();
    assert_eq!(running.stored().len(), 1);
    running.server.stop.cancel();
    running.server.task.await.unwrap().unwrap();
    log.close().await;
    drop((running.log, running.collector, log));

    let log = log_in(dir.path());
    let running = start_with(log.clone(), CollectorLimits::default()).await;
    for id in ["a", "b", "c", "d"] {
        assert_eq!(counts(&running.answer("/v1/events", event(id)).await), (0, 1), "{id}");
    }
    assert_eq!(counts(&running.answer("/v1/events", event("e")).await), (1, 0));
    log.close().await;
}

#[tokio::test]
async fn damaged_snapshots_of_ids_whose_events_are_gone_are_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_in(dir.path());
    let running = start_with(log.clone(), CollectorLimits::default()).await;
    for id in ["a", "b"] {
        running.answer("/v1/events", json!({"messageId": id}).to_string()).await;
    }
    let at = running.collector.snapshot().await.unwrap();
    let file = dir.path().join(format!("views/message_ids/{:020}.snap", at.0));
    std::fs::write(&file, "damaged").unwrap();
    let clock = &running.clock;
    let whole = Collector::open(options(&log, clock, CollectorLimits::default()));
    assert!(whole.is_ok(), "the log still has them all");
    log.truncate_before(at).unwrap();
    let error = Collector::open(options(&log, clock, CollectorLimits::default())).unwrap_err();
    assert!(error.to_string().contains("can't be rebuilt"), "{error}");
    std::fs::remove_dir_all(dir.path().join("views")).unwrap();
    let never = Collector::open(options(&log, clock, CollectorLimits::default()));
    assert!(never.is_ok(), "a collector that is new to an old log");
    log.close().await;
}

#[tokio::test]
async fn snapshots_are_written_as_the_log_grows() {
    let running = start().await;
    let writing = tokio::spawn(running.collector.clone().write_snapshots());
    let filler = EventRecord {
        stream: "other".to_owned(),
        role: KeyRole::Server.into(),
        body: vec![b' '; 8 << 20].into(),
        ..EventRecord::default()
    };
    let frame = filler.frame(WorkspaceId::DEFAULT, SubjectId::NONE);
    for _ in 0..9 {
        running.log.append(vec![frame.clone()]).await.unwrap();
    }
    running.log.close().await;
    writing.await.unwrap();
    let view = Collector::kept_view(&CollectorLimits::default()).view;
    assert_eq!(running.log.views().kept(view).unwrap().len(), 1);
}
