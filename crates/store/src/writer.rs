//! The one writer: encodes groups of frames, writes and syncs them, and publishes the durable end.
//!
//! Around each group it looks at the fence (`lock.rs`): before it writes, so that a process that was taken over appends
//! nothing, and after the fsync, so that nothing is promised that the successor may not have read.
//!
//! A full disk is found by taking room before a write, or by the write. Then the file is cut back to its durable end, and
//! the same place is written again later: nothing behind it was promised, and nothing in front of it was touched. A full disk that
//! an fsync reports is like any other failed fsync: what the file holds can't be known any more.

mod room;

use std::{io, path::PathBuf, sync::Arc};

use self::room::Room;
use crate::{
    Appended, Failpoint, LogError, Lsn, NewFrame,
    durable::Announce,
    failpoint,
    files::{LogFile, LogFiles, is_disk_full},
    frame::codec::{self, InGroup, Stamp},
    limits::GROUP_BYTES_MAX,
    lock::Fence,
    recovery::Recovered,
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, file_offset},
    shared::Shared,
};

/// The end of the log, as its writer has it.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    announce: Announce,
    segment_bytes: u64,
    next: Stamp,
    base: Lsn,
    file: Arc<dyn LogFile>,
    room: Room,
    /// The file of the next segment, which was created and has no header yet because the disk was full.
    begun: Option<Arc<dyn LogFile>>,
    /// The end of what is durable, and the number of the next frame there.
    durable: Lsn,
    durable_sequence: u64,
    /// Encoded frames that follow it.
    group: Vec<u8>,
}

/// Why a group is not durable.
#[derive(Debug)]
pub(crate) enum NotDurable {
    /// There is no room for it in this file. The group is forgotten; the writer can be used again.
    DiskFull(PathBuf),
    /// The log has ended, for a reason that is recorded for everyone. The writer must not be used again.
    Ended,
}

impl Writer {
    /// Goes on behind what was recovered, in a segment of its own.
    pub(crate) fn open(
        files: Arc<dyn LogFiles>,
        recovered: Recovered,
        next: Stamp,
        segment_bytes: u64,
        fence: Option<Arc<Fence>>,
    ) -> Result<Self, LogError> {
        let base = recovered.end;
        let header = SegmentHeader { base, generation: next.generation }.encode();
        let failed = |operation| {
            let path = files.path(base);
            move |source| LogError::Files { operation, path, source }
        };
        // An unfinished one of this name may be there, and its maker may be a stopped process that still has it.
        let file = files
            .replace(base, &mut |file| file.write_all_at(&header, 0))
            .map_err(failed("create"))?;
        files.sync_names().map_err(failed("sync the directory of"))?;
        let (shared, announce) = Shared::new(files, next.generation, recovered, fence);
        shared.add_segment(base);
        Ok(Self {
            shared: Arc::new(shared),
            announce,
            segment_bytes,
            next,
            base,
            file,
            room: Room::default(),
            begun: None,
            durable: base,
            durable_sequence: next.sequence,
            group: Vec::new(),
        })
    }

    /// What is published.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Adds frames to the group.
    pub(crate) fn add(&mut self, frames: &[NewFrame]) -> Appended {
        let first = self.end();
        for frame in frames {
            let place = if self.group.is_empty() { InGroup::First } else { InGroup::Later };
            codec::encode(frame, self.next, place, &mut self.group);
            self.next.sequence += 1;
        }
        Appended { first, end: self.end() }
    }

    /// Whether the group should be committed before anything else is added.
    pub(crate) fn is_full(&self) -> bool {
        self.group.len() >= GROUP_BYTES_MAX || self.segment_is_full()
    }

    /// Makes the group durable and publishes that. Without room for it, the group is gone and may be added again.
    pub(crate) fn commit(&mut self) -> Result<(), NotDurable> {
        if self.group.is_empty() {
            return Ok(());
        }
        let written = self.write();
        self.forget_group();
        written.map_err(|failed| match failed {
            Failed::DiskFull(base) => NotDurable::DiskFull(self.shared.files.path(base)),
            Failed::Ended => self.leave_alone(),
            Failed::Io { operation, base, source } => {
                // If it is another process that was in the way, that is the reason.
                if self.shared.check_fence().is_ok() {
                    let path = self.shared.files.path(base);
                    self.shared.fail(&format!("can't {operation} {}: {source}", path.display()));
                }
                self.leave_alone()
            }
        })
    }

    /// What a file holds that failed, or that may be another process's, is for recovery to find out.
    fn leave_alone(&mut self) -> NotDurable {
        self.room = Room::default();
        NotDurable::Ended
    }

    /// Gives back room that was taken ahead. Comes when nothing more will be written.
    pub(crate) fn finish(&mut self) {
        self.room.give_back(&*self.file, file_offset(self.base, self.durable));
    }

    fn write(&mut self) -> Result<(), Failed> {
        self.look_at_fence()?;
        // A new segment is begun only when there is something to put into it.
        if file_offset(self.base, self.durable) >= self.segment_bytes && self.durable > self.base {
            self.begin_segment()?;
        }
        let (base, offset) = (self.base, file_offset(self.base, self.durable));
        failpoint::pass(Failpoint::GroupBeforeWrite);
        let reserved = self.room.take(&*self.file, offset, self.group.len() as u64);
        if let Err(source) = reserved.and_then(|()| self.file.write_all_at(&self.group, offset)) {
            return Err(self.cut_back(offset, source));
        }
        failpoint::pass(Failpoint::GroupWritten);
        self.file.sync().map_err(io_failed("sync", base))?;
        failpoint::pass(Failpoint::GroupSynced);
        self.look_at_fence()?;
        self.durable = self.end();
        self.durable_sequence = self.next.sequence;
        self.shared.set_durable(self.durable, &self.announce);
        Ok(())
    }

    /// Whether this process still has the log.
    fn look_at_fence(&self) -> Result<(), Failed> {
        self.shared.check_fence().map_err(|_| Failed::Ended)
    }

    /// Takes back what a write left on a full disk. A cut needs no room.
    fn cut_back(&mut self, offset: u64, source: io::Error) -> Failed {
        let base = self.base;
        if !is_disk_full(&source) {
            return Failed::Io { operation: "write", base, source };
        }
        self.room = Room::default();
        match self.file.truncate(offset) {
            Ok(()) => Failed::DiskFull(base),
            Err(source) => Failed::Io { operation: "cut", base, source },
        }
    }

    /// Goes on in a new segment file that survives a crash.
    fn begin_segment(&mut self) -> Result<(), Failed> {
        let base = self.durable;
        let no_room = |operation| {
            move |source: io::Error| {
                if is_disk_full(&source) {
                    Failed::DiskFull(base)
                } else {
                    Failed::Io { operation, base, source }
                }
            }
        };
        let files = Arc::clone(&self.shared.files);
        let file = match self.begun.take() {
            Some(begun) => begun,
            None => files.create(base).map_err(no_room("create"))?,
        };
        let header = SegmentHeader { base, generation: self.next.generation }.encode();
        let reserved = file.reserve(0, SEGMENT_HEADER_BYTES);
        if let Err(source) = reserved.and_then(|()| file.write_all_at(&header, 0)) {
            // The next try goes on with it: to remove a file by its name would be no safe thing for a fenced process.
            self.begun = Some(file);
            return Err(no_room("write")(source));
        }
        file.sync().map_err(io_failed("sync", base))?;
        files.sync_names().map_err(io_failed("sync the directory of", base))?;
        failpoint::pass(Failpoint::SegmentBegun);
        self.finish();
        (self.base, self.file, self.room) = (base, file, Room::default());
        self.shared.add_segment(base);
        Ok(())
    }

    fn forget_group(&mut self) {
        self.group.clear();
        // One huge batch must not hold its memory for ever.
        self.group.shrink_to(2 * GROUP_BYTES_MAX);
        self.next.sequence = self.durable_sequence;
    }

    fn end(&self) -> Lsn {
        self.durable.advance(self.group.len() as u64)
    }

    fn segment_is_full(&self) -> bool {
        let begun = file_offset(self.base, self.durable);
        let kept = if begun >= self.segment_bytes { 0 } else { begun };
        kept + self.group.len() as u64 >= self.segment_bytes
    }
}

enum Failed {
    /// There is no room in the segment of this base.
    DiskFull(Lsn),
    /// What was tried with which segment, and what the operating system said.
    Io { operation: &'static str, base: Lsn, source: io::Error },
    /// The log ended for a reason that is recorded.
    Ended,
}

fn io_failed(operation: &'static str, base: Lsn) -> impl FnOnce(io::Error) -> Failed {
    move |source| Failed::Io { operation, base, source }
}
