//! What the writer tells readers and handles.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use postrider_core::Generation;
use tokio::sync::watch;

use crate::{LogError, Lsn, files::LogFiles, view::Views};

/// The published state of a log: written by its writer, read by everyone.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The segment files.
    pub(crate) files: Arc<dyn LogFiles>,
    /// The generation of this process.
    pub(crate) generation: Generation,
    /// The snapshots of views.
    pub(crate) views: Views,
    bases: RwLock<Vec<Lsn>>,
    durable: AtomicU64,
    announced: watch::Receiver<Lsn>,
    failure: OnceLock<Arc<str>>,
    /// Held while the beginning of the log is deleted.
    pub(crate) truncating: Mutex<()>,
}

impl Shared {
    /// The state of a log whose durable prefix ends at `durable`.
    pub(crate) fn new(
        files: Arc<dyn LogFiles>,
        generation: Generation,
        bases: Vec<Lsn>,
        durable: Lsn,
    ) -> (Self, watch::Sender<Lsn>) {
        let (announce, announced) = watch::channel(durable);
        let shared = Self {
            views: Views::new(files.views()),
            files,
            generation,
            bases: RwLock::new(bases),
            durable: AtomicU64::new(durable.0),
            announced,
            failure: OnceLock::new(),
            truncating: Mutex::new(()),
        };
        (shared, announce)
    }

    /// The end of the durable prefix.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Follows the end of the durable prefix.
    pub(crate) fn watch(&self) -> watch::Receiver<Lsn> {
        self.announced.clone()
    }

    /// The first position that the log still has.
    pub(crate) fn start(&self) -> Lsn {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        bases.first().copied().unwrap_or_default()
    }

    /// The base of the segment that `at` is in, and the base of the segment behind it.
    pub(crate) fn segment_of(&self, at: Lsn) -> (Lsn, Option<Lsn>) {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        let behind = bases.partition_point(|base| *base <= at);
        let base = behind.checked_sub(1).and_then(|index| bases.get(index)).copied();
        (base.unwrap_or_default(), bases.get(behind).copied())
    }

    /// Adds a segment. Comes before any of its frames is durable.
    pub(crate) fn add_segment(&self, base: Lsn) {
        self.bases.write().unwrap_or_else(PoisonError::into_inner).push(base);
    }

    /// The bases of all segments, ascending.
    pub(crate) fn bases(&self) -> Vec<Lsn> {
        self.bases.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the segments that begin before `start`. Comes before they are deleted.
    pub(crate) fn begin_at(&self, start: Lsn) {
        let mut bases = self.bases.write().unwrap_or_else(PoisonError::into_inner);
        bases.retain(|base| *base >= start);
    }

    /// Moves the end of the durable prefix.
    pub(crate) fn set_durable(&self, end: Lsn, announce: &watch::Sender<Lsn>) {
        self.durable.store(end.0, Ordering::Release);
        announce.send_replace(end);
    }

    /// Records what ended the log; the first failure counts.
    pub(crate) fn fail(&self, reason: &str) {
        self.failure.get_or_init(|| Arc::from(reason));
    }

    /// Why nothing is appended any more.
    pub(crate) fn why_ended(&self) -> LogError {
        match self.failure.get() {
            Some(reason) => LogError::Dead { reason: Arc::clone(reason) },
            None => LogError::Closed,
        }
    }
}
