//! Segment files behind a page cache that behaves as that of Linux: what was not synced may be lost in a power loss, sector by
//! sector, and a failed sync leaves pages that look written and are not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Fill, LogFile, LogFiles};
use crate::{
    Lsn,
    segment::file_name,
    view::{MemoryViews, ViewFiles},
};

/// What a disk writes as a whole or not at all.
pub const SECTOR: usize = 512;

/// A directory of a log on a disk that may lose power or fail, behind a cache that does not. Clones share it.
///
/// Snapshots of views and the file that says where the log begins are durable once they are written: their contracts leave
/// nothing in between.
#[derive(Clone, Default)]
pub struct CachedFiles {
    names: Arc<Mutex<Names>>,
    failing: Arc<AtomicBool>,
    views: MemoryViews,
}

#[derive(Default)]
struct Names {
    cached: BTreeMap<Lsn, Arc<CachedFile>>,
    durable: BTreeMap<Lsn, Arc<CachedFile>>,
    start: Option<Vec<u8>>,
}

impl fmt::Debug for CachedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedFiles").finish_non_exhaustive()
    }
}

impl CachedFiles {
    /// Lets syncs fail, or work again.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Forgets what is not on the disk, except for what `keeps` says did get there in time. It is asked once for each name that
    /// changed, each size, and each sector that was written, oldest segment first.
    pub fn lose_power(&self, keeps: &mut dyn FnMut() -> bool) {
        let mut names = self.names();
        let all: BTreeSet<_> = names.cached.keys().chain(names.durable.keys()).copied().collect();
        for base in all {
            let (new, old) = (names.cached.get(&base).cloned(), names.durable.get(&base).cloned());
            let same = match (&new, &old) {
                (Some(new), Some(old)) => Arc::ptr_eq(new, old),
                (new, old) => new.is_none() && old.is_none(),
            };
            let left = if same || keeps() { new } else { old };
            match left {
                Some(file) => {
                    file.lose_power(keeps);
                    names.durable.insert(base, file);
                }
                None => drop(names.durable.remove(&base)),
            }
        }
        names.cached = names.durable.clone();
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_file(&self) -> Arc<CachedFile> {
        Arc::new(CachedFile { failing: Arc::clone(&self.failing), pages: Mutex::default() })
    }
}

impl LogFiles for CachedFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        Ok(self.names().cached.keys().copied().collect())
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let file = self.new_file();
        let mut names = self.names();
        if names.cached.contains_key(&base) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.cached.insert(base, Arc::clone(&file));
        Ok(file)
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        let new = self.new_file();
        let file: Arc<dyn LogFile> = Arc::<CachedFile>::clone(&new);
        fill(&file)?;
        file.sync()?;
        self.names().cached.insert(base, new);
        Ok(file)
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        let names = self.names();
        Ok(Arc::<CachedFile>::clone(names.cached.get(&base).ok_or(io::ErrorKind::NotFound)?))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut names = self.names();
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad block"));
        }
        names.durable = names.cached.clone();
        Ok(())
    }

    fn remove(&self, base: Lsn) -> io::Result<()> {
        self.names().cached.remove(&base);
        Ok(())
    }

    /// Long ago: it has no clock, and the age of a segment is to hold nothing.
    fn written_at(&self, _: Lsn) -> io::Result<Option<i64>> {
        Ok(Some(0))
    }

    fn read_start(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.names().start.clone())
    }

    fn write_start(&self, bytes: &[u8]) -> io::Result<()> {
        self.names().start = Some(bytes.to_vec());
        // A directory is synced as a whole.
        self.sync_names()
    }

    fn start_path(&self) -> PathBuf {
        Path::new("cached").join("START")
    }

    fn path(&self, base: Lsn) -> PathBuf {
        Path::new("cached").join(file_name(base))
    }

    fn views(&self) -> Arc<dyn ViewFiles> {
        Arc::new(self.views.clone())
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
    /// Sectors that were written since they were last synced, or that a sync failed to write.
    dirty: BTreeSet<usize>,
}

impl CachedFile {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose_power(&self, keeps: &mut dyn FnMut() -> bool) {
        let mut pages = self.pages();
        let Pages { cache, disk, dirty } = &mut *pages;
        let size = if cache.len() == disk.len() || keeps() { cache.len() } else { disk.len() };
        for sector in std::mem::take(dirty) {
            if sector * SECTOR < size && keeps() {
                write_sector(sector, cache, disk);
            }
        }
        disk.resize(size, 0);
        cache.clone_from(disk);
    }
}

fn write_sector(sector: usize, cache: &[u8], disk: &mut Vec<u8>) {
    let end = ((sector + 1) * SECTOR).min(cache.len());
    let start = (sector * SECTOR).min(end);
    let size = disk.len().max(end);
    disk.resize(size, 0);
    disk[start..end].copy_from_slice(&cache[start..end]);
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl LogFile for CachedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.pages().cache.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let pages = self.pages();
        let start = index(offset)?.min(pages.cache.len());
        let count = buffer.len().min(pages.cache.len() - start);
        buffer[..count].copy_from_slice(&pages.cache[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut pages = self.pages();
        let start = index(offset)?;
        let end = start + bytes.len();
        let size = pages.cache.len().max(end);
        pages.cache.resize(size, 0);
        pages.cache[start..end].copy_from_slice(bytes);
        pages.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.pages().cache.truncate(index(size)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut pages = self.pages();
        let Pages { cache, disk, dirty } = &mut *pages;
        disk.resize(cache.len(), 0);
        let written = std::mem::take(dirty);
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad block"));
        }
        for sector in written {
            write_sector(sector, cache, disk);
        }
        Ok(())
    }
}
