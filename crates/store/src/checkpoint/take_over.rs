//! Taking over: a process makes the newest checkpoint its own before it goes on from it.
//!
//! Without that, a process that was thought dead could commit and collect garbage once more, and delete
//! what only the checkpoint that its successor stands on refers to. Once the successor has written the same
//! checkpoint under the next id, the other one fails on that id, and keeps what it refers to.

use super::{CheckpointError, CheckpointStore, Recovered, Recovery, recover::Check};
use crate::{
    failpoint::{self, Failpoint},
    limits::TAKE_OVERS_MAX,
};

impl CheckpointStore {
    /// Finds the newest checkpoint as [`newest_valid`](Self::newest_valid) does, and writes its manifest again
    /// as this process's own. From then on processes of earlier generations are fenced. It comes before
    /// [`commit`](Self::commit), also when there is no checkpoint to recover.
    ///
    /// # Errors
    /// As [`newest_valid`](Self::newest_valid); [`CheckpointError::OtherLog`] when a later generation wrote
    /// the newest checkpoint; [`CheckpointError::Fenced`] when one takes over meanwhile; [`CheckpointError::Contended`] when others commit again and again
    /// meanwhile. After an error that is not of kind `Fenced` it may be tried again.
    pub async fn take_over(&self, check: Check<'_>) -> Result<Recovery, CheckpointError> {
        for _ in 0..TAKE_OVERS_MAX {
            let search = self.search(check).await?;
            if search.generation > self.generation.0 {
                return Err(CheckpointError::OtherLog {
                    pipeline: self.pipeline.clone(),
                    theirs: search.generation,
                    ours: self.generation.0,
                });
            }
            let Recovery { recovered, skipped } = search.recovery;
            let Some(Recovered { manifest, blobs }) = recovered else {
                self.lineage().taken(search.newest);
                return Ok(Recovery { recovered: None, skipped });
            };
            let mut own = self.unnumbered(manifest.checkpoint, Some(manifest.id))?;
            own.id = search.newest.saturating_add(1);
            // Who came first may have collected what was just read, so it is read anew.
            if self.try_commit(&own).await? {
                failpoint::pass(Failpoint::TakenOver);
                let recovered = Some(Recovered { manifest: own, blobs });
                return Ok(Recovery { recovered, skipped });
            }
        }
        Err(CheckpointError::Contended { pipeline: self.pipeline.clone(), tried: TAKE_OVERS_MAX })
    }
}
