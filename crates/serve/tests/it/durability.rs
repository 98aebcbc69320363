//! 2xx means durable.

use postrider_serve::CollectorLimits;
use postrider_store::{Log, LogOptions};
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
