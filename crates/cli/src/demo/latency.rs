//! What the demo counts while it runs.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use hdrhistogram::Histogram;
use postrider_engine::{EngineObserver, SealFacts};
use postrider_mail::{MailObserver, SendFacts};

use crate::outcome::{Failure, Outcome};

/// The largest latency that is told apart: two minutes.
const MAX_NS: u64 = 120_000_000_000;

/// Counters and latency histograms, filled by the engine and the mail half.
pub(crate) struct Latencies {
    rejects: AtomicU64,
    late_rows: AtomicU64,
    trigger_rows: AtomicU64,
    sent: AtomicU64,
    to_seal: Mutex<Histogram<u64>>,
    to_smtp: Mutex<Histogram<u64>>,
}

/// A distribution of latencies, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) rejects: u64,
    pub(crate) late_rows: u64,
    pub(crate) trigger_rows: u64,
    pub(crate) sent: u64,
    /// From the accept of the event that moved the watermark (or the clock tick that did) to the seal, one a
    /// trigger row.
    pub(crate) to_seal: Distribution,
    /// To the 250 of the mail server, one a mail.
    pub(crate) to_smtp: Distribution,
}

impl Latencies {
    pub(crate) fn new() -> Outcome<Self> {
        let histogram = || {
            Histogram::new_with_bounds(1_000, MAX_NS, 3)
                .map_err(|error| Failure::failed(error.to_string()))
        };
        Ok(Self {
            rejects: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            trigger_rows: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            to_seal: Mutex::new(histogram()?),
            to_smtp: Mutex::new(histogram()?),
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            rejects: load(&self.rejects),
            late_rows: load(&self.late_rows),
            trigger_rows: load(&self.trigger_rows),
            sent: load(&self.sent),
            to_seal: distribution(&self.to_seal),
            to_smtp: distribution(&self.to_smtp),
        }
    }
}

fn distribution(histogram: &Mutex<Histogram<u64>>) -> Distribution {
    let histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
    Distribution {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    }
}

fn record(histogram: &Mutex<Histogram<u64>>, from: i64, to: i64, times: u64) {
    let ns = to.saturating_sub(from).max(0).unsigned_abs().clamp(1_000, MAX_NS);
    let mut histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
    histogram.saturating_record_n(ns, times);
}

impl EngineObserver for Latencies {
    fn sealed(&self, facts: &SealFacts<'_>) {
        self.rejects.fetch_add(facts.rejects, Ordering::Relaxed);
        self.late_rows.fetch_add(facts.late_rows, Ordering::Relaxed);
        self.trigger_rows.fetch_add(facts.trigger_rows, Ordering::Relaxed);
        if let Some(moved_at) = facts.moved_at.filter(|_| facts.trigger_rows > 0) {
            record(&self.to_seal, moved_at.0, facts.sealed_at.0, facts.trigger_rows);
        }
    }
}

impl MailObserver for Latencies {
    fn accepted(&self, facts: &SendFacts<'_>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if facts.moved_at > 0 {
            record(&self.to_smtp, facts.moved_at, facts.answered_at, 1);
        }
    }
}
