//! What a pipeline goes on from: the newest checkpoint that is whole, and the sealed epochs behind it.

use postrider_store::{
    CheckpointError, EpochSealed, Log, Lsn, Manifest, Outbox,
    failpoint::{self, Failpoint},
};

use super::{
    checkpoint::Checkpoints,
    replay::{Newest, newest_seal},
    restore::Restored,
};
use crate::{
    EngineError, PipelineOptions, RecoveryFacts, dataflow::Dataflow, identity::fingerprint,
};

/// What was found.
pub(crate) struct Resume {
    pub(crate) restored: Restored,
    /// The newest seal, with the position of every sink.
    newest: Option<EpochSealed>,
    /// Where the epochs begin that are not in the checkpoint.
    pub(crate) replay_from: Lsn,
    pub(crate) facts: RecoveryFacts,
}

impl Resume {
    /// The number of the newest sealed epoch.
    pub(crate) fn sealed_epoch(&self) -> u64 {
        let restored = self.restored.contents.as_ref().map(|contents| contents.epoch);
        self.newest.as_ref().map(|seal| seal.epoch).max(restored).unwrap_or(0)
    }

    /// The position of a sink at the newest seal.
    pub(crate) fn sealed_position(&self, sink: &str) -> Option<u64> {
        let seals = self.newest.iter().flat_map(|seal| &seal.sinks);
        let newest = seals.into_iter().find(|seal| seal.sink == sink).map(|seal| seal.position);
        newest.or_else(|| self.restored.sink(sink)?.position)
    }
}

/// Reads the newest checkpoint and the newest seal. Comes before anything is opened: another program must not cut this one's
/// files.
pub(crate) async fn resume(
    options: &PipelineOptions,
    checkpoints: Option<&Checkpoints>,
    flow: &Dataflow,
) -> Result<Resume, EngineError> {
    let started = options.wall.now().0;
    let restored = match checkpoints {
        Some(checkpoints) => restore(options, checkpoints, flow).await?,
        None => Restored::default(),
    };
    let contents = restored.contents.as_ref();
    let start = options.log.start();
    let replay_from = contents.map_or(start, |contents| Lsn(contents.log_position));
    let newest = newest_state(options, replay_from).await?;
    if contents.is_none() && start > Lsn(0) && (newest.is_some() || was_sealed(options).await?) {
        let pipeline = options.program.name.0.clone();
        return Err(EngineError::NoCheckpoint { pipeline, start: start.0 });
    }
    let facts = RecoveryFacts {
        restored: restored.facts.clone(),
        restore_ns: options.wall.now().0 - started,
        ..RecoveryFacts::default()
    };
    Ok(Resume { restored, newest, replay_from, facts })
}

/// Whether the pipeline has epochs in a part of the log that was deleted.
async fn was_sealed(options: &PipelineOptions) -> Result<bool, EngineError> {
    let log = options.log.clone();
    let known = move || Outbox::pipelines_in_snapshot(&log.reader(log.start()));
    let name = || options.program.name.0.clone();
    let known = tokio::task::spawn_blocking(known)
        .await
        .map_err(|error| EngineError::Bug { pipeline: name(), message: error.to_string() })?;
    Ok(known.map_err(EngineError::View)?.contains(&name()))
}

/// Takes the checkpoints over, and reads the newest that is whole and whose log is there.
async fn restore(
    options: &PipelineOptions,
    checkpoints: &Checkpoints,
    flow: &Dataflow,
) -> Result<Restored, EngineError> {
    checkpoints.store.self_test().await?;
    let log = options.log.clone();
    let wanted = checkpoints.restore;
    let check = move |manifest: &Manifest| match wanted {
        Some(wanted) if manifest.id != wanted => Err(format!("number {wanted} was asked for")),
        _ => fits(&log, manifest),
    };
    let recovery = checkpoints.store.take_over(&check).await?;
    let skipped = recovery.skipped.into_iter();
    let skipped: Vec<_> = skipped.map(|(id, error)| (id, error.to_string())).collect();
    let Some(recovered) = recovery.recovered else {
        let mut restored = Restored::default();
        restored.facts.skipped = skipped;
        return Ok(restored);
    };
    let pipeline = || options.program.name.0.clone();
    let fingerprint = fingerprint(&options.program);
    let hex: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    if recovered.manifest.checkpoint.fingerprint != hex {
        return Err(EngineError::Changed { pipeline: pipeline() });
    }
    let shards = options.parallelism.max(1);
    let mut restored = Restored::new(&recovered, flow, shards).map_err(|reason| {
        let id = recovered.manifest.id;
        EngineError::Checkpoint(CheckpointError::Unfit { id, reason })
    })?;
    restored.facts.skipped = skipped;
    failpoint::pass(Failpoint::Restored);
    Ok(restored)
}

/// Whether the log has what comes behind a checkpoint.
fn fits(log: &Log, manifest: &Manifest) -> Result<(), String> {
    let (start, position) = (log.start().0, manifest.checkpoint.log_position);
    let end = log.durable().borrow().0;
    if position < start {
        return Err(format!("it goes on at {position} of the log, which begins at {start}"));
    }
    if position > end {
        return Err(format!("it goes on at {position} of the log, which ends at {end}"));
    }
    Ok(())
}

/// What the log says about the pipeline; reading it may take seconds, so not on a worker of the runtime.
async fn newest_state(
    options: &PipelineOptions,
    from: Lsn,
) -> Result<Option<EpochSealed>, EngineError> {
    let (log, name) = (options.log.clone(), options.program.name.0.clone());
    let read = tokio::task::spawn_blocking(move || newest_seal(&log, from, &name)).await;
    let pipeline = || options.program.name.0.clone();
    let Newest { seal, fingerprint: known } = read.unwrap_or_else(|error| {
        Err(EngineError::Bug { pipeline: pipeline(), message: error.to_string() })
    })?;
    match known {
        Some(known) if known != fingerprint(&options.program) => {
            Err(EngineError::Changed { pipeline: pipeline() })
        }
        _ => Ok(seal),
    }
}
