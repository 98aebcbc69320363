//! Snapshots in memory, for logs that end with their process.

use std::{
    collections::BTreeMap,
    io::{self, Cursor},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::files::{NewSnapshot, ViewFiles, file_name};
use crate::Lsn;

type Snapshots = BTreeMap<(String, Lsn), Bytes>;

/// Snapshots in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryViews {
    snapshots: Arc<Mutex<Snapshots>>,
}

impl MemoryViews {
    /// Changes the snapshots; tests damage them so.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Snapshots) -> T) -> T {
        change(&mut self.snapshots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ViewFiles for MemoryViews {
    fn list(&self, view: &str) -> io::Result<Vec<Lsn>> {
        let of_view = |(name, at): &(String, Lsn)| (name == view).then_some(*at);
        Ok(self.with(|snapshots| snapshots.keys().filter_map(of_view).collect()))
    }

    fn create(&self, view: &str, at: Lsn) -> io::Result<Box<dyn NewSnapshot>> {
        let views = self.clone();
        Ok(Box::new(MemorySnapshot { views, name: (view.to_owned(), at), bytes: Vec::new() }))
    }

    fn open(&self, view: &str, at: Lsn) -> io::Result<Box<dyn io::Read + Send>> {
        let bytes = self.with(|snapshots| snapshots.get(&(view.to_owned(), at)).cloned());
        Ok(Box::new(Cursor::new(bytes.ok_or(io::ErrorKind::NotFound)?)))
    }

    fn remove(&self, view: &str, at: Lsn) -> io::Result<()> {
        self.with(|snapshots| snapshots.remove(&(view.to_owned(), at)));
        Ok(())
    }

    fn path(&self, view: &str, at: Lsn) -> PathBuf {
        Path::new("memory/views").join(view).join(file_name(at))
    }
}

struct MemorySnapshot {
    views: MemoryViews,
    name: (String, Lsn),
    bytes: Vec<u8>,
}

impl NewSnapshot for MemorySnapshot {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(self: Box<Self>) -> io::Result<()> {
        let Self { views, name, bytes } = *self;
        views.with(|snapshots| snapshots.insert(name, Bytes::from(bytes)));
        Ok(())
    }
}
