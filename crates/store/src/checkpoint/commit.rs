//! Committing a checkpoint: its manifest takes the next number, or somebody else has it.

use object_store::PutPayload;

use super::{
    Checkpoint, CheckpointError, CheckpointStore, Manifest,
    manifest::encode,
    names::{MANIFESTS, manifest_name, nonce_text},
    objects::Created,
};
use crate::{
    failpoint::{self, Failpoint},
    limits::COMMIT_IDS_MAX,
};

/// What it means that the id of a manifest is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    /// By this very manifest: the answer to the first try was lost.
    Ours,
    /// By a process that came after this one.
    Fenced,
    /// By a process that came before, or an earlier commit of this one: the next id is tried.
    Next,
}

/// Compares the manifest that is to be written with the one that is there.
fn judge(ours: &Manifest, there: &Manifest) -> Conflict {
    if there.nonce == ours.nonce {
        Conflict::Ours
    } else if there.generation > ours.generation {
        Conflict::Fenced
    } else {
        Conflict::Next
    }
}

impl CheckpointStore {
    /// Makes a checkpoint the newest one of its pipeline, durably. Its state files are written already, and
    /// this process [took over](Self::take_over) before.
    ///
    /// After an error other than [`CheckpointError::Fenced`], it may or may not have become the newest
    /// one. Either is safe: it may be committed again, or the next one.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] when a process of a later generation has taken over, or collected
    /// garbage since; [`CheckpointError::ForeignLog`] when one with another log has; [`CheckpointError::Contended`] when too many ids were taken;
    /// [`CheckpointError::TooNew`] when a later version took one; [`CheckpointError::Inconsistent`] when
    /// the checkpoint is another pipeline's, or this process did not take over;
    /// [`CheckpointError::Store`] when the object store refuses.
    pub async fn commit(&self, checkpoint: Checkpoint) -> Result<Manifest, CheckpointError> {
        let newest = self.lineage().newest();
        let Some(newest) = newest else {
            let reason = "this process did not take over first".to_owned();
            return Err(CheckpointError::Inconsistent { reason });
        };
        let mut manifest = self.unnumbered(checkpoint, self.lineage().base())?;
        // Newer ones are not looked for, so that a process runs into those of its successor.
        let first = newest.saturating_add(1);
        for id in first..first.saturating_add(COMMIT_IDS_MAX) {
            manifest.id = id;
            if self.try_commit(&manifest).await? {
                failpoint::pass(Failpoint::ManifestCommitted);
                return Ok(manifest);
            }
            self.lineage().taken(id);
        }
        Err(CheckpointError::Contended { pipeline: self.pipeline.clone(), tried: COMMIT_IDS_MAX })
    }

    /// Writes a manifest under its id, unless that is taken by a process that came before this one.
    pub(super) async fn try_commit(&self, manifest: &Manifest) -> Result<bool, CheckpointError> {
        let id = manifest.id;
        let text = PutPayload::from(encode(manifest)?);
        let created = self.objects.create(MANIFESTS, &manifest_name(id), text).await?;
        if created == Created::Exists && !self.is_ours(manifest).await? {
            return Ok(false);
        }
        self.check_boundary(id).await?;
        self.lineage().stand_on(manifest);
        Ok(true)
    }

    /// The manifest of a checkpoint that this process writes.
    pub(super) fn unnumbered(
        &self,
        checkpoint: Checkpoint,
        parent: Option<u64>,
    ) -> Result<Manifest, CheckpointError> {
        if checkpoint.pipeline != self.pipeline {
            let reason = format!(
                "it is of pipeline `{}`, this store is of `{}`",
                checkpoint.pipeline, self.pipeline
            );
            return Err(CheckpointError::Inconsistent { reason });
        }
        Ok(Manifest {
            id: 0,
            parent,
            generation: self.generation.0,
            nonce: nonce_text((self.nonces)()),
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.clock.now().0,
            checkpoint,
        })
    }

    /// Whether the manifest that has the id is this one. Fails if its writer came after this process, or has another log.
    async fn is_ours(&self, manifest: &Manifest) -> Result<bool, CheckpointError> {
        let there = match self.load(manifest.id).await {
            Ok(there) => there,
            // Nobody can restore it, and its id is taken none the less.
            Err(CheckpointError::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        // Both began with an empty place, each for itself.
        let (name, log) = (format!("checkpoint {}", there.id), manifest.checkpoint.log_identity);
        there.checkpoint.is_of(log).map_err(|misfit| self.misfit(there.id, name, misfit))?;
        match judge(manifest, &there) {
            Conflict::Ours => Ok(true),
            Conflict::Next => Ok(false),
            Conflict::Fenced => Err(self.fenced_by(there.generation)),
        }
    }

    /// The error of a process that met the manifest of one that came after it.
    pub(super) fn fenced_by(&self, generation: u64) -> CheckpointError {
        let ours = self.generation.0;
        self.fenced(format!("it is of generation {generation}, this one of {ours}"))
    }

    /// An id at or below the boundary is free only because garbage was collected: whoever takes it has
    /// slept since.
    async fn check_boundary(&self, id: u64) -> Result<(), CheckpointError> {
        match self.boundary().await? {
            boundary if id <= boundary => Err(self.fenced(format!(
                "manifests up to {boundary} were collected before this process wrote {id}"
            ))),
            _ => Ok(()),
        }
    }

    fn fenced(&self, reason: String) -> CheckpointError {
        CheckpointError::Fenced { pipeline: self.pipeline.clone(), reason }
    }
}
