//! What the writer tells readers and handles.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use postrider_core::Generation;
use tokio::task::JoinHandle;

use crate::{
    LogError, LogIdentity, Lsn,
    durable::{Announce, DurableEnd},
    files::LogFiles,
    lock::{Fence, Fenced},
    recovery::Recovered,
    view::Views,
};

/// The published state of a log: written by its writer, read by everyone.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The segment files.
    pub(crate) files: Arc<dyn LogFiles>,
    /// The generation of this process.
    pub(crate) generation: Generation,
    /// Which log it is.
    pub(crate) identity: Option<LogIdentity>,
    /// The snapshots of views.
    pub(crate) views: Views,
    bases: RwLock<Vec<Lsn>>,
    durable: AtomicU64,
    announced: DurableEnd,
    /// Held while the beginning of the log is deleted.
    pub(crate) truncating: Mutex<()>,
    /// Whether everything is done on the threads of who asks, so that a run repeats.
    pub(crate) simulated: AtomicBool,
    /// `None` for a log that nobody else can have.
    fence: Option<Arc<Fence>>,
    end: OnceLock<End>,
}

/// What ended a log before it was closed.
#[derive(Debug)]
enum End {
    /// A failure.
    Dead(Arc<str>),
    /// Another process.
    Fenced { dir: PathBuf, holder: String },
}

impl Shared {
    /// The state of a log that was found so, for a process of a generation.
    pub(crate) fn new(
        files: Arc<dyn LogFiles>,
        generation: Generation,
        found: Recovered,
        fence: Option<Arc<Fence>>,
    ) -> (Self, Announce) {
        let Recovered { bases, end: durable, identity, .. } = found;
        let (announce, announced) = Announce::new(durable);
        let shared = Self {
            views: Views::new(files.views()),
            files,
            generation,
            identity,
            bases: RwLock::new(bases),
            durable: AtomicU64::new(durable.0),
            announced,
            truncating: Mutex::new(()),
            simulated: AtomicBool::new(false),
            fence,
            end: OnceLock::new(),
        };
        (shared, announce)
    }

    /// The end of the durable prefix.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Follows the end of the durable prefix.
    pub(crate) fn watch(&self) -> DurableEnd {
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
    pub(crate) fn set_durable(&self, end: Lsn, announce: &Announce) {
        self.durable.store(end.0, Ordering::Release);
        announce.move_to(end);
    }

    /// Does work that blocks: elsewhere, unless the log is simulated.
    pub(crate) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        if self.simulated.load(Ordering::Relaxed) {
            tokio::spawn(async move { work() })
        } else {
            tokio::task::spawn_blocking(work)
        }
    }

    /// Records what ended the log; the first failure counts.
    pub(crate) fn fail(&self, reason: &str) {
        self.end.get_or_init(|| End::Dead(Arc::from(reason)));
    }

    /// Whether this process still has the log. If not, that ends the log for everyone here.
    pub(crate) fn check_fence(&self) -> Result<(), LogError> {
        let Some(fence) = &self.fence else { return Ok(()) };
        match fence.check() {
            Ok(()) => return Ok(()),
            Err(Fenced::By { dir, holder }) => {
                self.end.get_or_init(|| End::Fenced { dir, holder });
            }
            Err(Fenced::Unknown(error)) => {
                self.fail(&format!("can't look at its lock file: {error}"))
            }
            Err(Fenced::Released) => {}
        }
        Err(self.why_ended())
    }

    /// Why nothing is appended any more.
    pub(crate) fn why_ended(&self) -> LogError {
        match self.end.get() {
            Some(End::Dead(reason)) => LogError::Dead { reason: Arc::clone(reason) },
            Some(End::Fenced { dir, holder }) => {
                LogError::Fenced { dir: dir.clone(), holder: holder.clone() }
            }
            None => LogError::Closed,
        }
    }
}
