//! Clients that take places and say nothing.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Bounds, serve_within};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Long enough for an answer, and short enough to wait for none.
const MOMENT: Duration = Duration::from_millis(300);

async fn server(connections: usize, head_time: Duration) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let router = Router::new().route("/", get(async || "hello"));
    let bounds = Bounds { connections, head_time };
    tokio::spawn(serve_within(bounds, listener, router, stop.clone()));
    (address, stop.drop_guard())
}

async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn is_answered(stream: &mut TcpStream) -> bool {
    let mut status = [0; 12];
    let read = timeout(MOMENT, stream.read_exact(&mut status)).await;
    read.is_ok_and(|read| read.is_ok() && &status == b"HTTP/1.1 200")
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_a_place() {
    let (address, _running) = server(1, Duration::from_secs(60)).await;
    let mut first = connect(address, REQUEST).await;
    assert!(is_answered(&mut first).await);
    let mut second = connect(address, REQUEST).await;
    assert!(!is_answered(&mut second).await, "the first is still open");
    drop(first);
    assert!(is_answered(&mut second).await);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_its_connection() {
    let (address, _running) = server(1, Duration::from_millis(50)).await;
    for silent in [&b""[..], b"GET / HTTP/1.1\r\nho"] {
        let mut slow = connect(address, silent).await;
        let mut said = Vec::new();
        let ended = timeout(Duration::from_secs(20), slow.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{silent:?}");
    }
    let mut next = connect(address, REQUEST).await;
    assert!(is_answered(&mut next).await, "the place is free again");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_refused() {
    let (address, _running) = server(1, Duration::from_secs(60)).await;
    let mut stream = connect(address, b"GET / HTTP/1.1\r\n").await;
    let endless = b"x: ".iter().copied().chain([b'y'; 200_000]).collect::<Vec<_>>();
    // The server may hang up before all of it is written.
    stream.write_all(&endless).await.ok();
    let mut said = Vec::new();
    let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
    assert!(ended.is_ok());
    assert!(!said.starts_with(b"HTTP/1.1 200"));
}
