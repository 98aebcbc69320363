//! At a limit, and one over it.

use std::time::Duration;

use postrider_serve::{
    CollectorLimits,
    limits::{BODY_BYTES_MAX, EVENT_BYTES_MAX, EVENTS_PER_REQUEST_MAX},
};
use postrider_store::Log;
use reqwest::header;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{SERVER_KEY, answer_of, code, start, start_with};

#[tokio::test]
async fn a_body_of_one_mebibyte_is_read_and_no_more() {
    let running = start().await;
    let padded = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
    assert_eq!(running.answer("/v1/events", padded(BODY_BYTES_MAX)).await.0, 200);
    for over in [1, BODY_BYTES_MAX / 2] {
        let answer = running.answer("/v1/events", padded(BODY_BYTES_MAX + over)).await;
        assert_eq!(code(&answer), (413, "body_too_large"));
    }
}

#[tokio::test]
async fn five_hundred_events_are_taken_and_no_more() {
    let running = start().await;
    let batch = |events: usize| format!("{{\"batch\":[{}]}}", vec!["{}"; events].join(","));
    let (status, answer) = running.answer("/v1/batch", batch(EVENTS_PER_REQUEST_MAX)).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(500)));
    let answer = running.answer("/v1/batch", batch(EVENTS_PER_REQUEST_MAX + 1)).await;
    assert_eq!(code(&answer), (413, "too_many_events"));
    assert_eq!(running.stored().len(), EVENTS_PER_REQUEST_MAX);
}

#[tokio::test]
async fn an_event_has_32_kibibytes_and_no_more() {
    let running = start().await;
    let event = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let (_, answer) = running.answer("/v1/events", event(EVENT_BYTES_MAX)).await;
    assert_eq!(answer["accepted"], 1);
    let (status, answer) = running.answer("/v1/events", event(EVENT_BYTES_MAX + 1)).await;
    assert_eq!((status, &answer["rejected"][0]["reason"]), (200, &json!("too_large")));
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_reason() {
    let running = start().await;
    let post = |encoding| {
        running.post("/v1/track", SERVER_KEY, "{}").header(header::CONTENT_ENCODING, encoding)
    };
    assert_eq!(code(&answer_of(post("gzip")).await), (415, "encoding_not_supported"));
    assert_eq!(answer_of(post("identity")).await.0, 200);
}

/// Opens a request and returns once the server asks for its body: from then on it is in flight.
async fn in_flight(running: &crate::harness::Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.server.address).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SERVER_KEY}\r\n\
         content-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 100"));
    stream
}

#[tokio::test]
async fn requests_in_flight_are_bounded_before_their_bodies_are_read() {
    let limits = CollectorLimits { in_flight: 1, ..CollectorLimits::default() };
    let running = start_with(Log::in_memory(), limits).await;
    let mut first = in_flight(&running).await;
    let response = running.post("/v1/events", SERVER_KEY, "{}").send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert_eq!(answer_of(running.server.request(reqwest::Method::GET, "/healthz")).await.0, 200);

    first.write_all(b"{}").await.unwrap();
    let mut status = [0; 12];
    first.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(running.answer("/v1/events", "{}").await.0, 200, "the place is free again");
}

#[tokio::test]
async fn a_body_that_does_not_come_gives_up_its_place() {
    let limits = CollectorLimits {
        in_flight: 1,
        body_time: Duration::from_millis(20),
        ..CollectorLimits::default()
    };
    let running = start_with(Log::in_memory(), limits).await;
    let mut slow = in_flight(&running).await;
    let mut status = [0; 12];
    slow.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    assert_eq!(running.answer("/v1/events", "{}").await.0, 200);
}
