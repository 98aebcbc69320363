//! The log's directory as one process sees it: it may die at any operation, the disk may be full, and a sync may fail.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use postrider_store::{
    Fill, LogFile, LogFiles, Lsn, NewSnapshot, ViewFiles,
    testing::{CachedFiles, SECTOR},
};

use crate::{Dice, Fate, Injected, Life};

/// What goes wrong with a disk. Clones share it.
#[derive(Debug, Clone)]
pub struct DiskFaults {
    state: Arc<Mutex<Faults>>,
    injected: Injected,
}

#[derive(Debug)]
struct Faults {
    full: bool,
    /// Syncs that fail, in a thousand.
    failing: u64,
    /// Syncs do nothing and say that they did.
    lying: bool,
    dice: Dice,
}

impl DiskFaults {
    /// None yet.
    pub fn new(dice: Dice, injected: Injected) -> Self {
        let faults = Faults { full: false, failing: 0, lying: false, dice };
        Self { state: Arc::new(Mutex::new(faults)), injected }
    }

    /// Fills the disk, or frees it.
    pub fn set_full(&self, full: bool) {
        self.with(|faults| faults.full = full);
    }

    /// Lets so many of a thousand syncs fail.
    pub fn set_failing(&self, per_mille: u64) {
        self.with(|faults| faults.failing = per_mille);
    }

    /// Lets syncs do nothing from now on, and say that they did.
    pub fn lie(&self) {
        self.with(|faults| faults.lying = true);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_room(&self) -> io::Result<()> {
        if self.with(|faults| faults.full) {
            self.injected.count("disk_full");
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync_fails(&self) -> bool {
        let fails = self.with(|faults| faults.dice.roll() % 1000 < faults.failing);
        if fails {
            self.injected.count("sync_error");
        }
        fails
    }
}

/// The directory, for one process.
#[derive(Debug, Clone)]
pub struct LifeFiles {
    files: CachedFiles,
    life: Life,
    faults: DiskFaults,
}

fn died() -> io::Error {
    io::Error::other("the process is dead")
}

impl LifeFiles {
    /// The directory as this process sees it.
    pub fn new(files: CachedFiles, life: Life, faults: DiskFaults) -> Self {
        Self { files, life, faults }
    }

    fn wrap(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        Arc::new(LifeOfFile { file, of: self.clone() })
    }

    /// Does an operation, or dies before or after.
    fn once<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.life.step() {
            Fate::Done => work(),
            Fate::DiesBefore | Fate::Dead => Err(died()),
            Fate::DiesAfter => {
                drop(work()?);
                Err(died())
            }
        }
    }

    /// Does something that a disk may fail at.
    fn synced<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.once(|| {
            self.files.set_failing(self.faults.sync_fails());
            let done = work();
            self.files.set_failing(false);
            done
        })
    }

    fn alive(&self) -> io::Result<()> {
        if self.life.is_dead() { Err(died()) } else { Ok(()) }
    }
}

impl LogFiles for LifeFiles {
    fn bases(&self) -> io::Result<Vec<Lsn>> {
        self.alive()?;
        self.files.bases()
    }

    fn create(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        self.faults.check_room()?;
        self.once(|| self.files.create(base)).map(|file| self.wrap(file))
    }

    fn replace(&self, base: Lsn, fill: Fill<'_>) -> io::Result<Arc<dyn LogFile>> {
        self.faults.check_room()?;
        let replaced =
            self.synced(|| self.files.replace(base, &mut |file| fill(&self.wrap(file.clone()))));
        replaced.map(|file| self.wrap(file))
    }

    fn open(&self, base: Lsn) -> io::Result<Arc<dyn LogFile>> {
        self.alive()?;
        self.files.open(base).map(|file| self.wrap(file))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.synced(|| self.files.sync_names())
    }

    fn path(&self, base: Lsn) -> PathBuf {
        self.files.path(base)
    }

    fn remove(&self, base: Lsn) -> io::Result<()> {
        self.once(|| self.files.remove(base))
    }

    fn written_at(&self, base: Lsn) -> io::Result<Option<i64>> {
        self.alive()?;
        self.files.written_at(base)
    }

    fn read_start(&self) -> io::Result<Option<Vec<u8>>> {
        self.alive()?;
        self.files.read_start()
    }

    fn write_start(&self, bytes: &[u8]) -> io::Result<()> {
        self.once(|| self.files.write_start(bytes))
    }

    fn start_path(&self) -> PathBuf {
        self.files.start_path()
    }

    fn views(&self) -> Arc<dyn ViewFiles> {
        Arc::new(LifeViews { views: self.files.views(), of: self.clone() })
    }
}

#[derive(Debug)]
struct LifeOfFile {
    file: Arc<dyn LogFile>,
    of: LifeFiles,
}

impl LogFile for LifeOfFile {
    fn size(&self) -> io::Result<u64> {
        self.of.alive()?;
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.of.alive()?;
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written_of = |part: u64| {
            // As far as a sector border: what a write does not reach as a whole, it reaches in whole sectors.
            let end = (offset + part) / SECTOR as u64 * SECTOR as u64;
            let count = usize::try_from(end.saturating_sub(offset)).unwrap_or(0).min(bytes.len());
            self.file.write_all_at(&bytes[..count], offset)
        };
        if let Err(full) = self.of.faults.check_room() {
            written_of(self.of.life.part_of(bytes.len() as u64))?;
            return Err(full);
        }
        match self.of.life.step() {
            Fate::Done => self.file.write_all_at(bytes, offset),
            Fate::DiesBefore => {
                written_of(self.of.life.part_of(bytes.len() as u64))?;
                Err(died())
            }
            Fate::DiesAfter => {
                self.file.write_all_at(bytes, offset)?;
                Err(died())
            }
            Fate::Dead => Err(died()),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.of.once(|| self.file.truncate(size))
    }

    fn sync(&self) -> io::Result<()> {
        let lying = self.of.faults.with(|faults| faults.lying);
        self.of.synced(|| if lying { Ok(()) } else { self.file.sync() })
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.of.faults.check_room()?;
        self.file.reserve(offset, bytes)
    }
}

#[derive(Debug)]
struct LifeViews {
    views: Arc<dyn ViewFiles>,
    of: LifeFiles,
}

struct LifeSnapshot {
    snapshot: Box<dyn NewSnapshot>,
    of: LifeFiles,
}

impl NewSnapshot for LifeSnapshot {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.of.alive()?;
        self.snapshot.write_all(bytes)
    }

    fn publish(self: Box<Self>) -> io::Result<()> {
        let Self { snapshot, of } = *self;
        of.faults.check_room()?;
        of.once(|| snapshot.publish())
    }
}

impl ViewFiles for LifeViews {
    fn list(&self, view: &str) -> io::Result<Vec<Lsn>> {
        self.of.alive()?;
        self.views.list(view)
    }

    fn create(&self, view: &str, at: Lsn) -> io::Result<Box<dyn NewSnapshot>> {
        self.of.alive()?;
        let snapshot = self.views.create(view, at)?;
        Ok(Box::new(LifeSnapshot { snapshot, of: self.of.clone() }))
    }

    fn open(&self, view: &str, at: Lsn) -> io::Result<Box<dyn io::Read + Send>> {
        self.of.alive()?;
        self.views.open(view, at)
    }

    fn remove(&self, view: &str, at: Lsn) -> io::Result<()> {
        self.of.once(|| self.views.remove(view, at))
    }

    fn path(&self, view: &str, at: Lsn) -> PathBuf {
        self.views.path(view, at)
    }
}
