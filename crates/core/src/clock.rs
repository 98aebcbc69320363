//! The injected clock: nothing else in Postrider asks the machine for the time.

use std::{fmt, future::Future, pin::Pin};

/// A reading of a [`Clock`], in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClockTime(pub i64);

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::format_time(self.0))
    }
}

/// A sleep that a [`Clock`] hands out; dropping it cancels it.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and wakes sleepers.
///
/// Contract: `now` never runs backwards within a process. `sleep_until` completes at the first
/// moment at which `now()` is at or past the given time; at once if it already is.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current reading.
    fn now(&self) -> ClockTime;
    /// Completes when the clock reaches `time`.
    fn sleep_until(&self, time: ClockTime) -> Sleep;
}
