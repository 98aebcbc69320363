//! Segment files in memory, for logs that end with their process.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use super::{LogFile, LogFiles};
use crate::{
    Lsn,
    segment::file_name,
    view::{MemoryViews, ViewFiles},
};

/// Segment files in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryFiles {
    files: Arc<RwLock<BTreeMap<Lsn, Arc<MemoryFile>>>>,
    /// When segments were last written to, as far as somebody said so: memory has no clock.
    pub(crate) times: Arc<RwLock<BTreeMap<Lsn, i64>>>,
    start: Arc<RwLock<Option<Vec<u8>>>>,
    /// The snapshots of views.
    pub(crate) views: MemoryViews,
}

impl LogFiles for MemoryFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        Ok(files.keys().copied().collect())
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let file = Arc::new(MemoryFile::default());
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.insert(base, Arc::clone(&file));
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

#[derive(Debug, Default)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
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
