//! Reading checkpoints back, and finding the newest one that is whole.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    BlobRef, CheckpointError, CheckpointStore, Manifest, Misfit,
    manifest::decode,
    names::{MANIFESTS, STATE, manifest_name, state_epoch_of},
    objects::damaged,
    spans::{Span, checked, spans},
};
use crate::limits::{MANIFEST_BYTES_MAX, READ_ATTEMPTS_MAX, READ_FILES_AT_ONCE};

/// What a search for the newest checkpoint found.
#[derive(Debug)]
pub struct Recovery {
    /// The newest checkpoint that can be restored, if there is one.
    pub recovered: Option<Recovered>,
    /// The newer ones that can't, newest first, and why. A person should be told of them.
    pub skipped: Vec<(u64, CheckpointError)>,
}

/// A checkpoint that was read and checked as a whole.
#[derive(Debug)]
pub struct Recovered {
    /// What it says; after taking over, as this process wrote it again.
    pub manifest: Manifest,
    /// The bytes of its parts.
    pub blobs: VerifiedBytes,
}

/// Says why a checkpoint does not fit what it is to be restored into.
pub(super) type Check<'a> = &'a (dyn Fn(&Manifest) -> Result<(), Misfit> + Send + Sync);

/// A search, and what it passed.
pub(super) struct Search {
    pub(super) recovery: Recovery,
    /// The greatest id that is not free.
    pub(super) newest: u64,
    /// The greatest generation of a writer.
    pub(super) generation: u64,
}

/// The blobs of a checkpoint; each has the length and the checksum that its manifest says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VerifiedBytes {
    blobs: HashMap<BlobRef, Bytes>,
}

impl VerifiedBytes {
    /// The bytes of a blob of the checkpoint, without copying them.
    pub fn get(&self, blob: &BlobRef) -> Option<Bytes> {
        self.blobs.get(blob).cloned()
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// How many bytes they have together.
    pub fn bytes(&self) -> u64 {
        self.blobs.keys().map(|blob| blob.bytes).sum()
    }
}

impl CheckpointStore {
    /// The ids of the manifests, ascending. Those that garbage collection gave up are not among them.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the object store refuses.
    pub async fn manifests(&self) -> Result<Vec<u64>, CheckpointError> {
        let boundary = self.boundary().await?;
        let mut ids = self.listed().await?;
        ids.retain(|id| *id > boundary);
        Ok(ids)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when it is missing or not as it was written,
    /// [`CheckpointError::TooNew`] when a later version wrote it, [`CheckpointError::Store`] when the
    /// object store refuses.
    pub async fn load(&self, id: u64) -> Result<Manifest, CheckpointError> {
        let mut attempt = 1;
        loop {
            match self.load_once(id).await {
                // Bytes also change on their way.
                Err(CheckpointError::Damaged { .. }) if attempt < READ_ATTEMPTS_MAX => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn load_once(&self, id: u64) -> Result<Manifest, CheckpointError> {
        let name = manifest_name(id);
        let path = self.objects.path(MANIFESTS, &name);
        let text = self.objects.read(MANIFESTS, &name, MANIFEST_BYTES_MAX).await?;
        decode(&text, path.as_ref(), Some(id), &self.pipeline)
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] when it is missing or not as it was written,
    /// [`CheckpointError::Store`] when the object store refuses.
    pub async fn read(&self, blob: &BlobRef) -> Result<Bytes, CheckpointError> {
        let read = self.read_blobs(&blob.file, &[blob]).await?;
        let lost = || damaged(&self.objects.path(STATE, &blob.file), "it was not read".to_owned());
        read.into_iter().next().map(|(_, bytes)| bytes).ok_or_else(lost)
    }

    /// Reads every blob of a checkpoint into memory.
    ///
    /// # Errors
    /// As [`read`](Self::read), for the first blob that fails.
    pub async fn verify(&self, manifest: &Manifest) -> Result<VerifiedBytes, CheckpointError> {
        let mut files = BTreeMap::<&str, Vec<&BlobRef>>::new();
        for blob in manifest.checkpoint.blobs() {
            files.entry(&blob.file).or_default().push(blob);
        }
        let reads: Vec<_> =
            files.iter().map(|(file, blobs)| self.read_blobs(file, blobs)).collect();
        let read: Vec<_> =
            stream::iter(reads).buffer_unordered(READ_FILES_AT_ONCE).try_collect().await?;
        Ok(VerifiedBytes { blobs: read.into_iter().flatten().collect() })
    }

    /// Reads blobs of one state file, and tells how many bytes they have.
    ///
    /// # Errors
    /// As [`read`](Self::read), for the first blob that fails.
    pub async fn check_file(&self, file: &str, blobs: &[&BlobRef]) -> Result<u64, CheckpointError> {
        let read = self.read_blobs(file, blobs).await?;
        Ok(read.iter().map(|(blob, _)| blob.bytes).sum())
    }

    /// Finds the newest checkpoint that `check` accepts and whose blobs are all intact; `check` says why
    /// it refuses one. A checkpoint that is damaged or refused is passed over, and reported.
    ///
    /// This only looks. A process that goes on from a checkpoint has to [take over](Self::take_over).
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the object store refuses, because a newer checkpoint may be there
    /// all the same, [`CheckpointError::TooNew`] when a later version of Postrider wrote one, and
    /// [`CheckpointError::ForeignLog`] when `check` says that one is of another log.
    pub async fn newest_valid(&self, check: Check<'_>) -> Result<Recovery, CheckpointError> {
        Ok(self.search(check).await?.recovery)
    }

    pub(super) async fn search(&self, check: Check<'_>) -> Result<Search, CheckpointError> {
        let boundary = self.boundary().await?;
        let mut ids = self.listed().await?;
        ids.retain(|id| *id > boundary);
        let newest = ids.last().copied().unwrap_or(boundary);
        let recovery = Recovery { recovered: None, skipped: Vec::new() };
        let mut search = Search { recovery, newest, generation: 0 };
        for id in ids.into_iter().rev() {
            match self.recover(id, check, &mut search.generation).await {
                Ok(recovered) => {
                    search.recovery.recovered = Some(recovered);
                    break;
                }
                Err(error @ (CheckpointError::Damaged { .. } | CheckpointError::Unfit { .. })) => {
                    search.recovery.skipped.push((id, error))
                }
                Err(error) => return Err(error),
            }
        }
        Ok(search)
    }

    async fn recover(
        &self,
        id: u64,
        check: Check<'_>,
        generation: &mut u64,
    ) -> Result<Recovered, CheckpointError> {
        let manifest = self.load(id).await?;
        *generation = manifest.generation.max(*generation);
        check(&manifest).map_err(|misfit| self.misfit(id, format!("checkpoint {id}"), misfit))?;
        let blobs = self.verify(&manifest).await?;
        Ok(Recovered { manifest, blobs })
    }

    /// Reads blobs of one file.
    async fn read_blobs(
        &self,
        file: &str,
        blobs: &[&BlobRef],
    ) -> Result<Vec<(BlobRef, Bytes)>, CheckpointError> {
        let mut attempt = 1;
        loop {
            match self.read_blobs_once(file, blobs).await {
                Err(CheckpointError::Damaged { .. }) if attempt < READ_ATTEMPTS_MAX => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn read_blobs_once(
        &self,
        file: &str,
        blobs: &[&BlobRef],
    ) -> Result<Vec<(BlobRef, Bytes)>, CheckpointError> {
        let damaged = |reason| damaged(&self.objects.path(STATE, file), reason);
        if state_epoch_of(file).is_none() {
            return Err(damaged("it does not have the name of a state file".to_owned()));
        }
        let spans = spans(blobs);
        let end = spans.last().map(|span| span.range.end).unwrap_or_default();
        let bytes = self.objects.size(STATE, file).await?;
        if bytes < end {
            return Err(damaged(format!("it has {bytes} bytes, and must have {end} at least")));
        }
        let mut read = Vec::with_capacity(blobs.len());
        for Span { range, blobs } in spans {
            let start = range.start;
            let found = if range.is_empty() {
                Bytes::new()
            } else {
                self.objects.read_range(STATE, file, range).await?
            };
            for blob in blobs {
                read.push((blob.clone(), checked(&found, start, blob).map_err(damaged)?));
            }
        }
        Ok(read)
    }
}
