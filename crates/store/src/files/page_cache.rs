//! Segment files with a page cache that behaves as that of Linux: a failed sync leaves pages that look written and are not.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Fill, LogFile, LogFiles};
use crate::{Lsn, segment::file_name};

const PAGE: usize = 512;

/// Segment files on a disk that may fail, behind a cache that does not. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CachedFiles {
    files: Arc<Mutex<BTreeMap<Lsn, Arc<CachedFile>>>>,
    /// Syncs fail.
    pub(crate) failing: Arc<AtomicBool>,
}

impl CachedFiles {
    fn new_file(&self) -> Arc<CachedFile> {
        Arc::new(CachedFile { failing: Arc::clone(&self.failing), pages: Mutex::default() })
    }

    /// Forgets what is not on the disk.
    pub(crate) fn lose_power(&self) {
        for file in self.files.lock().unwrap().values() {
            let mut pages = file.pages.lock().unwrap();
            pages.cache = pages.disk.clone();
            pages.dirty.clear();
        }
    }
}

impl LogFiles for CachedFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        Ok(self.files.lock().unwrap().keys().copied().collect())
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let file = self.new_file();
        let before = self.files.lock().unwrap().insert(base, Arc::clone(&file));
        assert!(before.is_none(), "the file is there");
        Ok(file)
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        let new = self.new_file();
        let file: Arc<dyn LogFile> = Arc::<CachedFile>::clone(&new);
        fill(&file)?;
        file.sync()?;
        self.files.lock().unwrap().insert(base, new);
        Ok(file)
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let files = self.files.lock().unwrap();
        Ok(Arc::<CachedFile>::clone(files.get(&base).ok_or(io::ErrorKind::NotFound)?))
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, base: Lsn) -> io::Result<()> {
        self.files.lock().unwrap().remove(&base);
        Ok(())
    }

    fn written_at(&self, _: Lsn) -> io::Result<Option<i64>> {
        Ok(None)
    }

    fn read_start(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn write_start(&self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn start_path(&self) -> PathBuf {
        Path::new("cached").join("START")
    }

    fn path(&self, base: Lsn) -> PathBuf {
        Path::new("cached").join(file_name(base))
    }
}

#[derive(Debug)]
struct CachedFile {
    failing: Arc<AtomicBool>,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    cache: Vec<u8>,
    disk: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl LogFile for CachedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.pages.lock().unwrap().cache.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let pages = self.pages.lock().unwrap();
        let start = (offset as usize).min(pages.cache.len());
        let count = buffer.len().min(pages.cache.len() - start);
        buffer[..count].copy_from_slice(&pages.cache[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut pages = self.pages.lock().unwrap();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let size = pages.cache.len().max(end);
        pages.cache.resize(size, 0);
        pages.cache[start..end].copy_from_slice(bytes);
        pages.dirty.extend(start / PAGE..end.div_ceil(PAGE));
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.pages.lock().unwrap().cache.truncate(size as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut pages = self.pages.lock().unwrap();
        let Pages { cache, disk, dirty } = &mut *pages;
        disk.resize(cache.len(), 0);
        let written = std::mem::take(dirty);
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad block"));
        }
        for page in written {
            let end = ((page + 1) * PAGE).min(cache.len());
            let start = (page * PAGE).min(end);
            disk[start..end].copy_from_slice(&cache[start..end]);
        }
        Ok(())
    }
}
