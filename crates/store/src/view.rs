//! Snapshots of views: what is folded from the log, written down as of a place in it, so that a restart reads only what
//! follows and the log before may be deleted.
//!
//! Nouns: *view* (a fold over the log, such as the outbox), *snapshot* (its state as of a position: every frame before is
//! in it, no frame from there on has to be), *chunk* (a message of bounded size; a snapshot is a list of them).
//!
//! Invariants:
//! - A snapshot is whole or not there: it gets its name once all of it is durable.
//! - The newest two of a view are kept, so that one that the disk damaged is passed over.
//! - A snapshot is used only where the log still has what follows it, and only if it is of this log.
//!
//! A snapshot may know frames behind its position, where its view is the same if they are applied again.

mod codec;
mod disk;
mod error;
#[cfg(test)]
pub(crate) mod faulty;
mod files;
mod memory;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use self::codec::Header;
pub use self::files::{NewSnapshot, ViewFiles};
pub use self::{
    codec::{SnapshotReader, SnapshotWriter},
    error::ViewError,
};
pub(crate) use self::{disk::DiskViews, memory::MemoryViews};
use crate::{
    LogError, LogReader, Lsn,
    failpoint::{self, Failpoint},
    limits::SNAPSHOTS_KEPT,
};

/// A view, and how its snapshots are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The name of its folder.
    pub name: &'static str,
    /// The version of its chunks. Snapshots of other versions are passed over.
    pub version: u32,
}

/// What was found of a view.
#[derive(Debug)]
pub struct Restored<T> {
    /// The view, and the position from which on frames have to be applied; `None` if there is no snapshot.
    pub found: Option<(T, Lsn)>,
    /// Newer snapshots that can't be used, and why: worth a warning.
    pub passed_over: Vec<String>,
}

/// The snapshots that belong to a log. Clones share them.
#[derive(Debug, Clone)]
pub struct Views {
    files: Arc<dyn ViewFiles>,
    /// Held while one is written.
    writing: Arc<Mutex<()>>,
}

impl Views {
    pub(crate) fn new(files: Arc<dyn ViewFiles>) -> Self {
        Self { files, writing: Arc::default() }
    }

    /// Writes a snapshot as of `at`, with what `fill` puts into it, and deletes those that it makes superfluous.
    /// `sequence` is the number of the frame at `at`, if it is known. Returns the bytes of the snapshot. Blocks.
    ///
    /// # Errors
    /// When it can't be written; then nothing has changed.
    pub fn save(
        &self,
        view: View,
        at: Lsn,
        sequence: Option<u64>,
        fill: impl FnOnce(&mut SnapshotWriter) -> Result<(), ViewError>,
    ) -> Result<u64, ViewError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.files.path(view.name, at);
        let failed = |operation| {
            let path = path.clone();
            move |source| ViewError::Files { operation, path, source }
        };
        let file = self.files.create(view.name, at).map_err(failed("create"))?;
        let header = Header { version: view.version, at, sequence };
        let mut writer = SnapshotWriter::new(file, path.clone(), header)?;
        fill(&mut writer)?;
        let (file, bytes) = writer.finish()?;
        failpoint::pass(Failpoint::SnapshotWritten);
        file.publish().map_err(failed("finish"))?;
        failpoint::pass(Failpoint::SnapshotPublished);
        // It is there, so nothing is wrong if the old ones could not be deleted: the next one deletes them.
        self.delete_old(view, at).ok();
        Ok(bytes)
    }

    /// Keeps the newest ones up to `newest`. Those behind it are of a log that was not this one.
    fn delete_old(&self, view: View, newest: Lsn) -> io::Result<()> {
        let places = self.files.list(view.name)?;
        let known = places.iter().filter(|at| **at <= newest).count();
        let old = places.iter().take(known.saturating_sub(SNAPSHOTS_KEPT));
        for at in places.iter().skip(known).chain(old) {
            self.files.remove(view.name, *at)?;
        }
        Ok(())
    }

    /// The positions of a view's snapshots, ascending.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn kept(&self, view: View) -> Result<Vec<Lsn>, ViewError> {
        self.files.list(view.name).map_err(|source| {
            let path = self.files.path(view.name, Lsn::ZERO);
            ViewError::Files { operation: "list the folder of", path, source }
        })
    }

    /// Reads the newest snapshot that can be used with the log of `reader`. Blocks.
    ///
    /// # Errors
    /// When there are snapshots, none can be used, and the log does not have everything since its beginning.
    pub fn restore<T>(
        &self,
        view: View,
        reader: &LogReader,
        mut read: impl FnMut(&mut SnapshotReader) -> Result<T, ViewError>,
    ) -> Result<Restored<T>, ViewError> {
        let mut passed_over = Vec::new();
        // Beside a live process, snapshots come and go between the list and the look.
        for _ in 0..SNAPSHOTS_KEPT {
            let mut gone = false;
            for at in self.kept(view)?.into_iter().rev() {
                match self.read(view, at, reader, &mut read) {
                    Ok(found) => return Ok(Restored { found: Some((found, at)), passed_over }),
                    Err(ViewError::Files { source, .. })
                        if source.kind() == io::ErrorKind::NotFound =>
                    {
                        gone = true;
                    }
                    Err(error) => passed_over.push(error.to_string()),
                }
            }
            if !gone {
                break;
            }
            passed_over.clear();
        }
        if reader.start() > Lsn::ZERO && !passed_over.is_empty() {
            return Err(self.missing(view, reader.start(), &passed_over));
        }
        Ok(Restored { found: None, passed_over })
    }

    /// The error of a view that needs a snapshot and has none.
    pub(crate) fn missing(&self, view: View, start: Lsn, passed_over: &[String]) -> ViewError {
        let folder = self.files.path(view.name, Lsn::ZERO);
        let folder = folder.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
        let why = match passed_over {
            [] => "there is none".to_owned(),
            reasons => reasons.join("; "),
        };
        ViewError::Missing { view: view.name, start, folder, why }
    }

    fn read<T>(
        &self,
        view: View,
        at: Lsn,
        reader: &LogReader,
        read: &mut impl FnMut(&mut SnapshotReader) -> Result<T, ViewError>,
    ) -> Result<T, ViewError> {
        let path = self.files.path(view.name, at);
        let file = self.files.open(view.name, at).map_err(|source| ViewError::Files {
            operation: "open",
            path: path.clone(),
            source,
        })?;
        let (mut snapshot, header) = SnapshotReader::open(file, path.clone())?;
        let unfit = |reason: String| ViewError::Unfit { path: path.clone(), reason };
        if header.version != view.version {
            let reason = format!("it is of version {}, not {}", header.version, view.version);
            return Err(unfit(reason));
        }
        if header.at != at {
            return Err(unfit(format!("it is the snapshot of position {}, renamed", header.at)));
        }
        follows(reader, &header).map_err(unfit)?;
        let found = read(&mut snapshot)?;
        snapshot.end()?;
        Ok(found)
    }
}

/// Whether the log goes on behind this snapshot.
fn follows(log: &LogReader, snapshot: &Header) -> Result<(), String> {
    let at = snapshot.at;
    if at < log.start() {
        return Err(format!("the log begins at position {}, behind it", log.start()));
    }
    if at > log.end() {
        return Err(format!("the log ends at position {}, before it", log.end()));
    }
    match log.beginning_at(at).next_frame() {
        Ok(None) => Ok(()),
        Ok(Some(frame)) if snapshot.sequence.is_none_or(|number| number == frame.sequence) => {
            Ok(())
        }
        Ok(Some(_)) | Err(LogError::Damaged { .. }) => {
            Err("it was not made of this log".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
impl Views {
    /// Reads a snapshot without a log that it has to belong to.
    pub(crate) fn read_alone<T>(
        &self,
        view: View,
        at: Lsn,
        read: impl FnOnce(&mut SnapshotReader) -> Result<T, ViewError>,
    ) -> Result<T, ViewError> {
        let file = self.files.open(view.name, at).unwrap();
        let (mut snapshot, _) = SnapshotReader::open(file, self.files.path(view.name, at))?;
        let found = read(&mut snapshot)?;
        snapshot.end()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
