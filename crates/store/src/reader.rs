//! Reading the durable prefix in order.

use std::{io, sync::Arc};

use crate::{
    Frame, FrameKind, LogError, LogIdentity, Lsn,
    files::{DiskFiles, LogFile, LogFiles},
    frame::codec::{self, Fault, HEADER_BYTES},
    limits::INSPECTIONS_MAX,
    recovery::{Recovered, inspect},
    segment::file_offset,
    shared::Shared,
    start::LogStart,
    view::Views,
    window::Window,
};

/// Reads frames in order, from any frame on, across segments, up to the end of the durable prefix.
///
/// A follower waits on [`crate::Log::durable`] and then takes frames until there is none:
/// nothing here waits. Frames come from a buffer of 256 KiB; near the end, only what has become durable is
/// read, in one system call. A reader goes on working after the log was closed.
#[derive(Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    position: Lsn,
    segment: Option<OpenSegment>,
    sequence: Option<u64>,
    wanted: [bool; FrameKind::ALL.len()],
}

#[derive(Debug)]
struct OpenSegment {
    base: Lsn,
    /// Where its durable frames end, as far as it was known when this was set.
    end: Lsn,
    file: Arc<dyn LogFile>,
    window: Window,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>, from: Lsn) -> Self {
        Self {
            shared,
            position: from,
            segment: None,
            sequence: None,
            wanted: [true; FrameKind::ALL.len()],
        }
    }

    /// Reads a directory's log as it is now, without taking it over: another process may be writing it.
    ///
    /// # Errors
    /// When the log is damaged, or its files can't be read.
    pub fn of_directory(dir: impl Into<std::path::PathBuf>) -> Result<Self, LogError> {
        let files: Arc<dyn LogFiles> = Arc::new(DiskFiles::new(dir.into()));
        let found = inspect_running(&*files)?;
        let (shared, _) = Shared::new(files, found.generation, found, None);
        let start = shared.start();
        Ok(Self::new(Arc::new(shared), start))
    }

    /// Leaves the payloads of all other kinds out: such frames come with an empty payload, which is neither checked
    /// nor kept in memory.
    #[must_use]
    pub fn skip_payloads_except(mut self, kinds: &[FrameKind]) -> Self {
        self.wanted = FrameKind::ALL.map(|kind| kinds.contains(&kind));
        self
    }

    /// Another reader of the same log, of all payloads, from the frame at `from` on.
    pub fn beginning_at(&self, from: Lsn) -> Self {
        Self::new(Arc::clone(&self.shared), from)
    }

    /// Does work on the log that blocks, such as reading much of it, where it holds nobody up. A simulated log does it on the
    /// thread of the caller.
    pub fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.shared.blocking(work)
    }

    /// Which log it is; `None` for one that was not given an identity yet.
    pub fn identity(&self) -> Option<LogIdentity> {
        self.shared.identity
    }

    /// The first frame that the log still has.
    pub fn start(&self) -> Lsn {
        self.shared.start()
    }

    /// The end of the durable prefix, as far as this reader's view of the log goes.
    pub fn end(&self) -> Lsn {
        self.shared.durable()
    }

    /// The snapshots of views of this log.
    pub fn views(&self) -> Views {
        self.shared.views.clone()
    }

    /// The position of the next frame.
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// The next frame, or `None` at the end of the durable prefix.
    ///
    /// # Errors
    /// When the file can't be read or is damaged; the same frame is tried again by the next call.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, LogError> {
        let durable = self.shared.durable();
        if self.position >= durable {
            return Ok(None);
        }
        let at = self.position;
        let wanted = self.wanted;
        let segment = self.segment_at(at, durable)?;
        let frame = segment.frame(at, &wanted).map_err(|failure| self.explain(at, failure))?;
        if let Some(expected) = self.sequence.filter(|expected| *expected != frame.sequence) {
            let reason = format!("frame {expected} is missing, frame {} is here", frame.sequence);
            return Err(self.explain(at, Failure::Damaged(reason)));
        }
        self.sequence = Some(frame.sequence + 1);
        self.position = frame.end;
        Ok(Some(frame))
    }

    /// The open segment that holds the durable frame at `at`.
    fn segment_at(&mut self, at: Lsn, durable: Lsn) -> Result<&mut OpenSegment, LogError> {
        let current = self.segment.take();
        let segment = match current {
            Some(segment) if at < segment.end => segment,
            current => {
                let (base, next) = self.shared.segment_of(at);
                self.not_truncated(at)?;
                let end = next.map_or(durable, |next| next.min(durable));
                match current {
                    Some(segment) if segment.base == base => OpenSegment { end, ..segment },
                    _ => {
                        let file = self.shared.files.open(base).map_err(|source| {
                            // It may have been deleted since the look above, by whoever writes the log.
                            if let Ok(start) = LogStart::read(&*self.shared.files)
                                && at < start.at
                            {
                                return LogError::Truncated { at, start: start.at };
                            }
                            let path = self.shared.files.path(base);
                            LogError::Files { operation: "open", path, source }
                        })?;
                        OpenSegment { base, end, file, window: Window::default() }
                    }
                }
            }
        };
        Ok(self.segment.insert(segment))
    }

    fn not_truncated(&self, at: Lsn) -> Result<(), LogError> {
        let start = self.shared.start();
        if at < start { Err(LogError::Truncated { at, start }) } else { Ok(()) }
    }

    fn explain(&self, at: Lsn, failure: Failure) -> LogError {
        let (base, _) = self.shared.segment_of(at);
        let (path, offset) = (self.shared.files.path(base), file_offset(base, at));
        match failure {
            Failure::Read(source) => LogError::Files { operation: "read", path, source },
            Failure::Damaged(reason) => LogError::Damaged { at, path, offset, reason },
            Failure::TooNew(reason) => LogError::TooNew { path, offset, reason },
        }
    }
}

/// Looks at a log whose beginning its writer may delete meanwhile.
fn inspect_running(files: &dyn LogFiles) -> Result<Recovered, LogError> {
    for _ in 1..INSPECTIONS_MAX {
        match inspect(files) {
            Err(LogError::Files { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    inspect(files)
}

enum Failure {
    Read(io::Error),
    Damaged(String),
    TooNew(String),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooNew(reason) => Self::TooNew(reason),
            fault => Self::Damaged(fault.reason()),
        }
    }
}

impl OpenSegment {
    fn frame(&mut self, at: Lsn, wanted: &[bool]) -> Result<Frame, Failure> {
        let offset = file_offset(self.base, at);
        let header = self.bytes(offset, HEADER_BYTES)?;
        let size = codec::size(&header)?;
        if let Ok(frame) = codec::decode_header(at, &header)
            && !wanted.get(frame.kind as usize).copied().unwrap_or_default()
            && frame.end <= self.end
        {
            return Ok(frame);
        }
        Ok(codec::decode(at, &self.bytes(offset, size)?)?)
    }

    fn bytes(&mut self, offset: u64, length: usize) -> Result<bytes::Bytes, Failure> {
        let limit = file_offset(self.base, self.end);
        self.window.get(&*self.file, offset, length, limit).map_err(Failure::Read)?.ok_or_else(
            || Failure::Damaged("the frame reaches behind the end of the file".to_owned()),
        )
    }
}

#[cfg(test)]
mod tests;
