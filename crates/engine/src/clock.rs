//! The clocks: the machine's, a faster one for demonstrations, and one that only moves by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use postrider_core::{Clock, ClockTime, Sleep};
use tokio::sync::watch;

/// The machine's wall clock, read once and then continued by the monotonic clock, so that a clock
/// step never makes it run backwards.
#[derive(Debug, Clone)]
pub struct SystemClock {
    base_ns: i64,
    started: Instant,
}

impl SystemClock {
    /// Starts at the machine's time.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            base_ns: i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> ClockTime {
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        ClockTime(self.base_ns.saturating_add(elapsed))
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        let wait = time.0.saturating_sub(self.now().0).max(0);
        Box::pin(tokio::time::sleep(Duration::from_nanos(wait.unsigned_abs())))
    }
}

/// A clock that starts at the wall clock's time and runs `speed` times as fast.
#[derive(Debug, Clone)]
pub struct ScaledClock {
    wall: SystemClock,
    base: ClockTime,
    speed: f64,
}

impl ScaledClock {
    /// Runs `speed` seconds for each second of `wall`, from `base` at its current reading.
    pub fn new(wall: &SystemClock, base: ClockTime, speed: f64) -> Self {
        let wall = SystemClock { base_ns: 0, started: wall.started + wall.started.elapsed() };
        Self { wall, base, speed }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> ClockTime {
        let wall = self.wall.now().0;
        #[expect(clippy::cast_possible_truncation, reason = "a float to int cast saturates")]
        #[expect(clippy::cast_precision_loss, reason = "a demo runs for less than 2^53 ns")]
        let scaled = (wall as f64 * self.speed) as i64;
        ClockTime(self.base.0.saturating_add(scaled))
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        let wait = time.0.saturating_sub(self.now().0).max(0);
        #[expect(clippy::cast_precision_loss, reason = "a wait, not an account")]
        let seconds = wait as f64 / 1e9 / self.speed;
        Box::pin(tokio::time::sleep(Duration::from_secs_f64(seconds.min(1e9))))
    }
}

/// A clock that stands still until it is moved: for fixtures and tests.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<AtomicI64>,
    moved: watch::Sender<()>,
}

impl ManualClock {
    /// Stands at `start`.
    pub fn new(start: ClockTime) -> Self {
        Self { now: Arc::new(AtomicI64::new(start.0)), moved: watch::Sender::new(()) }
    }

    /// Moves forward by `ns` nanoseconds and wakes every sleeper whose time has come.
    pub fn advance(&self, ns: i64) {
        self.now.fetch_add(ns.max(0), Ordering::SeqCst);
        self.moved.send_replace(());
    }

    /// Moves forward to `time`; does nothing if that is past.
    pub fn advance_to(&self, time: ClockTime) {
        self.now.fetch_max(time.0, Ordering::SeqCst);
        self.moved.send_replace(());
    }
}

impl Clock for ManualClock {
    fn now(&self) -> ClockTime {
        ClockTime(self.now.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        let (now, mut moved) = (Arc::clone(&self.now), self.moved.subscribe());
        Box::pin(async move {
            while now.load(Ordering::SeqCst) < time.0 && moved.changed().await.is_ok() {}
        })
    }
}
