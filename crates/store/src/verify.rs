//! Reading a whole log to find out whether it is intact, without taking it over.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use postrider_core::Generation;

use crate::{
    FrameKind, LogError, Lsn, Truncated,
    files::{DiskFiles, LogFiles},
    lock,
    recovery::{Seen, survey},
};

/// What a log holds in front of damage, if there is any.
#[derive(Debug)]
pub struct LogReport {
    /// The segments that begin intact, ascending.
    pub segments: Vec<SegmentReport>,
    /// The first frame.
    pub start: Lsn,
    /// Behind the last intact frame in front of damage.
    pub end: Lsn,
    /// An unfinished end. While another process writes, it is its next group; otherwise the next start cuts it off.
    pub unfinished: Option<Truncated>,
    /// What is wrong, and where: [`LogError::Damaged`].
    pub damage: Option<LogError>,
    /// Who is writing to the log, if somebody is: only what was durable by then is looked at.
    pub writer: Option<String>,
}

/// One segment file.
#[derive(Debug)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The process that wrote it.
    pub generation: Generation,
    /// How many intact frames of which kind it has.
    pub frames: BTreeMap<FrameKind, u64>,
}

/// Reads every frame of a directory's log and changes nothing.
///
/// # Errors
/// When its files can't be read, or were written by a later version. Damage is part of the report.
pub fn verify(dir: &Path) -> Result<LogReport, LogError> {
    let writer = writer(dir)?;
    let files = DiskFiles::new(dir.to_owned());
    let (mut segments, mut end) = (Vec::<SegmentReport>::new(), None);
    let found = survey(&files, &mut |seen| match seen {
        Seen::Segment { header, bytes } => {
            end.get_or_insert(header.base);
            let path = files.path(header.base);
            let (generation, frames) = (header.generation, BTreeMap::new());
            segments.push(SegmentReport { path, bytes, generation, frames });
        }
        Seen::Frame(frame) => {
            end = Some(frame.end);
            if let Some(segment) = segments.last_mut() {
                *segment.frames.entry(frame.kind).or_default() += 1;
            }
        }
    });
    let (unfinished, damage) = match found {
        Ok(found) => (found.truncated, None),
        Err(damage @ LogError::Damaged { .. }) => (None, Some(damage)),
        Err(error) => return Err(error),
    };
    let bases = files.bases().map_err(|source| LogError::Files {
        operation: "list",
        path: dir.to_owned(),
        source,
    })?;
    let start = bases.first().copied().unwrap_or_default();
    Ok(LogReport { segments, start, end: end.unwrap_or(start), unfinished, damage, writer })
}

/// Who has the log. The look itself is shared and takes no time, so it hinders nobody.
fn writer(dir: &Path) -> Result<Option<String>, LogError> {
    let path = dir.join(lock::LOCK);
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(lock::holder(&path))),
        Err(TryLockError::Error(source)) => {
            Err(LogError::Files { operation: "look at the lock of", path, source })
        }
    }
}
