//! Collecting garbage, so that a crash between any two steps leaves work for the next run and no harm.
//!
//! 1. Look at everything.  2. Decide.  3. Delete state files.  4. Write the boundary.  5. Delete manifests,
//!    oldest first.  6. Delete older boundaries.
//!
//! The boundary comes before the first manifest goes, because an id without a manifest looks free to a
//! process that slept meanwhile; it reads the boundary after it took one.

use std::{collections::HashSet, sync::Arc};

use object_store::PutPayload;

use super::{
    CheckpointError, CheckpointStore, Retention,
    garbage::{Garbage, Survey},
    lineage::Summary,
    names::{BOUNDARIES, MANIFESTS, STATE, boundary_name, boundary_of, manifest_name, manifest_of},
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
    /// The oldest manifest that is kept.
    pub oldest: Option<u64>,
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
        self.delete(&survey.garbage(), &mut collected).await?;
        Ok(collected)
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
        let files = self.objects.list(STATE).await?;
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
        Ok(Survey { manifests, boundaries, files, retained, base })
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
        if garbage.boundary > 0 {
            // One that exists says the same.
            let name = boundary_name(garbage.boundary);
            self.objects.create(BOUNDARIES, &name, PutPayload::new()).await?;
            failpoint::pass(Failpoint::BoundaryWritten);
        }
        for id in &garbage.manifests {
            self.objects.delete(MANIFESTS, &manifest_name(*id)).await?;
            failpoint::pass(Failpoint::ManifestDeleted);
            collected.manifests += 1;
        }
        for old in &garbage.boundaries {
            self.objects.delete(BOUNDARIES, &boundary_name(*old)).await?;
        }
        self.lineage().forget(garbage.boundary);
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
