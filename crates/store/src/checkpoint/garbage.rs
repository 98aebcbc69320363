//! Which objects no checkpoint needs any more: decided as a whole, before anything is deleted.
//!
//! Needed are the manifests from the oldest retained one on, and the files that they and the savepoints refer to. A file as young
//! as the newest checkpoint, or younger, may belong to one that is being written, so it is kept as well.

use std::{collections::HashSet, sync::Arc};

use super::{
    lineage::{Savepoint, Summary},
    names::state_epoch_of,
    objects::Listed,
};

/// How long checkpoints are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest checkpoints that are kept at least, counted by their epochs, so that a process that
    /// restarts often does not push out older ones; 0 is taken as 1.
    pub manifests: usize,
    /// Checkpoints younger than this are kept beside them, in nanoseconds.
    pub age_ns: i64,
}

impl Default for Retention {
    /// Five checkpoints, and those of a quarter of an hour. What each of them alone refers to takes as much room as what changed between
    /// two, so a day of them would be many times the state; for longer there are savepoints and the log.
    fn default() -> Self {
        Self { manifests: 5, age_ns: 900_000_000_000 }
    }
}

impl Retention {
    /// Whether a manifest is kept, if newer ones of these epochs are. `base` is the one the process stands on.
    pub(super) fn keeps(
        &self,
        newer: &HashSet<u64>,
        id: u64,
        base: u64,
        summary: &Summary,
        now: i64,
    ) -> bool {
        newer.len() < self.manifests.max(1)
            || newer.contains(&summary.epoch)
            || id >= base
            || summary.created_at > now.saturating_sub(self.age_ns.max(0))
    }
}

/// What is in the store.
#[derive(Debug)]
pub(super) struct Survey {
    /// All manifests, ascending.
    pub(super) manifests: Vec<u64>,
    /// All boundaries, ascending.
    pub(super) boundaries: Vec<u64>,
    /// The retained manifests that can be read, newest first.
    pub(super) retained: Vec<(u64, Arc<Summary>)>,
    /// The manifest that the process stands on, which a listing may not show yet.
    pub(super) base: Arc<Summary>,
}

/// What is looked at once the boundary is written.
#[derive(Debug, Default)]
pub(super) struct Second {
    /// Savepoints.
    pub(super) savepoints: Vec<Arc<Savepoint>>,
    /// All objects in the folder of state files.
    pub(super) files: Vec<Listed>,
}

/// What to delete, each in the order in which it is deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Garbage {
    /// State files.
    pub(super) files: Vec<Listed>,
    /// Manifests.
    pub(super) manifests: Vec<u64>,
    /// Boundaries that a greater one has replaced.
    pub(super) boundaries: Vec<u64>,
}

impl Survey {
    /// The boundary that has to be there before anything is deleted: the last manifest that is given up. None if nothing is.
    pub(super) fn boundary(&self) -> Option<u64> {
        let oldest = self.retained.last()?.0;
        Some(self.boundaries.last().copied().unwrap_or_default().max(oldest.saturating_sub(1)))
    }

    /// Decides what is garbage.
    pub(super) fn garbage(self, second: &Second) -> Garbage {
        let (Some(boundary), Some(newest)) = (self.boundary(), self.retained.first()) else {
            return Garbage::default();
        };
        let young = newest.1.epoch.min(self.base.epoch);
        let kept = self.retained.iter().map(|(_, summary)| summary).chain([&self.base]);
        let pinned = second.savepoints.iter().flat_map(|savepoint| &savepoint.files);
        let needed: HashSet<&str> =
            kept.flat_map(|summary| &summary.files).chain(pinned).map(|name| &**name).collect();
        let is_garbage = |file: &Listed| {
            state_epoch_of(&file.name).is_some_and(|epoch| epoch < young)
                && !needed.contains(&*file.name)
        };
        Garbage {
            files: second.files.iter().filter(|file| is_garbage(file)).cloned().collect(),
            manifests: self.manifests.into_iter().filter(|id| *id <= boundary).collect(),
            boundaries: self.boundaries.into_iter().filter(|old| *old < boundary).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Garbage, Listed, Savepoint, Second, Summary, Survey};
    use crate::checkpoint::{ReadsFrom, names::state_name};

    fn file(epoch: u64) -> Listed {
        Listed { name: state_name(epoch, 0), bytes: epoch, tag: None }
    }

    fn summary(epoch: u64, files: &[u64]) -> Arc<Summary> {
        let files = files.iter().map(|epoch| file(*epoch).name.into()).collect();
        Arc::new(Summary { created_at: 0, epoch, files })
    }

    #[test]
    fn a_base_that_no_listing_shows_keeps_its_files() {
        let survey = Survey {
            manifests: vec![3, 4, 5, 6],
            boundaries: vec![1, 2],
            retained: vec![(6, summary(6, &[3, 6])), (5, summary(5, &[3, 5]))],
            base: summary(5, &[1, 4]),
        };
        let garbage =
            Garbage { files: vec![file(2)], manifests: vec![3, 4], boundaries: vec![1, 2] };
        assert_eq!(survey.boundary(), Some(4));
        let second = Second { files: (1..=6).map(file).collect(), savepoints: Vec::new() };
        assert_eq!(survey.garbage(&second), garbage);
    }

    #[test]
    fn what_a_savepoint_needs_is_no_garbage() {
        let survey = Survey {
            manifests: vec![5, 6],
            boundaries: vec![4],
            retained: vec![(6, summary(6, &[6]))],
            base: summary(6, &[6]),
        };
        let files = vec![file(2).name.into(), file(9).name.into()];
        let reads_from = ReadsFrom { log_position: 0, sources: Vec::new() };
        let savepoints = vec![Arc::new(Savepoint { reads_from, files })];
        let second = Second { savepoints, files: (1..=6).map(file).collect() };
        let garbage = survey.garbage(&second);
        assert_eq!(garbage.files, [1, 3, 4, 5].map(file));
        assert_eq!(garbage.manifests, [5]);
    }

    #[test]
    fn where_no_manifest_can_be_read_nothing_is_garbage() {
        let survey = Survey {
            manifests: vec![3],
            boundaries: vec![2],
            retained: Vec::new(),
            base: summary(9, &[]),
        };
        let second = Second { files: vec![file(1)], savepoints: Vec::new() };
        assert_eq!(survey.garbage(&second), Garbage::default());
    }
}
