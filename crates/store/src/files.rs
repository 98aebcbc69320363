//! The seam between the log and where its bytes are: a directory of segment files, real or in memory.

mod disk;
#[cfg(test)]
pub(crate) mod faulty;
mod memory;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod page_cache;

use std::{fmt, io, path::PathBuf, sync::Arc};

use crate::{
    Lsn,
    view::{MemoryViews, ViewFiles},
};

pub(crate) use disk::{DiskFiles, create_dir};
pub use memory::MemoryDisk;
pub(crate) use memory::MemoryFiles;

/// One segment file.
///
/// Contract: `write_all_at` may be lost until a `sync` that began after it has returned without error.
/// After an error of either, what the file holds is unknown until it is opened by another process.
/// Reads run beside writes; the caller reads only what was synced.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// The file's size.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file to `size`.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Makes the content, and the size, durable.
    fn sync(&self) -> io::Result<()>;
    /// Takes room on the disk for `bytes` from `offset` on, where that can be done, so that a full disk is found
    /// before a write. The size stays, and a cut gives the room back that is behind it.
    ///
    /// # Errors
    /// Only that there is no room.
    fn reserve(&self, _offset: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Puts the first bytes into a new file.
pub type Fill<'a> = &'a mut dyn FnMut(&Arc<dyn LogFile>) -> io::Result<()>;

/// Whether there was no room. A write that failed so may have written a part, and has harmed nothing in front of it.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The segment files of one log.
///
/// Contract: a created file may vanish in a crash until `sync_names` has returned.
pub trait LogFiles: Send + Sync + fmt::Debug {
    /// The bases of all segments, ascending.
    fn bases(&self) -> io::Result<Vec<Lsn>>;
    /// A new, empty file; fails if there is one of that name.
    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>>;
    /// A new file, filled and synced, in one step in place of the one of that name, if there is one. Whoever has the
    /// old one open keeps it and changes nothing any more. Only who opens the log may do this (see `lock.rs`).
    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>>;
    /// An existing file.
    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>>;
    /// Makes the names of created files durable.
    fn sync_names(&self) -> io::Result<()>;
    /// What messages call the file.
    fn path(&self, base: Lsn) -> PathBuf;
    /// Deletes a file; one that is not there is deleted already. Until `sync_names` has returned, it may be there again after
    /// a crash.
    fn remove(&self, base: Lsn) -> io::Result<()>;
    /// When a file was last written to (wall clock, ns); `None` if that is not known.
    fn written_at(&self, base: Lsn) -> io::Result<Option<i64>>;
    /// What the file says that tells which log it is and where it begins; `None` if there is none.
    fn read_start(&self) -> io::Result<Option<Vec<u8>>>;
    /// Replaces that file; what it says is durable afterwards. A crash leaves the old or the new one.
    fn write_start(&self, bytes: &[u8]) -> io::Result<()>;
    /// What messages call that file.
    fn start_path(&self) -> PathBuf;
    /// Where snapshots of views of this log are: by default nowhere but in memory.
    fn views(&self) -> Arc<dyn ViewFiles> {
        Arc::new(MemoryViews::default())
    }
}

#[cfg(test)]
mod tests;
