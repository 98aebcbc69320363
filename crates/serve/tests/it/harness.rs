//! A collector on a free port, a clock that stands still, and a client.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use axum::Router;
use postrider_core::{Clock, ClockTime, Sleep, WorkspaceId};
use postrider_serve::{Collector, CollectorLimits, CollectorOptions, WriteKey, serve};
use postrider_store::{EventRecord, Frame, FrameKind, KeyRole, Log};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) const SERVER_KEY: &str = "sk_server";
pub(crate) const BROWSER_KEY: &str = "pk_browser";
pub(crate) const SHOP: &str = "https://shop.example";
pub(crate) const START: i64 = 1_800_000_000_000_000_000;

/// Moves only by hand.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(crate) fn advance(&self, ns: i64) {
        self.0.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> ClockTime {
        ClockTime(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _: ClockTime) -> Sleep {
        Box::pin(future::pending())
    }
}

/// A running collector.
pub(crate) struct Running {
    pub(crate) collector: Collector,
    pub(crate) log: Log,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) server: Serving,
}

/// A running server.
pub(crate) struct Serving {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
    client: reqwest::Client,
}

pub(crate) async fn serving(router: Router) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, stop.clone()));
    // The client asks for a provider of TLS, though nothing here uses it; that one is there already is no error.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Serving { address, stop, task, client }
}

impl Serving {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }
}

pub(crate) async fn start() -> Running {
    start_with(Log::in_memory(), CollectorLimits::default()).await
}

pub(crate) async fn start_with(log: Log, limits: CollectorLimits) -> Running {
    let clock = Arc::new(ManualClock(AtomicI64::new(START)));
    let collector = Collector::open(options(&log, &clock, limits)).unwrap();
    let server = serving(collector.router()).await;
    Running { collector, log, clock, server }
}

pub(crate) fn options(
    log: &Log,
    clock: &Arc<ManualClock>,
    limits: CollectorLimits,
) -> CollectorOptions {
    let drawn = AtomicU64::new(0);
    CollectorOptions {
        log: log.clone(),
        workspace: WorkspaceId::DEFAULT,
        keys: vec![
            WriteKey::new(KeyRole::Server, SERVER_KEY),
            WriteKey { stream: "web".to_owned(), ..WriteKey::new(KeyRole::Browser, BROWSER_KEY) },
        ],
        origins: vec![SHOP.to_owned()],
        wall: Arc::clone(clock) as Arc<dyn Clock>,
        ids: Arc::new(move || u128::from(drawn.fetch_add(1, Ordering::SeqCst))),
        limits,
    }
}

impl Running {
    pub(crate) fn post(&self, path: &str, key: &str, body: impl Into<String>) -> RequestBuilder {
        self.server.request(Method::POST, path).basic_auth(key, Some("")).body(body.into())
    }

    /// Posts with the server key and returns the status and the answer.
    pub(crate) async fn answer(&self, path: &str, body: impl Into<String>) -> (u16, Value) {
        answer_of(self.post(path, SERVER_KEY, body)).await
    }

    /// The events in the log.
    pub(crate) fn stored(&self) -> Vec<EventRecord> {
        self.frames().iter().map(|frame| EventRecord::decode(&frame.payload).unwrap()).collect()
    }

    pub(crate) fn frames(&self) -> Vec<Frame> {
        let mut reader = self.log.reader(self.log.start());
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            if frame.kind == FrameKind::Event {
                frames.push(frame);
            }
        }
        frames
    }

    /// The bodies of the events in the log.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let text = |record: EventRecord| String::from_utf8(record.body.to_vec()).unwrap();
        self.stored().into_iter().map(text).collect()
    }
}

pub(crate) async fn answer_of(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The code of an error answer.
pub(crate) fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or("no error"))
}
