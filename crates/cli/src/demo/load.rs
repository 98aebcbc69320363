//! The shop's side of HTTP: an open loop, which posts on time whether or not earlier posts were answered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use reqwest::{Client, StatusCode};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::shop::{Post, Shop};
use crate::{
    args::DemoArgs,
    outcome::{Failure, Outcome},
};

/// Requests on their way at once; when all are, the loop waits and says so in the summary.
const REQUESTS_IN_FLIGHT: usize = 256;

/// How long an answer may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Sends the posts of a shop.
pub(crate) struct Load {
    client: Client,
    url: String,
    key: &'static str,
    shop: Shop,
    seconds: u64,
    speed: u64,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loaded {
    pub(crate) requests: u64,
    pub(crate) events: u64,
    /// Requests that were not answered 200.
    pub(crate) failed: u64,
    pub(crate) wall: Duration,
    /// The most that a post left behind its time.
    pub(crate) behind: Duration,
    pub(crate) customers: u64,
}

impl Load {
    pub(crate) fn new(
        collector: SocketAddr,
        key: &'static str,
        shop: Shop,
        args: &DemoArgs,
    ) -> Outcome<Self> {
        let client = Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIME_MAX)
            .pool_max_idle_per_host(REQUESTS_IN_FLIGHT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        let url = format!("http://{collector}/v1/batch");
        Ok(Self { client, url, key, shop, seconds: args.seconds, speed: args.speed })
    }

    /// Posts for as long as the shop is open; waits for the last answers.
    pub(crate) async fn run(mut self) -> Outcome<Loaded> {
        let started = Instant::now();
        let places = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT));
        let mut answers = JoinSet::new();
        let mut loaded = Loaded::default();
        while let Some(post) = self.shop.next() {
            let due = Duration::from_nanos(post.send_at_ns.unsigned_abs() / self.speed);
            if due >= Duration::from_secs(self.seconds) {
                break;
            }
            sleep_until(started + due).await;
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.map_err(|error| Failure::failed(error.to_string()))?;
            loaded.behind = loaded.behind.max(started.elapsed().saturating_sub(due));
            loaded.requests += 1;
            loaded.events += post.events.len() as u64;
            let request = self.request(&post);
            answers.spawn(async move {
                let answer = request.send().await;
                drop(place);
                answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
            });
            while let Some(answer) = answers.try_join_next() {
                loaded.failed += u64::from(!answer.unwrap_or(false));
            }
        }
        while let Some(answer) = answers.join_next().await {
            loaded.failed += u64::from(!answer.unwrap_or(false));
        }
        loaded.wall = started.elapsed();
        loaded.customers = self.shop.customers() as u64;
        Ok(loaded)
    }

    fn request(&self, post: &Post) -> reqwest::RequestBuilder {
        let body = format!("{{\"batch\":[{}]}}", post.events.join(","));
        self.client
            .post(&self.url)
            .basic_auth(self.key, Some(""))
            .header("content-type", "application/json")
            .body(body)
    }
}
