//! Sends that wait for another attempt, and how long.

use std::collections::BTreeMap;

use postrider_core::{ClockTime, SendId};

use super::backlog::Job;
use crate::limits::{BACKOFF_BASE, BACKOFF_CAP};

/// Jobs by the time at which they are due.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: BTreeMap<(ClockTime, u64), Job>,
    number: u64,
}

impl Retries {
    pub(super) fn push(&mut self, due: ClockTime, job: Job) {
        self.number += 1;
        self.waiting.insert((due, self.number), job);
    }

    /// The next job, if it is due.
    pub(super) fn pop_due(&mut self, now: ClockTime) -> Option<Job> {
        let entry = self.waiting.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(super) fn next_at(&self) -> Option<ClockTime> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// How long to wait after a failed attempt, in nanoseconds: exponential with full jitter (M. Brooker, "Exponential Backoff
/// and Jitter", AWS Architecture Blog 2015). The jitter is a hash of the send and the attempt: spread like a random
/// number, and the same on every run.
pub(super) fn backoff_ns(send: SendId, attempt: u32) -> i64 {
    let doublings = attempt.saturating_sub(1).min(32);
    let longest =
        BACKOFF_BASE.as_nanos().saturating_mul(1 << doublings).min(BACKOFF_CAP.as_nanos());
    let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 backoff jitter");
    hasher.update(&send.0).update(&attempt.to_le_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    let scaled = longest.saturating_mul(u128::from(u64::from_le_bytes(bytes))) >> 64;
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use postrider_core::SendId;

    use super::backoff_ns;
    use crate::limits::{BACKOFF_BASE, BACKOFF_CAP};

    #[test]
    fn waits_grow_up_to_a_cap_and_are_spread() {
        let waits = |attempt| (0..200).map(move |id| backoff_ns(SendId([id; 16]), attempt));
        let longest = |attempt| waits(attempt).max().unwrap();
        assert!(longest(1) <= BACKOFF_BASE.as_nanos() as i64);
        assert!(longest(30) <= BACKOFF_CAP.as_nanos() as i64);
        assert!(longest(30) > BACKOFF_CAP.as_nanos() as i64 / 2);
        let mean = waits(4).sum::<i64>() / 200;
        let expected = BACKOFF_BASE.as_nanos() as i64 * 8 / 2;
        assert!((mean - expected).abs() < expected / 4, "{mean} is far from {expected}");
    }
}
