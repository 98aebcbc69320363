//! Segment files in memory, for logs that end with their process.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use super::{Fill, LogFile, LogFiles};
use crate::{Lsn, segment::file_name};

/// Segment files in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryFiles {
    files: Arc<RwLock<BTreeMap<Lsn, Arc<MemoryFile>>>>,
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
            Entry::Vacant(place) => {
                Ok(Arc::<MemoryFile>::clone(place.insert(Arc::new(MemoryFile::default()))))
            }
        }
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        let new = Arc::new(MemoryFile::default());
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
