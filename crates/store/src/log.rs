//! The log as its users hold it: opening, appending, reading, closing.

mod commit_loop;
mod truncate;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use postrider_core::{Clock, Generation, SubjectId, WorkspaceId};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use self::commit_loop::{Batch, Command, WhenFull};
pub use self::truncate::{Segment, Shortened};
use crate::{
    DurableEnd, FrameKind, LogError, LogIdentity, LogReader, Lsn, NewFrame,
    files::{DiskFiles, LogFiles, MemoryDisk, MemoryFiles},
    frame::codec::{Stamp, encoded_bytes},
    limits::{
        BATCH_BYTES_MAX, DISK_FULL_PAUSE, FRAME_PAYLOAD_BYTES_MAX, LEASE_DEFAULT,
        QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX, SEGMENT_BYTES_DEFAULT,
    },
    lock::DirectoryLock,
    recovery::{Recovered, recover},
    shared::Shared,
    view::Views,
    writer::{NotDurable, Writer},
};

/// Where a log is, and how it is cut into files.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The directory; created if it is missing.
    pub dir: PathBuf,
    /// The size at which a segment ends. A batch is never split, so a segment may be larger by one.
    pub segment_bytes: u64,
    /// How long this process may give no sign of life before another one that waits takes the log over.
    pub lease: Duration,
    /// Which log it is from now on, if it has no identity yet: a random number. `None`: it gets none, and checkpoints can't tell it
    /// from others.
    pub identity: Option<LogIdentity>,
}

impl LogOptions {
    /// A log in this directory, with the default segment size and lease, that gets no identity.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            lease: LEASE_DEFAULT,
            identity: None,
        }
    }
}

/// The writer of a simulated log: a task of the runtime that the log is opened on, instead of a thread.
pub struct SimulatedWriter {
    /// As in [`LogOptions`].
    pub segment_bytes: u64,
    /// As in [`LogOptions`].
    pub identity: Option<LogIdentity>,
    /// The clock that it waits by.
    pub clock: Arc<dyn Clock>,
    /// How long the next write takes, in nanoseconds. Frames that are queued meanwhile go into the group behind it.
    pub takes_ns: Box<dyn FnMut() -> i64 + Send>,
}

impl fmt::Debug for SimulatedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedWriter").finish_non_exhaustive()
    }
}

/// What runs the writer.
enum Runs {
    Thread,
    Task(SimulatedWriter),
}

/// How a log is opened, wherever its files are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    pub(crate) segment_bytes: u64,
    pub(crate) disk_full_pause: Duration,
    pub(crate) identity: Option<LogIdentity>,
}

#[cfg(test)]
impl Tuning {
    /// Segments of this size.
    pub(crate) fn segments(segment_bytes: u64) -> Self {
        Self { segment_bytes, ..Self::default() }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            disk_full_pause: DISK_FULL_PAUSE,
            identity: None,
        }
    }
}

/// An opened log, and what opening it found.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Log,
    /// The generation of this process.
    pub generation: Generation,
    /// The unfinished end that was cut off, if there was one.
    pub truncated: Option<Truncated>,
    /// The stopped process that the log was taken over from, such as `process 42`. It can append nothing any more.
    pub taken_from: Option<String>,
}

/// An unfinished end of the log: the previous process, or the machine, stopped while it wrote its last group.
///
/// What was unfinished had not been reported as durable. But if the disk changed a bit of the last group after it had become
/// durable, that looks the same, and frames that had been promised are cut off. Earlier groups never are: there it is
/// [`LogError::Damaged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated {
    /// Where the log was cut.
    pub at: Lsn,
    /// How many bytes were cut off, all of them of the last group.
    pub bytes: u64,
}

/// Where appended frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first frame.
    pub first: Lsn,
    /// Behind the last frame.
    pub end: Lsn,
}

/// A handle to the log; clones share it.
///
/// The log ends with [`Log::close`] or with its last handle, whose drop waits for the writer thread to finish the
/// queue, so that the directory is free afterwards.
#[derive(Debug, Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// Gone only while dropping.
    queue: Option<mpsc::Sender<Command>>,
    /// `None` for a simulated log.
    thread: Option<JoinHandle<()>>,
    /// Bytes that may still be queued.
    room: Arc<Semaphore>,
    /// Held from the first wait to the queue, so that batches are queued in the order of the calls.
    turn: Mutex<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its own hook, and every ticket was refused.
            drop(thread.join());
        }
    }
}

/// The promise that queued frames become durable.
#[derive(Debug)]
#[must_use = "frames are not durable before the ticket says so"]
pub struct Ticket {
    done: oneshot::Receiver<Result<Appended, LogError>>,
    shared: Arc<Shared>,
}

impl Ticket {
    /// Waits until the frames are on disk. Dropping the ticket does not take them back.
    ///
    /// # Errors
    /// [`LogError::DiskFull`] when there was no room on the disk, for frames of [`Log::submit_if_room`]: they were not stored.
    /// Any other when the log ended first: the frames may or may not be there after a restart.
    pub async fn durable(self) -> Result<Appended, LogError> {
        self.done.await.unwrap_or_else(|_| Err(self.shared.why_ended()))
    }
}

impl Log {
    /// Opens the log in a directory, for this process alone: checks every frame, cuts off an unfinished end, and
    /// appends an [`FrameKind::Opened`] frame of a new generation in a new segment. Blocks while it reads.
    ///
    /// If another process has the log, this blocks until that one gives a sign of life, and is refused; until that one
    /// ends; or for its whole lease, and takes the log over. See [`LogOptions::lease`].
    ///
    /// # Errors
    /// When a live process has the log, when it is damaged, or when its files can't be read or written.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one log")]
    pub fn open(options: LogOptions) -> Result<Opened, LogError> {
        let lock = DirectoryLock::take(&options.dir, options.lease, thread::sleep)?;
        let files = Arc::new(DiskFiles::new(options.dir.clone()));
        let (segment_bytes, identity) = (options.segment_bytes, options.identity);
        let tuning = Tuning { segment_bytes, identity, ..Tuning::default() };
        Self::open_files(files, tuning, Some(lock))
    }

    /// Opens a log on files of the caller's own, with everything on the thread of the current tokio runtime, so that a
    /// run repeats if its files and clock do. Nobody else may have the files: such a log has no lock.
    ///
    /// # Errors
    /// As for [`Log::open`].
    pub fn open_simulated(
        files: Arc<dyn LogFiles>,
        writer: SimulatedWriter,
    ) -> Result<Opened, LogError> {
        let (segment_bytes, identity) = (writer.segment_bytes, writer.identity);
        let tuning = Tuning { segment_bytes, identity, ..Tuning::default() };
        Self::open_running(files, tuning, None, Runs::Task(writer))
    }

    /// A new log in memory, which behaves the same and ends with its last handle or reader. It grows with every frame.
    pub fn in_memory() -> Self {
        Self::in_memory_on(&MemoryDisk::default())
    }

    /// The same, for as much as there is room. There is enough for the first frame.
    pub fn in_memory_on(disk: &MemoryDisk) -> Self {
        let files = Arc::new(MemoryFiles::on(disk.clone()));
        match Self::open_files(files, Tuning::default(), None) {
            Ok(opened) => opened.log,
            Err(error) => unreachable!("memory can't fail, and has room: {error}"),
        }
    }

    pub(crate) fn open_files(
        files: Arc<dyn LogFiles>,
        tuning: Tuning,
        lock: Option<DirectoryLock>,
    ) -> Result<Opened, LogError> {
        Self::open_running(files, tuning, lock, Runs::Thread)
    }

    fn open_running(
        files: Arc<dyn LogFiles>,
        tuning: Tuning,
        mut lock: Option<DirectoryLock>,
        runs: Runs,
    ) -> Result<Opened, LogError> {
        let recovered = recover(&*files)?;
        let truncated = recovered.truncated;
        let identity = LogIdentity::establish(&*files, tuning.identity)?;
        let generation = Generation(recovered.generation.0 + 1);
        let next = Stamp { generation, sequence: recovered.sequence };
        let path = files.path(recovered.end);
        let fence = lock.as_ref().map(DirectoryLock::fence);
        let taken_from = lock.as_ref().and_then(DirectoryLock::taken_from).map(str::to_owned);
        let opened = Recovered { identity, ..recovered };
        let mut writer = Writer::open(files, opened, next, tuning.segment_bytes, fence.clone())?;
        writer.add(&[NewFrame {
            kind: FrameKind::Opened,
            workspace: WorkspaceId::DEFAULT,
            subject: SubjectId::NONE,
            payload: bytes::Bytes::new(),
        }]);
        let shared = writer.shared();
        writer.commit().map_err(|error| match error {
            NotDurable::DiskFull(path) => LogError::DiskFull { path },
            NotDurable::Ended => shared.why_ended(),
        })?;
        if let Some(lock) = &mut lock {
            lock.opened();
        }
        let (queue, commands) = mpsc::channel(QUEUE_BATCHES_MAX);
        if let Some(fence) = fence {
            let queue = queue.downgrade();
            // With a full queue the writer is about to look by itself.
            let look =
                move || drop(queue.upgrade().map(|queue| queue.try_send(Command::CheckFence)));
            fence.on_loss(look);
        }
        let thread = match runs {
            Runs::Thread => {
                let run = move || commit_loop::run(writer, commands, lock, tuning.disk_full_pause);
                let started = thread::Builder::new().name("log-writer".to_owned()).spawn(run);
                Some(started.map_err(|source| LogError::Files {
                    operation: "start the writer of",
                    path,
                    source,
                })?)
            }
            Runs::Task(simulated) => {
                shared.simulated.store(true, Ordering::Relaxed);
                let pause = tuning.disk_full_pause;
                tokio::spawn(commit_loop::simulate(writer, commands, simulated, pause));
                None
            }
        };
        let handle = Handle {
            shared,
            queue: Some(queue),
            thread,
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
            turn: Mutex::new(()),
        };
        let log = Self { handle: Arc::new(handle) };
        Ok(Opened { log, generation, truncated, taken_from })
    }

    /// Queues frames, to be written without a gap between them and in the order of the calls. Waits only for
    /// room in the queue; a call that is cancelled before that has queued nothing. An empty batch is allowed: its
    /// ticket says when everything before it is durable. On a full disk, frames wait for as long as it takes.
    ///
    /// # Errors
    /// When the frames are too large, or the log is dead or closed, or was taken over by another process.
    pub async fn submit(&self, frames: Vec<NewFrame>) -> Result<Ticket, LogError> {
        self.queue(frames, WhenFull::Wait).await
    }

    /// Like [`Log::submit`], for who can ask somebody to come back: on a full disk, the ticket is refused with
    /// [`LogError::DiskFull`] within a moment.
    ///
    /// # Errors
    /// Those of [`Log::submit`].
    pub async fn submit_if_room(&self, frames: Vec<NewFrame>) -> Result<Ticket, LogError> {
        self.queue(frames, WhenFull::Refuse).await
    }

    async fn queue(&self, frames: Vec<NewFrame>, when_full: WhenFull) -> Result<Ticket, LogError> {
        let ended = || self.handle.shared.why_ended();
        let bytes = checked_bytes(&frames)?;
        let queue = self.handle.queue.as_ref().ok_or_else(ended)?;
        let turn = self.handle.turn.lock().await;
        let room = Arc::clone(&self.handle.room);
        // The cast loses nothing: a batch is within `BATCH_BYTES_MAX`.
        let room = room.acquire_many_owned(bytes as u32).await.map_err(|_| ended())?;
        let (done, durable) = oneshot::channel();
        let batch = Batch { frames, when_full, done, _room: room };
        queue.send(Command::Append(batch)).await.map_err(|_| ended())?;
        drop(turn);
        Ok(Ticket { done: durable, shared: Arc::clone(&self.handle.shared) })
    }

    /// Appends frames and waits until they are durable.
    ///
    /// # Errors
    /// Those of [`Log::submit`] and [`Ticket::durable`].
    pub async fn append(&self, frames: Vec<NewFrame>) -> Result<Appended, LogError> {
        self.submit(frames).await?.durable().await
    }

    /// Reads from the frame at `from` on. If that was deleted, the first read says so.
    pub fn reader(&self, from: Lsn) -> LogReader {
        LogReader::new(Arc::clone(&self.handle.shared), from)
    }

    /// Does work on the log that blocks, such as reading much of it, where it holds nobody up. A simulated log does it on the
    /// thread of the caller.
    pub fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.handle.shared.blocking(work)
    }

    /// Follows the end of the durable prefix. Its `changed` fails once the log is closed or dead.
    pub fn durable(&self) -> DurableEnd {
        self.handle.shared.watch()
    }

    /// Whether this process still has the log; costs one look at a file. Comes right before anything that the log can't take
    /// back, such as a send. A log in memory is never lost.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if another process took it over, which ends the log for all its users here; otherwise why it
    /// ended, if it did.
    pub fn check_fence(&self) -> Result<(), LogError> {
        self.handle.shared.check_fence()
    }

    /// Waits until nothing can be appended any more, and says why.
    pub async fn ended(&self) -> LogError {
        let mut durable = self.durable();
        while durable.changed().await.is_ok() {}
        self.handle.shared.why_ended()
    }

    /// Why nothing can be appended any more, for who has learned that it is so: [`LogError::Closed`] if nothing else is known.
    pub fn why_ended(&self) -> LogError {
        self.handle.shared.why_ended()
    }

    /// The first frame that the log still has.
    pub fn start(&self) -> Lsn {
        self.handle.shared.start()
    }

    /// The snapshots of views of this log.
    pub fn views(&self) -> Views {
        self.handle.shared.views.clone()
    }

    /// Which log it is; `None` for one that was given no identity.
    pub fn identity(&self) -> Option<LogIdentity> {
        self.handle.shared.identity
    }

    /// The generation of this process.
    pub fn generation(&self) -> Generation {
        self.handle.shared.generation
    }

    /// Writes what is queued, stops the writer thread and gives up the directory. Later appends are refused; readers
    /// go on. Closing twice is allowed.
    pub async fn close(&self) {
        if let Some(queue) = &self.handle.queue {
            // A closed queue means that the thread has stopped or is about to.
            queue.send(Command::Close).await.ok();
        }
        self.ended().await;
    }
}

/// The size of a batch on disk, if it is within the limits.
fn checked_bytes(frames: &[NewFrame]) -> Result<usize, LogError> {
    let mut bytes = 0;
    for frame in frames {
        let payload = frame.payload.len();
        if payload > FRAME_PAYLOAD_BYTES_MAX {
            let limit = FRAME_PAYLOAD_BYTES_MAX;
            return Err(LogError::TooLarge { what: "frame", bytes: payload, limit });
        }
        bytes += encoded_bytes(frame);
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(LogError::TooLarge { what: "batch", bytes, limit: BATCH_BYTES_MAX });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
