//! What this process knows of the manifests without asking the store.

use std::collections::{BTreeMap, BTreeSet};

use super::Manifest;

/// The checkpoint this process stands on, and what it has read of others.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    base: Option<u64>,
    newest: Option<u64>,
    /// Manifests never change, so each is read once. They are many when they are kept for long.
    summaries: BTreeMap<u64, Summary>,
}

/// As much of a manifest as garbage collection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) created_at: i64,
    pub(super) epoch: u64,
    pub(super) files: BTreeSet<String>,
}

impl Summary {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            created_at: manifest.created_at,
            epoch: manifest.checkpoint.epoch,
            files: manifest.files(),
        }
    }
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
        self.remember(manifest.id, Summary::of(manifest));
    }

    pub(super) fn summary(&self, id: u64) -> Option<Summary> {
        self.summaries.get(&id).cloned()
    }

    pub(super) fn remember(&mut self, id: u64, summary: Summary) {
        self.summaries.insert(id, summary);
    }

    /// Drops what is known of the manifests up to one, except of the one this process stands on.
    pub(super) fn forget(&mut self, boundary: u64) {
        let base = self.base;
        self.summaries.retain(|id, _| *id > boundary || Some(*id) == base);
    }
}
