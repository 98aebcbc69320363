//! Snapshots in memory that can't be written on command.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{MemoryViews, NewSnapshot, ViewFiles};
use crate::Lsn;

/// Snapshots that obey their switches. Clones share both.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyViews {
    /// Writes fail.
    pub(crate) write: Arc<AtomicBool>,
    /// Snapshots don't become durable.
    pub(crate) publish: Arc<AtomicBool>,
    /// Old ones can't be deleted.
    pub(crate) remove: Arc<AtomicBool>,
    /// The snapshots without faults.
    pub(crate) views: MemoryViews,
}

fn passes(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) { Err(io::Error::other("no space")) } else { Ok(()) }
}

impl ViewFiles for FaultyViews {
    fn list(&self, view: &str) -> io::Result<Vec<Lsn>> {
        self.views.list(view)
    }

    fn create(&self, view: &str, at: Lsn) -> io::Result<Box<dyn NewSnapshot>> {
        let (faults, snapshot) = (self.clone(), self.views.create(view, at)?);
        Ok(Box::new(FaultySnapshot { faults, snapshot }))
    }

    fn open(&self, view: &str, at: Lsn) -> io::Result<Box<dyn io::Read + Send>> {
        self.views.open(view, at)
    }

    fn remove(&self, view: &str, at: Lsn) -> io::Result<()> {
        passes(&self.remove)?;
        self.views.remove(view, at)
    }

    fn path(&self, view: &str, at: Lsn) -> PathBuf {
        self.views.path(view, at)
    }
}

struct FaultySnapshot {
    faults: FaultyViews,
    snapshot: Box<dyn NewSnapshot>,
}

impl NewSnapshot for FaultySnapshot {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        passes(&self.faults.write)?;
        self.snapshot.write_all(bytes)
    }

    fn publish(self: Box<Self>) -> io::Result<()> {
        passes(&self.faults.publish)?;
        self.snapshot.publish()
    }
}
