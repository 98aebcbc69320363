//! What the log says about a pipeline, read off the workers of the runtime: it may take seconds.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_store::{CheckpointContents, EpochSealed, Lsn, Outbox};

use crate::{
    EngineError, PipelineOptions,
    runtime::replay::{Newest, newest_seal},
};

/// What the log has of a pipeline from a position on.
pub(crate) struct Found {
    /// The newest seal, with the position of every sink.
    pub(super) newest: Option<EpochSealed>,
    /// The programs that the log says they are of.
    pub(super) fingerprints: Vec<Bytes>,
    pub(super) fire_series: u32,
}

impl Found {
    /// Whether there is anything of the pipeline.
    pub(super) fn is_known(&self) -> bool {
        self.newest.is_some()
    }

    /// The number of the newest sealed epoch, which is not before `checkpoint`.
    pub(super) fn epoch(&self, checkpoint: u64) -> u64 {
        self.newest.as_ref().map_or(checkpoint, |seal| seal.epoch.max(checkpoint))
    }

    /// The position of every sink at the newest seal, or at the checkpoint before.
    pub(super) fn sink_positions(
        &self,
        checkpoint: Option<&CheckpointContents>,
    ) -> BTreeMap<String, u64> {
        let kept = checkpoint.into_iter().flat_map(|contents| &contents.sinks);
        let kept = kept.filter_map(|sink| Some((sink.sink.clone(), sink.position?)));
        let sealed = self.newest.iter().flat_map(|seal| &seal.sinks);
        kept.chain(sealed.map(|seal| (seal.sink.clone(), seal.position))).collect()
    }
}

/// Reads all that the log has of the pipeline from a position on.
pub(crate) async fn read_log(options: &PipelineOptions, from: Lsn) -> Result<Found, EngineError> {
    let (log, name) = (options.log.clone(), options.program.name.0.clone());
    let read = blocking(options, move || newest_seal(&log, from, &name)).await??;
    let Newest { seal, fingerprints, fire_series } = read;
    Ok(Found { newest: seal, fingerprints, fire_series })
}

/// Whether the pipeline has epochs in a part of the log that was deleted.
pub(crate) async fn was_sealed(options: &PipelineOptions) -> Result<bool, EngineError> {
    let log = options.log.clone();
    let known = move || Outbox::pipelines_in_snapshot(&log.reader(log.start()));
    let known = blocking(options, known).await?.map_err(EngineError::View)?;
    Ok(known.contains(&options.program.name.0))
}

pub(super) async fn blocking<T: Send + 'static>(
    options: &PipelineOptions,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    options.log.blocking(work).await.map_err(|error| EngineError::Bug {
        pipeline: options.program.name.0.clone(),
        message: error.to_string(),
    })
}
