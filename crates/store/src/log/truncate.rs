//! Deleting the beginning of a log, once everything in it is in checkpoints and snapshots.
//!
//! Whole segments go, the oldest first. Before that, where the log begins from now on is made durable: whatever a crash leaves
//! of the segments before it, the next process takes for left over and deletes. So the order in which a file system makes
//! deletions durable does not matter, and a segment that is missing for another reason is still noticed.

use std::sync::PoisonError;

use super::Log;
use crate::{
    LogError, LogReader, Lsn,
    failpoint::{self, Failpoint},
    shared::Shared,
    start::LogStart,
};

/// A part of the log, and how old it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The place of its first frame.
    pub base: Lsn,
    /// Behind its last durable frame.
    pub end: Lsn,
    /// When it was last written to (wall clock, ns): no frame in it is younger. `None` if that is not known.
    pub written_at: Option<i64>,
}

/// What deleting the beginning of a log came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortened {
    /// Where the log begins now.
    pub start: Lsn,
    /// How many segments were deleted.
    pub segments: usize,
    /// How many bytes of frames were in them.
    pub bytes: u64,
}

impl Log {
    /// The segments that have durable frames, oldest first.
    ///
    /// # Errors
    /// When the age of one can't be found out.
    pub fn segments(&self) -> Result<Vec<Segment>, LogError> {
        segments(&self.handle.shared)
    }

    /// Deletes the segments that are entirely before `at`; the newest one never. Readers in one of them go on to its end.
    /// Blocks. The caller knows that nothing needs what is deleted; see [`crate::truncation_point`].
    ///
    /// # Errors
    /// When the log is closed or dead, or files can't be changed: then some of the segments may be gone, and the log begins
    /// where [`Log::start`] says.
    pub fn truncate_before(&self, at: Lsn) -> Result<Shortened, LogError> {
        let shared = &self.handle.shared;
        let _truncating = shared.truncating.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind its end the directory may be another process's.
        if shared.watch().has_changed().is_err() {
            return Err(shared.why_ended());
        }
        let before = shared.start();
        let durable = shared.durable();
        let bases = shared.bases();
        let start = bases.iter().rev().find(|base| **base <= at && **base < durable);
        let Some(start) = start.copied().filter(|start| *start > before) else {
            return Ok(Shortened { start: before, segments: 0, bytes: 0 });
        };
        let first = LogReader::new(shared.clone(), start).next_frame()?;
        let sequence = first.map(|frame| frame.sequence).ok_or_else(|| shared.why_ended())?;
        // A successor may have moved the beginning further already.
        shared.check_fence()?;
        LogStart { at: start, sequence, identity: shared.identity }.write(&*shared.files)?;
        failpoint::pass(Failpoint::StartWritten);
        shared.begin_at(start);
        // Also those that an earlier call could not delete.
        let left = shared.files.bases().map_err(failed("list", shared, start))?;
        let old: Vec<_> = left.into_iter().filter(|base| *base < start).collect();
        for base in &old {
            shared.files.remove(*base).map_err(failed("delete", shared, *base))?;
            failpoint::pass(Failpoint::SegmentDeleted);
        }
        shared.files.sync_names().map_err(failed("sync the directory of", shared, start))?;
        Ok(Shortened { start, segments: old.len(), bytes: start.0 - before.0 })
    }
}

fn segments(shared: &Shared) -> Result<Vec<Segment>, LogError> {
    let durable = shared.durable();
    let bases: Vec<_> = shared.bases().into_iter().filter(|base| *base < durable).collect();
    let ends = bases.iter().skip(1).copied().chain([durable]);
    let segment = |(base, end): (&Lsn, Lsn)| {
        let written_at =
            shared.files.written_at(*base).map_err(failed("look at", shared, *base))?;
        Ok(Segment { base: *base, end, written_at })
    };
    bases.iter().zip(ends).map(segment).collect()
}

fn failed(
    operation: &'static str,
    shared: &Shared,
    base: Lsn,
) -> impl FnOnce(std::io::Error) -> LogError {
    let path = shared.files.path(base);
    move |source| LogError::Files { operation, path, source }
}

#[cfg(test)]
mod tests;
