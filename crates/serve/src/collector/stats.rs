//! What the collector counted since it started.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters that anyone may read at any time. An event is counted when its request is answered.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    duplicate: AtomicU64,
    rejected: AtomicU64,
    refused: AtomicU64,
    failed: AtomicBool,
}

impl Stats {
    /// Events that are durable now.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Events whose message id was known.
    pub fn duplicate(&self) -> u64 {
        self.duplicate.load(Ordering::Relaxed)
    }

    /// Events that can't be taken, each with a reason in its answer.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Requests that were refused as a whole: 4xx and 503.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the log refused to store events because it is broken.
    pub fn log_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self, accepted: usize, duplicate: usize, rejected: usize) {
        self.accepted.fetch_add(accepted as u64, Ordering::Relaxed);
        self.duplicate.fetch_add(duplicate as u64, Ordering::Relaxed);
        self.rejected.fetch_add(rejected as u64, Ordering::Relaxed);
    }

    pub(super) fn request_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn log_is_broken(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}
