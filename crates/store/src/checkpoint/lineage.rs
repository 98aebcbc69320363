//! What this process knows of the manifests without asking the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Manifest, ReadsFrom};

/// The checkpoint this process stands on, and what it has read of others.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    base: Option<u64>,
    newest: Option<u64>,
    /// Manifests never change, so each is read once. They are many when they are kept for long.
    summaries: BTreeMap<u64, Arc<Summary>>,
    /// Savepoints by name, and the tag of the object that was read: a name may be given again.
    savepoints: HashMap<String, (String, Arc<Savepoint>)>,
    /// The names in them. A file is in many manifests, and its name is here once.
    names: HashSet<Arc<str>>,
}

/// As much of a manifest as garbage collection needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) created_at: i64,
    pub(super) epoch: u64,
    pub(super) files: Vec<Arc<str>>,
}

/// As much of a savepoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Savepoint {
    pub(super) reads_from: ReadsFrom,
    pub(super) files: Vec<Arc<str>>,
}

impl Lineage {
    /// The manifest that was written last: the state of this process goes back to it.
    pub(super) const fn base(&self) -> Option<u64> {
        self.base
    }

    /// The greatest id that is known to be taken; none before this process took over.
    pub(super) const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// An id is taken.
    pub(super) fn taken(&mut self, id: u64) {
        self.newest = self.newest.max(Some(id));
    }

    /// This process stands on a manifest from now on.
    pub(super) fn stand_on(&mut self, manifest: &Manifest) {
        self.base = Some(manifest.id);
        self.taken(manifest.id);
        self.remember(manifest);
    }

    pub(super) fn summary(&self, id: u64) -> Option<Arc<Summary>> {
        self.summaries.get(&id).cloned()
    }

    /// Keeps what garbage collection needs of a manifest.
    pub(super) fn remember(&mut self, manifest: &Manifest) -> Arc<Summary> {
        let summary = Arc::new(Summary {
            created_at: manifest.created_at,
            epoch: manifest.checkpoint.epoch,
            files: self.files(manifest),
        });
        self.summaries.insert(manifest.id, Arc::clone(&summary));
        summary
    }

    /// A savepoint that was read before, if its object is still the one of this tag.
    pub(super) fn savepoint(&self, name: &str, tag: Option<&str>) -> Option<Arc<Savepoint>> {
        let (known, savepoint) = self.savepoints.get(name)?;
        (tag == Some(known)).then(|| Arc::clone(savepoint))
    }

    /// Keeps what garbage collection needs of a savepoint.
    pub(super) fn remember_savepoint(
        &mut self,
        name: String,
        tag: Option<String>,
        manifest: &Manifest,
    ) -> Arc<Savepoint> {
        let reads_from = ReadsFrom::of(&manifest.checkpoint);
        let savepoint = Arc::new(Savepoint { reads_from, files: self.files(manifest) });
        if let Some(tag) = tag {
            self.savepoints.insert(name, (tag, Arc::clone(&savepoint)));
        }
        savepoint
    }

    fn files(&mut self, manifest: &Manifest) -> Vec<Arc<str>> {
        let names: BTreeSet<&str> = manifest.checkpoint.blobs().map(|blob| &*blob.file).collect();
        names.into_iter().map(|name| self.name(name)).collect()
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.names.insert(Arc::clone(&new));
        new
    }

    /// Drops what is known of the manifests up to one, except of the one this process stands on, and of all savepoints but these.
    pub(super) fn forget(&mut self, boundary: u64, savepoints: &HashSet<String>) {
        let base = self.base;
        self.savepoints.retain(|name, _| savepoints.contains(name));
        self.summaries.retain(|id, _| *id > boundary || Some(*id) == base);
        self.names.retain(|name| Arc::strong_count(name) > 1);
    }
}
