//! Finding out, when a log is opened, what it holds and where it ends.
//!
//! Frames are checked one by one. A group is written only once the group before it is durable, so an intact frame that begins
//! a group proves everything in front of it to have been durable. A frame that is not intact is therefore damage if the
//! beginning of a group or another segment follows: it is refused with its place, because to skip it would lose what
//! had been promised. Otherwise it is in the last group, and taken for an *unfinished end*: the previous process, or the
//! machine, stopped while the group was written. A power loss may keep any of its sectors, so intact frames of the same group
//! behind the broken one prove nothing. From the broken frame on, it is cut off.
//!
//! What has much behind it is only measured when a log is opened, so that a start takes no longer for a longer log: such a
//! segment was complete and durable when the next was begun. Whoever reads it checks every frame, and so does
//! `postrider log verify`.
//!
//! The last group may have become durable and have been damaged by the disk later. Nothing in the log can tell that from an
//! unfinished write; it is cut off as well, and reported like one.

use std::{io, sync::Arc};

use bytes::Bytes;
use postrider_core::Generation;

use crate::{
    Frame, LogError, LogIdentity, Lsn, Truncated,
    files::{LogFile, LogFiles},
    frame::codec::{self, Fault, HEADER_BYTES, InGroup, Stamp},
    limits::{OPEN_READ_BYTES, READ_BYTES},
    segment::{HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader, file_offset},
    start::LogStart,
    window::Window,
};

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The segments that have frames, ascending.
    pub(crate) bases: Vec<Lsn>,
    /// Where the next frame goes.
    pub(crate) end: Lsn,
    /// The next frame's number.
    pub(crate) sequence: u64,
    /// The newest generation that wrote here; 0 for none.
    pub(crate) generation: Generation,
    /// The unfinished end that was cut off.
    pub(crate) truncated: Option<Truncated>,
    /// Which log it is, if it has an identity.
    pub(crate) identity: Option<LogIdentity>,
}

/// Reads a whole log and cuts off an unfinished end. What is left is durable.
pub(crate) fn recover(files: &dyn LogFiles) -> Result<Recovered, LogError> {
    scan(files, Some(OPEN_READ_BYTES), &mut |_| ())
}

/// Reads a whole log and changes nothing: an unfinished end is only left out.
pub(crate) fn inspect(files: &dyn LogFiles) -> Result<Recovered, LogError> {
    scan(files, None, &mut |_| ())
}

/// The same, and shows everything that is intact, in order, also in front of damage.
pub(crate) fn survey(
    files: &dyn LogFiles,
    show: &mut dyn FnMut(Seen<'_>),
) -> Result<Recovered, LogError> {
    scan(files, None, show)
}

/// A part of a log that is intact.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// A segment begins.
    Segment { header: SegmentHeader, bytes: u64 },
    /// The next frame of it.
    Frame(&'a Frame),
}

/// With `open`, an unfinished end is cut off, and only about so many bytes at the end are read.
fn scan(
    files: &dyn LogFiles,
    open: Option<u64>,
    show: &mut dyn FnMut(Seen<'_>),
) -> Result<Recovered, LogError> {
    let mend = open.is_some();
    let bases = files.bases().map_err(|source| failed("list", files, Lsn::ZERO, source))?;
    // Read behind the list: beside a live process, the beginning may move meanwhile, and never back.
    let start = LogStart::read(files)?;
    let bases = needed(files, bases, start, mend)?;
    let mut scan = Scan {
        files,
        mend,
        show,
        trusts: false,
        found: Recovered {
            bases: Vec::new(),
            end: start.at,
            sequence: start.sequence,
            generation: Generation(0),
            truncated: None,
            identity: start.identity,
        },
    };
    let last = bases.len().saturating_sub(1);
    let read_from = open.map_or(0, |bytes| trusted(&bases, bytes));
    for (index, base) in bases.iter().copied().enumerate() {
        match bases.get(index + 1) {
            Some(next) if index < read_from => scan.trust(base, *next)?,
            _ => scan.segment(base, index == last)?,
        }
    }
    Ok(scan.found)
}

/// How many segments at the beginning are not read when a log is opened: those with more than `bytes` of frames behind them, but
/// never the last two. The last may have been begun and hold nothing, and then the end of the log is in the one before.
fn trusted(bases: &[Lsn], bytes: u64) -> usize {
    let last = bases.last().copied().unwrap_or_default();
    let old = bases.iter().skip(1).take_while(|next| last.0 - next.0 > bytes).count();
    old.min(bases.len().saturating_sub(2))
}

/// The segments that the log has to have. Those that a truncation left over are deleted, if anything may be changed.
fn needed(
    files: &dyn LogFiles,
    bases: Vec<Lsn>,
    start: LogStart,
    mend: bool,
) -> Result<Vec<Lsn>, LogError> {
    let (left_over, needed): (Vec<_>, Vec<_>) = bases.into_iter().partition(|b| *b < start.at);
    let found = match needed.first() {
        Some(first) if *first == start.at => None,
        None if start.at == Lsn::ZERO => None,
        Some(first) => Some(format!("its first segment begins at {first}")),
        None => Some("it has no segment from there on".to_owned()),
    };
    if let Some(found) = found {
        let path = files.start_path();
        return Err(LogError::BeginningMissing { start: start.at, found, path });
    }
    if mend {
        for base in left_over {
            files.remove(base).map_err(|source| failed("delete", files, base, source))?;
        }
    }
    Ok(needed)
}

fn failed(operation: &'static str, files: &dyn LogFiles, base: Lsn, source: io::Error) -> LogError {
    LogError::Files { operation, path: files.path(base), source }
}

/// Copies what a file seems to hold into a new one, which is made durable before it is read and believed. For two reasons.
///
/// The previous process may have died between its write and its fsync, or because the fsync failed. After that Linux
/// takes pages for clean that never reached the disk: they can be read until they are evicted, and a sync
/// alone would do nothing and succeed. Written again, they reach the disk or fail. Only the last segment can hold such pages,
/// since a segment is begun once the one before is durable.
///
/// And the previous process may be a stopped one that was taken over and writes on once it is resumed: into the file that it
/// has open, which has no name any more (`lock.rs`).
pub(crate) fn copy(from: &dyn LogFile, to: &dyn LogFile, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    while offset < size {
        let wanted = buffer.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        let filled = from.read_at(&mut buffer[..wanted], offset)?;
        if filled == 0 {
            break;
        }
        to.write_all_at(&buffer[..filled], offset)?;
        offset += filled as u64;
    }
    Ok(())
}

struct Scan<'a> {
    files: &'a dyn LogFiles,
    /// Whether an unfinished end is cut off.
    mend: bool,
    show: &'a mut dyn FnMut(Seen<'_>),
    /// Whether the segment before was not read, so that the number of the next frame is not known.
    trusts: bool,
    found: Recovered,
}

/// A segment file that is being scanned.
struct Scanned {
    base: Lsn,
    file: Arc<dyn LogFile>,
    size: u64,
    window: Window,
}

impl Scanned {
    fn get(&mut self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        self.window.get(&*self.file, offset, length, self.size)
    }
}

impl Scan<'_> {
    /// Steps over a segment that ends where the next one begins.
    fn trust(&mut self, base: Lsn, next: Lsn) -> Result<(), LogError> {
        let files = self.files;
        let failed = |operation| move |source| failed(operation, files, base, source);
        let file = files.open(base).map_err(failed("open"))?;
        let size = file.size().map_err(failed("measure"))?;
        let mut segment = Scanned { base, file, size, window: Window::default() };
        self.header(&mut segment, false)?;
        if size != file_offset(base, next) {
            let end = base.advance(size.saturating_sub(SEGMENT_HEADER_BYTES));
            let reason = format!("it ends at position {end}, and the next one begins at {next}");
            return Err(self.damaged(base, end, reason));
        }
        self.found.bases.push(base);
        self.found.end = next;
        self.trusts = true;
        Ok(())
    }

    fn segment(&mut self, base: Lsn, last: bool) -> Result<(), LogError> {
        let files = self.files;
        let failed = |operation| move |source| failed(operation, files, base, source);
        let mut file = files.open(base).map_err(failed("open"))?;
        let mut size = file.size().map_err(failed("measure"))?;
        if base != self.found.end {
            let reason = format!("the log before it ends at position {}", self.found.end);
            return Err(self.damaged(base, self.found.end.min(base), reason));
        }
        if last && self.mend {
            let copied = files.replace(base, &mut |new| copy(&*file, &**new, size));
            file = copied.map_err(failed("rewrite"))?;
            files.sync_names().map_err(failed("sync the directory of"))?;
            // A stopped process that was resumed meanwhile may have cut its own.
            size = file.size().map_err(failed("measure"))?;
        }
        let mut segment = Scanned { base, file, size, window: Window::default() };
        if !self.header(&mut segment, last)? {
            return Ok(());
        }
        while file_offset(base, self.found.end) < size {
            if !self.frame(&mut segment)? {
                self.cut(&mut segment, last)?;
                break;
            }
        }
        if self.found.end > base {
            self.found.bases.push(base);
        }
        Ok(())
    }

    /// Checks the header; `false` if the segment was never finished being created.
    fn header(&mut self, segment: &mut Scanned, last: bool) -> Result<bool, LogError> {
        let base = segment.base;
        let bytes = segment
            .get(0, SEGMENT_HEADER_BYTES as usize)
            .map_err(|source| failed("read", self.files, base, source))?;
        let header = bytes.and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok());
        let fault = match header.map(SegmentHeader::decode) {
            Some(Ok(header)) if header.base == base => {
                if header.generation < self.found.generation {
                    "its generation is older than that of the segment before it".to_owned()
                } else {
                    self.found.generation = header.generation;
                    (self.show)(Seen::Segment { header, bytes: segment.size });
                    return Ok(true);
                }
            }
            Some(Ok(header)) => format!("it is the segment of position {}, renamed", header.base),
            Some(Err(HeaderFault::TooNew(version))) => {
                let reason = format!("segment version {version}");
                return Err(LogError::TooNew { path: self.files.path(base), offset: 0, reason });
            }
            _ if last && segment.size <= SEGMENT_HEADER_BYTES => return Ok(false),
            _ => "the header of the file is not intact".to_owned(),
        };
        let path = self.files.path(base);
        Err(LogError::Damaged { at: base, path, offset: 0, reason: fault })
    }

    /// Checks the next frame and steps over it; `false` if it is not intact.
    fn frame(&mut self, segment: &mut Scanned) -> Result<bool, LogError> {
        let at = self.found.end;
        let frame = match self.read(segment, at)? {
            Some(Ok(frame)) => frame,
            Some(Err(Fault::TooNew(reason))) => {
                let (path, offset) = (self.files.path(segment.base), file_offset(segment.base, at));
                return Err(LogError::TooNew { path, offset, reason });
            }
            None | Some(Err(_)) => return Ok(false),
        };
        if std::mem::take(&mut self.trusts) {
            self.found.sequence = frame.sequence;
        }
        if frame.sequence != self.found.sequence {
            let (expected, found) = (self.found.sequence, frame.sequence);
            let reason = format!("frame {expected} is missing, frame {found} is here");
            return Err(self.damaged(segment.base, at, reason));
        }
        if frame.generation != self.found.generation {
            let reason = format!("it is of generation {}, unlike its segment", frame.generation.0);
            return Err(self.damaged(segment.base, at, reason));
        }
        self.found.sequence = frame.sequence + 1;
        self.found.end = frame.end;
        (self.show)(Seen::Frame(&frame));
        Ok(true)
    }

    /// The frame at a position, or why it is none; `None` if the file is too short for it.
    fn read(
        &self,
        segment: &mut Scanned,
        at: Lsn,
    ) -> Result<Option<Result<Frame, Fault>>, LogError> {
        let offset = file_offset(segment.base, at);
        let base = segment.base;
        let failed = |source| failed("read", self.files, base, source);
        let Some(header) = segment.get(offset, HEADER_BYTES).map_err(failed)? else {
            return Ok(None);
        };
        let size = match codec::size(&header) {
            Ok(size) => size,
            Err(fault) => return Ok(Some(Err(fault))),
        };
        let bytes = segment.get(offset, size).map_err(failed)?;
        Ok(bytes.map(|bytes| codec::decode(at, &bytes)))
    }

    /// Cuts off the unfinished end, or says that it is none.
    fn cut(&mut self, segment: &mut Scanned, last: bool) -> Result<(), LogError> {
        let at = self.found.end;
        if !last {
            let reason = "this frame is not intact, and another segment follows".to_owned();
            return Err(self.damaged(segment.base, at, reason));
        }
        if let Some(intact) = self.group_behind(segment, at)? {
            let reason = format!("this frame is not intact, and frame {intact} behind it is");
            return Err(self.damaged(segment.base, at, reason));
        }
        let offset = file_offset(segment.base, at);
        if self.mend {
            let file = &segment.file;
            file.truncate(offset)
                .and_then(|()| file.sync())
                .map_err(|source| failed("cut", self.files, segment.base, source))?;
        }
        self.found.truncated = Some(Truncated { at, bytes: segment.size - offset });
        Ok(())
    }

    /// The number of an intact frame that begins a group behind a broken frame. Its place is not known, since the
    /// broken length can't be trusted, so every byte is tried.
    fn group_behind(&self, segment: &mut Scanned, at: Lsn) -> Result<Option<u64>, LogError> {
        let sequence = self.found.sequence;
        let after = Stamp { generation: self.found.generation, sequence };
        let mut place = at.advance(1);
        loop {
            let offset = file_offset(segment.base, place);
            let header = segment
                .get(offset, HEADER_BYTES)
                .map_err(|source| failed("read", self.files, segment.base, source))?;
            let Some(header) = header else { return Ok(None) };
            if codec::may_follow(&header, after)
                && codec::in_group(&header) == InGroup::First
                && let Some(Ok(frame)) = self.read(segment, place)?
            {
                return Ok(Some(frame.sequence));
            }
            place = place.advance(1);
        }
    }

    fn damaged(&self, base: Lsn, at: Lsn, reason: String) -> LogError {
        let offset = if at < base { 0 } else { file_offset(base, at) };
        LogError::Damaged { at, path: self.files.path(base), offset, reason }
    }
}

#[cfg(test)]
mod tests;
