//! Work that a snapshot leaves to whoever needs its outcome.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use datafusion::common::{DataFusionError, Result, exec_err};

type Work<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// The outcome of work on rows that no longer change. Who asks for it first does the work, and others wait; mostly that is the
/// task that writes checkpoints, so that the flow does not stop for it. The outcome is the same whoever does it and when.
pub(crate) struct Deferred<T> {
    outcome: OnceLock<Result<T, Arc<DataFusionError>>>,
    work: Mutex<Option<Work<T>>>,
}

impl<T> Deferred<T> {
    pub(crate) fn new(work: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        Self { outcome: OnceLock::new(), work: Mutex::new(Some(Box::new(work))) }
    }

    /// What needs no work.
    pub(crate) fn done(outcome: T) -> Self {
        Self { outcome: OnceLock::from(Ok(outcome)), work: Mutex::new(None) }
    }

    /// The outcome, if the work is done. Never waits.
    pub(crate) fn ready(&self) -> Option<&T> {
        self.outcome.get().and_then(|outcome| outcome.as_ref().ok())
    }

    /// The outcome. Does the work, or waits for who does.
    pub(crate) fn get(&self) -> Result<&T> {
        let outcome = self.outcome.get_or_init(|| {
            let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(work) = work else {
                return exec_err!("deferred work was given up").map_err(Arc::new);
            };
            work().map_err(Arc::new)
        });
        outcome.as_ref().map_err(|error| DataFusionError::Shared(Arc::clone(error)))
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("ready", &self.ready().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use datafusion::common::exec_err;

    use super::Deferred;

    #[test]
    fn the_work_is_done_once_and_its_inputs_are_let_go() {
        let (times, input) = (Arc::new(AtomicU32::new(0)), Arc::new(()));
        let (counted, held) = (Arc::clone(&times), Arc::clone(&input));
        let deferred = Deferred::new(move || {
            drop(held);
            Ok(counted.fetch_add(1, Ordering::Relaxed))
        });
        assert_eq!((deferred.ready(), Arc::strong_count(&input)), (None, 2));
        let outcomes = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| *deferred.get().unwrap()));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!((outcomes, times.load(Ordering::Relaxed)), ([0; 4], 1));
        assert_eq!((deferred.ready(), Arc::strong_count(&input)), (Some(&0), 1));
    }

    #[test]
    fn everybody_learns_of_a_failure() {
        let deferred = Deferred::<u32>::new(|| exec_err!("no"));
        for _ in 0..2 {
            assert!(deferred.get().unwrap_err().to_string().contains("no"));
        }
        assert_eq!(deferred.ready(), None);
    }
}
