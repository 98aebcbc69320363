//! Simulated time, and a runtime on which nothing happens but by it.
//!
//! The clock stands still while any task has something to do. When the runtime is about to park its thread, the clock moves to
//! the next moment that somebody waits for. So a run takes no real time, and the same run is the same steps.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use postrider_core::{Clock, ClockTime, Sleep};

/// A second, in nanoseconds.
pub const SECOND: i64 = 1_000_000_000;

/// The clock of a simulation. Clones share it.
#[derive(Clone)]
pub struct SimClock(Arc<Mutex<Time>>);

struct Time {
    now: i64,
    /// Who waits, by the moment and by the order in which they began.
    waiting: BTreeMap<(i64, u64), Waker>,
    number: u64,
    stuck: bool,
    watcher: Option<Waker>,
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimClock").field(&self.now()).finish()
    }
}

impl SimClock {
    /// A clock that stands at `now`.
    pub fn new(now: ClockTime) -> Self {
        let waiting = BTreeMap::new();
        let time = Time { now: now.0, waiting, number: 0, stuck: false, watcher: None };
        Self(Arc::new(Mutex::new(time)))
    }

    /// Completes after `ns` nanoseconds.
    pub fn sleep(&self, ns: i64) -> Sleep {
        self.sleep_until(ClockTime(self.now().0.saturating_add(ns)))
    }

    /// Completes if nothing will ever happen any more: nobody can go on, and nobody waits for the clock.
    pub async fn stuck(&self) {
        poll_fn(|context| {
            let mut time = self.time();
            time.watcher = Some(context.waker().clone());
            if time.stuck { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Runs a future, and the tasks that it spawns, on simulated time. Tasks that are left are dropped.
    ///
    /// # Errors
    /// The runtime can't be built.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> std::io::Result<T> {
        {
            // Who waited was of an earlier runtime.
            let mut time = self.time();
            time.stuck = false;
            time.waiting.clear();
        }
        let clock = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || clock.move_on())
            .build()?;
        Ok(runtime.block_on(future))
    }

    /// Moves to the next moment that somebody waits for.
    fn move_on(&self) {
        let woken = {
            let mut time = self.time();
            match time.waiting.first_key_value().map(|((at, _), _)| *at) {
                Some(at) => {
                    time.now = time.now.max(at);
                    let later = time.waiting.split_off(&(at.saturating_add(1), 0));
                    std::mem::replace(&mut time.waiting, later).into_values().collect()
                }
                None => {
                    time.stuck = true;
                    time.watcher.take().into_iter().collect::<Vec<_>>()
                }
            }
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> ClockTime {
        ClockTime(self.time().now)
    }

    fn sleep_until(&self, at: ClockTime) -> Sleep {
        let number = {
            let mut time = self.time();
            time.number += 1;
            time.number
        };
        let wait = Wait { clock: self.clone(), key: (at.0, number) };
        Box::pin(async move {
            poll_fn(|context| {
                let mut time = wait.clock.time();
                if time.now >= wait.key.0 {
                    return Poll::Ready(());
                }
                time.waiting.insert(wait.key, context.waker().clone());
                Poll::Pending
            })
            .await;
        })
    }
}

/// Somebody who waits; dropped, they do no more.
struct Wait {
    clock: SimClock,
    key: (i64, u64),
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.clock.time().waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use postrider_core::{Clock, ClockTime};

    use super::{SECOND, SimClock};

    #[test]
    fn time_passes_only_when_nobody_can_go_on_and_in_order() {
        let clock = SimClock::new(ClockTime(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let order = clock.run(async {
            let mut tasks = Vec::new();
            for wait in [3, 1, 2, 1] {
                let (clock, seen) = (clock.clone(), Arc::clone(&seen));
                tasks.push(tokio::spawn(async move {
                    clock.sleep(wait * 3_600 * SECOND).await;
                    seen.lock().unwrap().push(wait);
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            seen.lock().unwrap().clone()
        });
        assert_eq!(order.unwrap(), [1, 1, 2, 3]);
        assert_eq!(clock.now(), ClockTime(3 * 3_600 * SECOND));
    }

    #[test]
    fn who_can_never_go_on_is_found_out() {
        let clock = SimClock::new(ClockTime(0));
        let stuck = clock.run(async {
            tokio::select! {
                biased;
                () = clock.stuck() => true,
                () = std::future::pending() => false,
            }
        });
        assert!(stuck.unwrap());
    }
}
