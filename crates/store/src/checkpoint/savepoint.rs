//! Savepoints: checkpoints that people gave a name, and that are kept until they say otherwise.
//!
//! A savepoint is the text of a manifest under a name. Nothing is copied: garbage collection keeps the files that it names.
//!
//! It may be made while another process collects garbage. The collector writes its boundary, then lists savepoints, then
//! deletes; here the savepoint is written first, and the boundary is read behind it. So either the collector sees the savepoint,
//! or the boundary is seen here: a checkpoint at or below it may be gone, and the savepoint is taken back and made of a newer one.
//! A checkpoint above it is needed by the collector itself.

use object_store::PutPayload;

use super::{
    CheckpointError, CheckpointStore, Manifest, Misfit, Recovered, Recovery,
    manifest::{decode, encode},
    names::{SAVEPOINTS, STATE, is_savepoint_name, savepoint_name, savepoint_of},
    objects::{Created, Listed},
    recover::Check,
};
use crate::limits::{MANIFEST_BYTES_MAX, READ_ATTEMPTS_MAX, TAKE_OVERS_MAX};

impl CheckpointStore {
    /// The names of all savepoints, in order.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the object store refuses.
    pub async fn savepoints(&self) -> Result<Vec<String>, CheckpointError> {
        let listed = self.listed_savepoints().await?;
        let mut names: Vec<_> = listed.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a savepoint: the manifest that it was made of.
    ///
    /// # Errors
    /// [`CheckpointError::Savepoint`] when there is none of that name; otherwise as [`load`](Self::load).
    pub async fn savepoint(&self, name: &str) -> Result<Manifest, CheckpointError> {
        if !self.savepoints().await?.iter().any(|known| known == name) {
            return Err(self.refused(name, "there is none of that name".to_owned()));
        }
        self.load_savepoint(name).await
    }

    /// Gives the newest checkpoint a name. From then on what it refers to is kept, until the savepoint is
    /// [forgotten](Self::forget_savepoint). It does not hinder the process that writes the checkpoints.
    ///
    /// # Errors
    /// [`CheckpointError::Savepoint`] when the name is taken or is none, or when there is no checkpoint;
    /// [`CheckpointError::Damaged`] when the newest checkpoint is, and [`CheckpointError::Store`] when the object store refuses.
    /// A savepoint that could not be checked to the end may be there all the same.
    pub async fn save(&self, name: &str) -> Result<Manifest, CheckpointError> {
        if !is_savepoint_name(name) {
            let rule =
                "a name begins with a letter, and has up to 64 letters, digits, `_`, `-` and `.`";
            return Err(self.refused(name, rule.to_owned()));
        }
        for _ in 0..TAKE_OVERS_MAX {
            let Some(newest) = self.manifests().await?.pop() else {
                return Err(
                    self.refused(name, "there is no checkpoint yet to give it to".to_owned())
                );
            };
            let manifest = match self.load(newest).await {
                Ok(manifest) => manifest,
                Err(CheckpointError::Damaged { .. }) if self.boundary().await? >= newest => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let text = PutPayload::from(encode(&manifest)?);
            let created = self.objects.create(SAVEPOINTS, &savepoint_name(name), text).await?;
            if created == Created::Exists {
                let taken = "the name is taken; `postrider state forget` frees it";
                return Err(self.refused(name, taken.to_owned()));
            }
            if self.holds(&manifest).await? {
                return Ok(manifest);
            }
            self.forget_savepoint(name).await?;
        }
        let reason = "garbage is collected faster than it can be made; try again".to_owned();
        Err(self.refused(name, reason))
    }

    /// Whether a savepoint that was just written keeps everything: no collector gave its checkpoint up before it could see it.
    async fn holds(&self, manifest: &Manifest) -> Result<bool, CheckpointError> {
        if self.boundary().await? >= manifest.id {
            return Ok(false);
        }
        let mut files: Vec<_> = manifest.checkpoint.blobs().map(|blob| &blob.file).collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            self.objects.size(STATE, file).await?;
        }
        Ok(true)
    }

    /// Forgets a savepoint: its name is free again, and what only it needs is garbage. Tells whether there was one.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the object store refuses.
    pub async fn forget_savepoint(&self, name: &str) -> Result<bool, CheckpointError> {
        let known = self.savepoints().await?.iter().any(|known| known == name);
        if known {
            self.objects.delete(SAVEPOINTS, &savepoint_name(name)).await?;
        }
        Ok(known)
    }

    /// As [`take_over`](Self::take_over), but goes on from a savepoint. One that is damaged or that `check` refuses is
    /// among those that were skipped.
    ///
    /// # Errors
    /// As [`take_over`](Self::take_over), and [`CheckpointError::Savepoint`] when there is none of that name.
    pub async fn take_over_savepoint(
        &self,
        name: &str,
        check: Check<'_>,
    ) -> Result<Recovery, CheckpointError> {
        let manifest = self.savepoint(name).await?;
        let id = manifest.id;
        let recovered = match check(&manifest) {
            Err(misfit) => Err(self.misfit(id, format!("savepoint `{name}`"), misfit)),
            Ok(()) => self.verify(&manifest).await,
        };
        let blobs = match recovered {
            Ok(blobs) => blobs,
            Err(error @ (CheckpointError::Damaged { .. } | CheckpointError::Unfit { .. })) => {
                return Ok(Recovery { recovered: None, skipped: vec![(id, error)] });
            }
            Err(error) => return Err(error),
        };
        // All manifests are looked at for who wrote them and of which log, and none is wanted.
        let none = |manifest: &Manifest| match check(manifest) {
            Err(foreign @ Misfit::OtherLog { .. }) => Err(foreign),
            _ => Err(Misfit::Unfit("a savepoint was asked for".to_owned())),
        };
        for _ in 0..TAKE_OVERS_MAX {
            let search = self.search(&none).await?;
            if search.generation > self.generation.0 {
                return Err(self.fenced_by(search.generation));
            }
            let newest = search.newest.max(id);
            let mut own = self.unnumbered(manifest.checkpoint.clone(), Some(id))?;
            own.id = newest.saturating_add(1);
            if self.try_commit(&own).await? {
                let recovered = Some(Recovered { manifest: own, blobs });
                return Ok(Recovery { recovered, skipped: Vec::new() });
            }
        }
        Err(CheckpointError::Contended { pipeline: self.pipeline.clone(), tried: TAKE_OVERS_MAX })
    }

    /// Each savepoint, in no order, and its object.
    pub(super) async fn listed_savepoints(&self) -> Result<Vec<(String, Listed)>, CheckpointError> {
        let listed = self.objects.list(SAVEPOINTS).await?;
        let named = listed.into_iter().filter_map(|object| {
            let name = savepoint_of(&object.name)?.to_owned();
            Some((name, object))
        });
        Ok(named.collect())
    }

    pub(super) async fn load_savepoint(&self, name: &str) -> Result<Manifest, CheckpointError> {
        let object = savepoint_name(name);
        let path = self.objects.path(SAVEPOINTS, &object);
        let mut attempt = 1;
        loop {
            let text = self.objects.read(SAVEPOINTS, &object, MANIFEST_BYTES_MAX).await;
            let read = text.and_then(|text| decode(&text, path.as_ref(), None, &self.pipeline));
            match read {
                Err(CheckpointError::Damaged { .. }) if attempt < READ_ATTEMPTS_MAX => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    fn refused(&self, name: &str, reason: String) -> CheckpointError {
        let (pipeline, name) = (self.pipeline.clone(), name.to_owned());
        CheckpointError::Savepoint { pipeline, name, reason }
    }
}
