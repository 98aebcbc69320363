//! 2xx means durable.

use postrider_serve::CollectorLimits;
use postrider_store::{Log, LogOptions, MemoryDisk};
use reqwest::header;
use serde_json::json;

use crate::harness::{SERVER_KEY, answer_of, code, start, start_with};

#[tokio::test]
async fn an_accepted_event_is_behind_the_durable_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::new(dir.path());
    let running = start_with(Log::open(options).unwrap().log, CollectorLimits::default()).await;
    for id in 0..20 {
        let event = json!({"id": id}).to_string();
        assert_eq!(running.answer("/v1/events", event.clone()).await.0, 200);
        let frame = running.frames().pop().unwrap();
        assert!(frame.end <= *running.log.durable().borrow());
        assert_eq!(running.bodies().pop().unwrap(), event);
        let on_disk = std::fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(event.len()).any(|window| window == event.as_bytes())
        });
        assert!(on_disk);
    }
    running.log.close().await;
}

#[tokio::test]
async fn a_full_disk_means_503_until_there_is_room() {
    let disk = MemoryDisk::default();
    let running = start_with(Log::in_memory_on(&disk), CollectorLimits::default()).await;
    let post = |id: &str| running.post("/v1/events", SERVER_KEY, json!({"id": id}).to_string());
    assert_eq!(answer_of(post("before")).await.0, 200);
    disk.set_room(40);
    for id in ["a", "b", "a"] {
        let response = post(id).send().await.unwrap();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let answer = response.json().await.unwrap();
        assert_eq!(code(&(503, answer)), (503, "disk_full"));
    }
    let known = answer_of(post("before")).await;
    assert_eq!((known.0, &known.1["duplicate"]), (200, &json!(1)), "it is durable");
    assert_eq!(running.server.get("/healthz").await.status(), 200, "it will pass");

    disk.set_room(u64::MAX);
    for (id, accepted) in [("a", 1), ("b", 1), ("a", 0)] {
        let answer = answer_of(post(id)).await;
        assert_eq!((answer.0, &answer.1["accepted"]), (200, &json!(accepted)));
    }
    let expected = ["before", "a", "b"].map(|id| json!({"id": id}).to_string());
    assert_eq!(running.bodies(), expected, "each once, although some were sent often");
}

#[tokio::test]
async fn a_process_that_was_taken_over_answers_503() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(LogOptions::new(dir.path())).unwrap().log;
    let running = start_with(log, CollectorLimits::default()).await;
    assert_eq!(running.answer("/v1/events", r#"{"id":"a"}"#).await.0, 200);
    // Another process's file, as a takeover leaves it.
    std::fs::write(dir.path().join("other"), "process 7\n").unwrap();
    std::fs::rename(dir.path().join("other"), dir.path().join("LOCK")).unwrap();
    assert_eq!(code(&running.answer("/v1/events", r#"{"id":"b"}"#).await), (503, "log_failed"));
    assert_eq!(
        code(&answer_of(running.server.request(reqwest::Method::GET, "/healthz")).await),
        (503, "log_failed")
    );
    assert_eq!(running.bodies(), [r#"{"id":"a"}"#]);
}

#[tokio::test]
async fn a_log_that_fails_means_503_and_a_later_try() {
    let running = start().await;
    assert_eq!(running.answer("/v1/events", r#"{"id":"a"}"#).await.0, 200);
    running.log.close().await;
    for path in ["/v1/events", "/v1/track"] {
        let response = running.post(path, SERVER_KEY, r#"{"id":"b"}"#).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let answer = response.json().await.unwrap();
        assert_eq!(code(&(503, answer)), (503, "log_failed"));
    }
    let known = answer_of(running.post("/v1/events", SERVER_KEY, r#"{"id":"a"}"#)).await;
    assert_eq!((known.0, &known.1["duplicate"]), (200, &json!(1)), "the first copy is durable");
    let stats = running.collector.stats();
    assert_eq!((stats.accepted(), stats.duplicate(), stats.refused()), (1, 1, 2));
}
