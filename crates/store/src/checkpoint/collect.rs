//! Collecting garbage, so that a crash between any two steps leaves work for the next run and no harm.
//!
//! 1. Look at the manifests.  2. Write the boundary.  3. Look at savepoints and files.  4. Decide.  5. Delete state files.
//! 6. Delete manifests, oldest first.  7. Delete older boundaries.
//!
//! The boundary comes before the first manifest goes, because an id without a manifest looks free to a
//! process that slept meanwhile; it reads the boundary after it took one. It comes before savepoints are looked at, because
//! whoever makes one reads it afterwards (`savepoint.rs`).

use std::{collections::HashSet, sync::Arc};

use object_store::PutPayload;

use super::{
    CheckpointContents, CheckpointError, CheckpointStore, Retention,
    garbage::{Garbage, Second, Survey},
    lineage::{Savepoint, Summary},
    names::{BOUNDARIES, MANIFESTS, STATE, boundary_name, boundary_of, manifest_name, manifest_of},
    objects::Listed,
};
use crate::failpoint::{self, Failpoint};

/// What was deleted.
#[derive(Debug, Default)]
pub struct Collected {
    /// Manifests.
    pub manifests: usize,
    /// State files.
    pub files: usize,
    /// Bytes of those files.
    pub bytes: u64,
    /// Manifests that are young enough to be kept, but can't be restored, newest first, and why. A person
    /// should be told of them. They are not counted as kept, and what only they need is deleted.
    pub damaged: Vec<(u64, CheckpointError)>,
    /// Savepoints that can't be restored, and why. What only they need is deleted.
    pub damaged_savepoints: Vec<(String, CheckpointError)>,
    /// The oldest manifest that is kept.
    pub oldest: Option<u64>,
    /// What a restart from each savepoint reads.
    pub savepoints: Vec<ReadsFrom>,
}

/// Where a restart from a checkpoint begins to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadsFrom {
    /// The position in the log of the first epoch behind it.
    pub log_position: u64,
    /// Each source table and the offset of its position.
    pub sources: Vec<(String, u64)>,
}

impl ReadsFrom {
    /// What a checkpoint says of it.
    pub fn of(contents: &CheckpointContents) -> Self {
        let sources = contents.sources.iter();
        let sources = sources.map(|source| (source.table.clone(), source.offset)).collect();
        Self { log_position: contents.log_position, sources }
    }

    /// The earlier of both, everywhere.
    #[must_use]
    pub fn earlier(mut self, other: &Self) -> Self {
        self.log_position = self.log_position.min(other.log_position);
        for (table, offset) in &other.sources {
            match self.sources.iter_mut().find(|(known, _)| known == table) {
                Some((_, known)) => *known = (*known).min(*offset),
                None => self.sources.push((table.clone(), *offset)),
            }
        }
        self
    }
}

impl CheckpointStore {
    /// Deletes what no retained checkpoint needs. It may be run at any time, again after an error, and by
    /// several processes.
    ///
    /// Nothing is deleted before this process has taken over or committed a checkpoint, because only then
    /// a good one is known; that one is always kept.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the object store refuses, and [`CheckpointError::TooNew`] when a
    /// later version of Postrider wrote a manifest, whose needs are not known here.
    pub async fn collect_garbage(
        &self,
        retention: &Retention,
    ) -> Result<Collected, CheckpointError> {
        let Some(base) = self.lineage().base() else { return Ok(Collected::default()) };
        let mut collected = Collected::default();
        let survey = self.survey(base, retention, &mut collected).await?;
        collected.oldest = survey.retained.last().map(|(id, _)| *id);
        let Some(boundary) = survey.boundary() else { return Ok(collected) };
        if boundary > 0 {
            // One that exists says the same.
            let name = boundary_name(boundary);
            self.objects.create(BOUNDARIES, &name, PutPayload::new()).await?;
            failpoint::pass(Failpoint::BoundaryWritten);
        }
        let savepoints = self.listed_savepoints().await?;
        let names = savepoints.iter().map(|(name, _)| name.clone()).collect();
        let second = Second {
            savepoints: self.read_savepoints(savepoints, &mut collected).await?,
            files: self.objects.list(STATE).await?,
        };
        let needs = second.savepoints.iter().map(|savepoint| savepoint.reads_from.clone());
        collected.savepoints = needs.collect();
        self.delete(&survey.garbage(&second), &mut collected).await?;
        self.lineage().forget(boundary, &names);
        Ok(collected)
    }

    /// What savepoints need, from memory if they were read before.
    async fn read_savepoints(
        &self,
        listed: Vec<(String, Listed)>,
        collected: &mut Collected,
    ) -> Result<Vec<Arc<Savepoint>>, CheckpointError> {
        let mut read = Vec::with_capacity(listed.len());
        for (name, Listed { tag, .. }) in listed {
            let known = self.lineage().savepoint(&name, tag.as_deref());
            if let Some(known) = known {
                read.push(known);
                continue;
            }
            match self.load_savepoint(&name).await {
                Ok(manifest) => {
                    read.push(self.lineage().remember_savepoint(name, tag, &manifest));
                }
                Err(error @ CheckpointError::Damaged { .. }) => {
                    collected.damaged_savepoints.push((name, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    async fn survey(
        &self,
        base: u64,
        retention: &Retention,
        collected: &mut Collected,
    ) -> Result<Survey, CheckpointError> {
        // Manifests before files: what a newer manifest refers to is then in neither or only in the
        // second listing, where it is protected by its age.
        let boundaries = self.boundaries().await?;
        let manifests = self.listed().await?;
        let boundary = boundaries.last().copied().unwrap_or_default();
        let candidates = manifests.iter().copied().filter(|id| *id > boundary);
        let now = self.clock.now().0;
        let (mut retained, mut epochs) = (Vec::new(), HashSet::new());
        for id in candidates.rev() {
            match self.summary(id).await {
                Ok(summary) if retention.keeps(&epochs, id, base, &summary, now) => {
                    epochs.insert(summary.epoch);
                    retained.push((id, summary));
                }
                // Older ones are not even looked at.
                Ok(_) => break,
                Err(error @ CheckpointError::Damaged { .. }) => collected.damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        let base = self.summary(base).await?;
        Ok(Survey { manifests, boundaries, retained, base })
    }

    /// As much of a manifest as is needed here, from memory if it was read before.
    async fn summary(&self, id: u64) -> Result<Arc<Summary>, CheckpointError> {
        let known = self.lineage().summary(id);
        if let Some(known) = known {
            return Ok(known);
        }
        let manifest = self.load(id).await?;
        Ok(self.lineage().remember(&manifest))
    }

    async fn delete(
        &self,
        garbage: &Garbage,
        collected: &mut Collected,
    ) -> Result<(), CheckpointError> {
        let names = garbage.files.iter().map(|file| file.name.as_str());
        self.objects.delete_all(STATE, names).await?;
        failpoint::pass(Failpoint::StateDeleted);
        collected.files = garbage.files.len();
        collected.bytes = garbage.files.iter().map(|file| file.bytes).sum();
        for id in &garbage.manifests {
            self.objects.delete(MANIFESTS, &manifest_name(*id)).await?;
            failpoint::pass(Failpoint::ManifestDeleted);
            collected.manifests += 1;
        }
        for old in &garbage.boundaries {
            self.objects.delete(BOUNDARIES, &boundary_name(*old)).await?;
        }
        Ok(())
    }

    /// The ids of all manifests, ascending.
    pub(super) async fn listed(&self) -> Result<Vec<u64>, CheckpointError> {
        let listed = self.objects.list(MANIFESTS).await?;
        let mut ids: Vec<_> =
            listed.iter().filter_map(|object| manifest_of(&object.name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// All boundaries, ascending.
    async fn boundaries(&self) -> Result<Vec<u64>, CheckpointError> {
        let listed = self.objects.list(BOUNDARIES).await?;
        let mut boundaries: Vec<_> =
            listed.iter().filter_map(|object| boundary_of(&object.name)).collect();
        boundaries.sort_unstable();
        Ok(boundaries)
    }

    /// The greatest id that garbage collection gave up; 0 for none.
    pub(super) async fn boundary(&self) -> Result<u64, CheckpointError> {
        Ok(self.boundaries().await?.last().copied().unwrap_or_default())
    }
}
