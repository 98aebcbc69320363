//! Giving up the part of a log that is damaged, and everything behind it.
//!
//! A frame can't be left out of a log: sequence numbers have no gap, positions are offsets, and an epoch that is sealed
//! behind a lost event was computed with it. So the log is *cut* at the damage, and all that follows is forgotten: events that were
//! confirmed, epochs that were sealed, and what became of sends. What is forgotten is counted first, as far as it can still be
//! read, and nobody decides that but a person.
//!
//! To forget an intent means to mail again: an epoch that is computed anew has the same sends, whose ids depend on the recipient
//! and the dedupe key, not on the epoch. An intent can't be kept either, since it belongs to a sealed trigger row,
//! and that seal is behind the cut. So their ids go into the new end of the log by themselves ([`crate::RememberedRecord`]): such
//! a send counts as a duplicate of one that may have arrived. Ids in bytes that can't be read are lost.
//!
//! Nothing is deleted: the files stay as `NAME.log.damaged`. The ids come first, in a new segment at the cut; then later segments
//! are set aside, from the last one on; the damaged one is cut last. So a crash in between leaves a log that is damaged, or
//! one that is whole and knows all ids. Files of an earlier try are read for ids as well.

mod behind;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
};

use bytes::Bytes;
use postrider_core::{Generation, SubjectId, WorkspaceId};

pub use self::behind::Forgotten;
use crate::{
    FrameKind, LogError, Lsn, NewFrame,
    files::{DiskFiles, LogFiles},
    frame::codec::{self, InGroup, Stamp},
    limits::LEASE_DEFAULT,
    lock::DirectoryLock,
    recovery::{Seen, copy, survey},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, file_offset},
};

/// A damaged log that nobody else can use meanwhile.
#[derive(Debug)]
pub struct LogRepair {
    lock: DirectoryLock,
    dir: PathBuf,
    files: DiskFiles,
    damage: LogError,
    /// Behind the last intact frame.
    end: Lsn,
    /// The number of the next one, and who wrote the last.
    sequence: u64,
    generation: Generation,
    forgotten: Forgotten,
}

/// A log that was cut.
#[derive(Debug)]
pub struct Repaired {
    /// The files as they were.
    pub kept: Vec<PathBuf>,
    /// How many sends are remembered, so that they are not repeated.
    pub remembered: u64,
}

impl LogRepair {
    /// Looks at a log, and changes nothing; `None` if it is intact.
    ///
    /// # Errors
    /// When another process has it, or its files can't be read or are of a later version.
    pub fn begin(dir: &Path) -> Result<Option<Self>, LogError> {
        let lock = DirectoryLock::take(dir, LEASE_DEFAULT, thread::sleep)?;
        let files = DiskFiles::new(dir.to_owned());
        let bases = files.bases().map_err(failed("list", dir))?;
        let mut end = bases.first().copied().unwrap_or_default();
        let (mut sequence, mut generation) = (0, Generation(0));
        let found = survey(&files, &mut |seen| {
            if let Seen::Frame(frame) = seen {
                (end, sequence, generation) = (frame.end, frame.sequence + 1, frame.generation);
            }
        });
        match found {
            Ok(_) => Ok(None),
            Err(damage @ LogError::Damaged { .. }) => {
                let forgotten =
                    read_behind(&files, dir, &bases, end).map_err(failed("read", dir))?;
                let dir = dir.to_owned();
                Ok(Some(Self { lock, dir, files, damage, end, sequence, generation, forgotten }))
            }
            Err(error) => Err(error),
        }
    }

    /// What is wrong, and where.
    pub const fn damage(&self) -> &LogError {
        &self.damage
    }

    /// What [`LogRepair::drop_damaged`] makes the log forget, as far as it can be read.
    pub const fn forgotten(&self) -> &Forgotten {
        &self.forgotten
    }

    /// Cuts the log behind its last frame in front of the damage, and remembers the sends that were begun behind it.
    ///
    /// # Errors
    /// When a file can't be written; the log is as damaged as before, and the repair can be tried again.
    pub fn drop_damaged(self) -> Result<Repaired, LogError> {
        let bases = self.files.bases().map_err(failed("list", &self.dir))?;
        let mut kept = Vec::new();
        if bases.contains(&self.end) {
            kept.push(keep(&self.files.path(self.end))?);
        }
        self.remember()?;
        for base in bases.iter().rev().filter(|base| **base > self.end) {
            let path = self.files.path(*base);
            let aside = unused(&path);
            fs::rename(&path, &aside).map_err(failed("rename", &path))?;
            self.files.sync_names().map_err(failed("sync", &self.dir))?;
            kept.push(aside);
        }
        if let Some(base) = bases.iter().rfind(|base| **base < self.end) {
            kept.extend(self.cut(*base)?);
        }
        kept.sort();
        drop(self.lock);
        Ok(Repaired { kept, remembered: self.forgotten.sends() })
    }

    /// Puts a new segment behind the last good frame, in place of a damaged one if there is one.
    fn remember(&self) -> Result<(), LogError> {
        let path = self.files.path(self.end);
        let generation = Generation(self.forgotten.newest_generation.max(self.generation.0) + 1);
        let mut bytes = SegmentHeader { base: self.end, generation }.encode().to_vec();
        let opened = NewFrame {
            kind: FrameKind::Opened,
            workspace: WorkspaceId::DEFAULT,
            subject: SubjectId::NONE,
            payload: Bytes::new(),
        };
        let frames = std::iter::once(opened).chain(self.forgotten.remembered());
        for (frame, sequence) in frames.zip(self.sequence..) {
            let place = if sequence == self.sequence { InGroup::First } else { InGroup::Later };
            codec::encode(&frame, Stamp { generation, sequence }, place, &mut bytes);
        }
        self.files
            .replace(self.end, &mut |file| file.write_all_at(&bytes, 0))
            .map(drop)
            .and_then(|()| self.files.sync_names())
            .map_err(failed("write", &path))
    }

    /// Cuts a segment behind its last good frame, and keeps a copy if there was more.
    fn cut(&self, base: Lsn) -> Result<Option<PathBuf>, LogError> {
        let path = self.files.path(base);
        let at = || failed("cut", &path);
        let (file, offset) = (self.files.open(base).map_err(at())?, file_offset(base, self.end));
        if file.size().map_err(at())? <= offset {
            return Ok(None);
        }
        let aside = keep(&path)?;
        self.files
            .replace(base, &mut |new| copy(&*file, &**new, offset))
            .and_then(|_| self.files.sync_names())
            .map_err(at())?;
        Ok(Some(aside))
    }
}

/// Keeps a copy of a file that is about to be replaced.
fn keep(path: &Path) -> Result<PathBuf, LogError> {
    let aside = unused(path);
    fs::copy(path, &aside)
        .and_then(|_| File::open(&aside)?.sync_all())
        .map_err(failed("copy", path))?;
    Ok(aside)
}

/// Reads everything from `end` on, and what earlier tries have set aside.
fn read_behind(files: &DiskFiles, dir: &Path, bases: &[Lsn], end: Lsn) -> io::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    let behind = bases.partition_point(|base| *base < end).saturating_sub(1);
    for base in &bases[behind..] {
        let offset = if *base < end { file_offset(*base, end) } else { SEGMENT_HEADER_BYTES };
        forgotten.read(&files.path(*base), offset)?;
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains(ASIDE) {
            forgotten.read_kept(&path)?;
        }
    }
    Ok(forgotten)
}

/// What the names of files have that were set aside.
const ASIDE: &str = ".log.damaged";

/// A name that no earlier repair has used.
fn unused(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let ending = if number == 1 { String::new() } else { format!(".{number}") };
        path.with_extension(format!("log.damaged{ending}"))
    };
    (1..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError + use<> {
    let path = path.to_owned();
    move |source| LogError::Files { operation, path, source }
}

#[cfg(test)]
mod tests;
