//! Stopping: nothing new, and what is in flight is finished.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{SERVER_KEY, start};

#[tokio::test]
async fn a_request_in_flight_is_answered_and_then_the_server_ends() {
    let running = start().await;
    let address = running.server.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SERVER_KEY}\r\n\
         content-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();

    running.server.stop.cancel();
    // The listener is gone as soon as nobody can connect any more.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.server.task.is_finished());
    stream.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"accepted\":1"), "{answer}");
    running.server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let running = start().await;
    assert_eq!(running.answer("/v1/events", "{}").await.0, 200);
    let _fresh = TcpStream::connect(running.server.address).await.unwrap();
    running.server.stop.cancel();
    running.server.task.await.unwrap().unwrap();
}
