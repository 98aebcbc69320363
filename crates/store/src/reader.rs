//! Reading the durable prefix in order.

use std::sync::Arc;

use crate::{
    Frame, FrameKind, LogError, Lsn,
    files::{DiskFiles, LogFile, LogFiles},
    frame::codec::{self, Fault, HEADER_BYTES},
    recovery::inspect,
    segment::file_offset,
    shared::Shared,
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
        let position = from.max(shared.start());
        Self {
            shared,
            position,
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
        let found = inspect(&*files)?;
        let (shared, _) = Shared::new(files, found.generation, found.bases, found.end, None);
        Ok(Self::new(Arc::new(shared), Lsn::ZERO))
    }

    /// Leaves the payloads of all other kinds out: such frames come with an empty payload, which is neither checked
    /// nor kept in memory.
    #[must_use]
    pub fn skip_payloads_except(mut self, kinds: &[FrameKind]) -> Self {
        self.wanted = FrameKind::ALL.map(|kind| kinds.contains(&kind));
        self
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
                let end = next.map_or(durable, |next| next.min(durable));
                match current {
                    Some(segment) if segment.base == base => OpenSegment { end, ..segment },
                    _ => {
                        let file = self.shared.files.open(base).map_err(|source| {
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

enum Failure {
    Read(std::io::Error),
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
