//! Segment files in memory, for logs that end with their process.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Fill, LogFile, LogFiles};
use crate::{
    Lsn,
    segment::file_name,
    view::{MemoryViews, ViewFiles},
};

/// How much logs in memory may still grow: any amount, until somebody sets a limit. It stands for a disk in tests of who has
/// to live with a full one. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    room: Arc<AtomicU64>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self { room: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl MemoryDisk {
    /// From now on files may grow by this many bytes together; `u64::MAX` is no limit.
    pub fn set_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::SeqCst);
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let left = |room: u64| if room == u64::MAX { Some(room) } else { room.checked_sub(bytes) };
        let taken = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        taken.map(drop).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

/// Segment files in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryFiles {
    files: Arc<RwLock<BTreeMap<Lsn, Arc<MemoryFile>>>>,
    /// When segments were last written to, as far as somebody said so: memory has no clock.
    pub(crate) times: Arc<RwLock<BTreeMap<Lsn, i64>>>,
    start: Arc<RwLock<Option<Vec<u8>>>>,
    /// The snapshots of views.
    pub(crate) views: MemoryViews,
    disk: MemoryDisk,
}

impl MemoryFiles {
    /// Files that take their room from this disk.
    pub(crate) fn on(disk: MemoryDisk) -> Self {
        Self { disk, ..Self::default() }
    }

    fn new_file(&self) -> Arc<MemoryFile> {
        Arc::new(MemoryFile { bytes: RwLock::default(), disk: self.disk.clone() })
    }
}

impl LogFiles for MemoryFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        Ok(files.keys().copied().collect())
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        match files.entry(base) {
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Entry::Vacant(place) => Ok(Arc::<MemoryFile>::clone(place.insert(self.new_file()))),
        }
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        let new = self.new_file();
        let file: Arc<dyn LogFile> = Arc::<MemoryFile>::clone(&new);
        fill(&file)?;
        self.files.write().unwrap_or_else(PoisonError::into_inner).insert(base, new);
        Ok(file)
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        match files.get(&base) {
            Some(file) => Ok(Arc::<MemoryFile>::clone(file)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, base: Lsn) -> PathBuf {
        Path::new("memory").join(file_name(base))
    }

    fn remove(&self, base: Lsn) -> io::Result<()> {
        self.files.write().unwrap_or_else(PoisonError::into_inner).remove(&base);
        Ok(())
    }

    fn written_at(&self, base: Lsn) -> io::Result<Option<i64>> {
        let times = self.times.read().unwrap_or_else(PoisonError::into_inner);
        Ok(times.get(&base).copied())
    }

    fn read_start(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.start.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn write_start(&self, bytes: &[u8]) -> io::Result<()> {
        *self.start.write().unwrap_or_else(PoisonError::into_inner) = Some(bytes.to_vec());
        Ok(())
    }

    fn start_path(&self) -> PathBuf {
        Path::new("memory").join("START")
    }

    fn views(&self) -> Arc<dyn ViewFiles> {
        Arc::new(self.views.clone())
    }
}

#[derive(Debug)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
    disk: MemoryDisk,
}

impl MemoryFile {
    fn change(
        &self,
        size: impl FnOnce(usize) -> usize,
    ) -> std::sync::RwLockWriteGuard<'_, Vec<u8>> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let size = size(bytes.len());
        bytes.resize(size, 0);
        bytes
    }
}

impl LogFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let start = to_index(offset)?.min(bytes.len());
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let start = to_index(offset)?;
        self.disk.take((offset + new.len() as u64).saturating_sub(self.size()?))?;
        let mut bytes = self.change(|size| size.max(start + new.len()));
        bytes[start..start + new.len()].copy_from_slice(new);
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let size = to_index(size)?;
        drop(self.change(|_| size));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn to_index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
