//! The customers: post events in order, whoever listens, and know which of them were answered.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{oracle, shop::LAST};
use crate::{
    http::{post, try_post},
    process::{eventually, within},
};

pub(super) const POSTERS: usize = 2;

/// Events in a request.
const CHUNK: i64 = 8;

/// How far the newest request may be ahead of the oldest one without an answer: half of what the watermark waits for, so that
/// no event is late.
const AHEAD: i64 = 60 / CHUNK;

/// Every so many events one has a number that is none.
const BAD_EVERY: i64 = 61;

const CUSTOMERS: i64 = 40;

/// Which requests have message ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// Three of four.
    Most,
    None,
}

/// What the posting side knows.
pub(super) struct Customers {
    url: Mutex<Option<String>>,
    is_done: AtomicBool,
    gone: AtomicUsize,
    /// Events a second.
    rate: u64,
    ids: Ids,
    began: Instant,
    requests: Mutex<Requests>,
    /// Requests that broke on their way, or were refused.
    broken: AtomicUsize,
}

#[derive(Default)]
struct Requests {
    next: i64,
    open: BTreeSet<i64>,
    answered: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
}

/// Ends the posting, also where a check failed.
pub(super) struct Done<'a>(&'a Customers);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.is_done.store(true, Ordering::Relaxed);
    }
}

pub(super) fn is_bad(n: i64) -> bool {
    n % BAD_EVERY == 7
}

/// Five customers at a time, who come back when the others were there: there are gaps between their sessions.
fn customer(n: i64) -> String {
    let (block, mixed) = (n / 200, (n * 7_919 + n / 13) % 5);
    format!("u{}", (block * 5 + mixed) % CUSTOMERS)
}

fn body(n: i64, has_id: bool) -> String {
    let id = if has_id { format!(r#""messageId":"m{n}","#) } else { String::new() };
    let number = if is_bad(n) { format!(r#""bad-{n}""#) } else { n.to_string() };
    format!(r#"{{{id}"userId":"{}","n":{number},"ts":"{}"}}"#, customer(n), oracle::time(n))
}

impl Customers {
    pub(super) fn new(rate: u64, ids: Ids) -> Self {
        Self {
            url: Mutex::default(),
            is_done: AtomicBool::new(false),
            gone: AtomicUsize::new(0),
            rate,
            ids,
            began: Instant::now(),
            requests: Mutex::default(),
            broken: AtomicUsize::new(0),
        }
    }

    pub(super) fn done_when_dropped(&self) -> Done<'_> {
        Done(self)
    }

    /// Where they post from now on.
    pub(super) fn go_to(&self, url: Option<String>) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    pub(super) fn are_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) == POSTERS
    }

    pub(super) fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events that were answered 2xx.
    pub(super) fn answered(&self) -> BTreeSet<i64> {
        self.requests().answered.clone()
    }

    /// Events of which nobody knows.
    pub(super) fn unknown(&self) -> BTreeSet<i64> {
        self.requests().unknown.clone()
    }

    fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    /// Whether nobody will ever listen again: a check failed.
    fn is_over(&self) -> bool {
        self.is_done() && self.url().is_none()
    }

    fn url(&self) -> Option<String> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the next request, once its turn has come.
    fn claim(&self) -> Option<i64> {
        let mut requests = self.requests();
        let (next, oldest) = (requests.next, requests.open.first().copied());
        let due = Duration::from_millis((next * CHUNK).unsigned_abs() * 1_000 / self.rate);
        let is_turn = oldest.is_none_or(|oldest| next - oldest < AHEAD);
        if !is_turn || self.began.elapsed() < due {
            return None;
        }
        requests.open.insert(next);
        requests.next += 1;
        Some(next)
    }

    /// Requests that have ids are posted until they are answered, others once.
    pub(super) fn post_until_done(&self) {
        while !self.is_done() {
            let mut claimed = None;
            within(Duration::from_secs(1), || {
                claimed = self.claim();
                claimed.is_some() || self.is_done()
            });
            if let Some(request) = claimed {
                self.post(request);
            }
        }
        self.gone.fetch_add(1, Ordering::Relaxed);
    }

    fn post(&self, request: i64) {
        let has_id = self.ids == Ids::Most && request % 4 > 0;
        let events = request * CHUNK..(request + 1) * CHUNK;
        let bodies: Vec<_> = events.clone().map(|n| body(n, has_id)).collect();
        let body = format!("[{}]", bodies.join(","));
        let mut answered = self.try_once(&body);
        if has_id || answered.is_none() {
            eventually("an answer", || {
                if answered.is_none() || (has_id && answered == Some(false)) {
                    answered = self.try_once(&body);
                }
                answered == Some(true) || (!has_id && answered.is_some()) || self.is_over()
            });
        }
        let mut requests = self.requests();
        let known = answered == Some(true);
        let set = if known { &mut requests.answered } else { &mut requests.unknown };
        set.extend(events);
        requests.open.remove(&request);
    }

    /// Whether it was answered 2xx; `None` if nobody listened.
    fn try_once(&self, body: &str) -> Option<bool> {
        let url = self.url()?;
        match try_post(&url, "sk", body) {
            Ok((200, _)) => return Some(true),
            Ok((status, answer)) => assert!(status >= 500 || status == 429, "{status} {answer}"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return None,
            Err(_) => {}
        }
        self.broken.fetch_add(1, Ordering::Relaxed);
        Some(false)
    }

    /// Posts an event a day behind all others.
    pub(super) fn post_last(&self) {
        let url = self.url().unwrap();
        let at = oracle::time(self.requests().next * CHUNK + 2 * 86_400);
        let body = format!(r#"{{"messageId":"last","userId":"last","n":{LAST},"ts":"{at}"}}"#);
        let (status, answer) = post(&url, "sk", &body);
        assert_eq!(status, 200, "{answer}");
    }
}
