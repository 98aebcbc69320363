//! What a pipeline goes on from: the newest checkpoint that is whole, and the sealed epochs behind it.

mod newest;
mod shadow;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use postrider_store::{
    CheckpointError, LogSpan, Lsn, Manifest, Misfit, Recovered,
    failpoint::{self, Failpoint},
};

pub(crate) use self::shadow::Shadow;
use self::{
    newest::{Found, read_log, was_sealed},
    shadow::plan_shadow,
};
use super::{
    checkpoint::{Checkpoints, RestoreFrom},
    restore::{Restored, SourceStart},
};
use crate::{
    EngineError, PipelineOptions, RecoveryFacts, dataflow::Dataflow, identity::fingerprint,
    upgrade::UpgradePlan,
};

/// What was found.
pub(crate) struct Resume {
    pub(crate) restored: Restored,
    /// Where the epochs begin that are to be replayed.
    pub(crate) replay_from: Lsn,
    /// How the epochs of another program are gone through; `None`: they are of this one.
    pub(crate) shadow: Option<Shadow>,
    pub(crate) fire_series: u32,
    pub(crate) facts: RecoveryFacts,
    /// The number of the newest sealed epoch, and where every sink stood.
    pub(crate) sealed_epoch: u64,
    pub(crate) sink_positions: BTreeMap<String, u64>,
}

impl Resume {
    /// What a source starts with.
    pub(crate) fn source(&self, table: &str) -> SourceStart {
        match &self.shadow {
            Some(shadow) if shadow.from_log => {
                shadow.starts.get(table).cloned().unwrap_or_default()
            }
            _ => self.restored.source(table).unwrap_or_default(),
        }
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
    let (recovered, skipped) = match checkpoints {
        Some(checkpoints) => take_over(options, checkpoints).await?,
        None => (None, Vec::new()),
    };
    let log_start = options.log.start();
    let checkpoint = recovered.as_ref().map(|recovered| &*recovered.manifest.checkpoint);
    let behind = checkpoint.map_or(log_start, |contents| Lsn(contents.log_position));
    let found = read_log(options, behind).await?;
    if recovered.is_none()
        && log_start > Lsn(0)
        && (found.is_known() || was_sealed(options).await?)
    {
        let pipeline = options.program.name.0.clone();
        return Err(EngineError::NoCheckpoint { pipeline, start: log_start.0 });
    }
    let manifest = recovered.as_ref().map(|recovered| &recovered.manifest);
    let plan = UpgradePlan::of(&options.program, flow, manifest);
    let refire = checkpoints.is_some_and(|checkpoints| checkpoints.refire);
    let shadow = if changed(options, &plan, &found) || refire {
        let Some(checkpoints) = checkpoints else {
            return Err(EngineError::Changed { pipeline: options.program.name.0.clone() });
        };
        options.observer.upgrading(&options.program.name.0, &plan);
        Some(plan_shadow(options, checkpoints, flow, &plan, &found).await?)
    } else {
        None
    };
    let restored = restored(options, flow, recovered.as_ref(), skipped, shadow.as_ref())?;
    let fire_series = checkpoint.map_or(0, |contents| contents.fire_series);
    let fire_series = fire_series.max(found.fire_series) + u32::from(refire);
    let facts = RecoveryFacts {
        restored: restored.facts.clone(),
        restore_ns: options.wall.now().0 - started,
        ..RecoveryFacts::default()
    };
    let from_log = shadow.as_ref().is_some_and(|shadow| shadow.from_log);
    Ok(Resume {
        replay_from: if from_log { log_start } else { behind },
        sealed_epoch: found.epoch(checkpoint.map_or(0, |contents| contents.epoch)),
        sink_positions: found.sink_positions(checkpoint),
        restored,
        shadow,
        fire_series,
        facts,
    })
}

/// Whether the checkpoint, or some epoch behind it, is of another program.
fn changed(options: &PipelineOptions, plan: &UpgradePlan, found: &Found) -> bool {
    let own = fingerprint(&options.program);
    (plan.manifest.is_some() && !plan.same) || found.fingerprints.iter().any(|other| *other != own)
}

fn restored(
    options: &PipelineOptions,
    flow: &Dataflow,
    recovered: Option<&Recovered>,
    skipped: Vec<(u64, String)>,
    shadow: Option<&Shadow>,
) -> Result<Restored, EngineError> {
    let shards = options.parallelism.max(1);
    let mut restored = match recovered {
        Some(recovered) if !shadow.is_some_and(|shadow| shadow.refire) => {
            let restored = Restored::new(recovered, flow, shards, shadow.is_some());
            restored.map_err(|reason| {
                let id = recovered.manifest.id;
                EngineError::Checkpoint(CheckpointError::Unfit { id, reason })
            })?
        }
        Some(recovered) => Restored::numbers(recovered),
        None => Restored::default(),
    };
    restored.facts.skipped = skipped;
    failpoint::pass(Failpoint::Restored);
    Ok(restored)
}

type TakenOver = (Option<Recovered>, Vec<(u64, String)>);

/// Takes the checkpoints over, and reads the newest that is whole and whose log is there.
async fn take_over(
    options: &PipelineOptions,
    checkpoints: &Checkpoints,
) -> Result<TakenOver, EngineError> {
    checkpoints.store.self_test().await?;
    let span = LogSpan::of(&options.log);
    let end = options.log.durable().borrow().0;
    // The furthest that a checkpoint is ahead of the log.
    let ahead = AtomicU64::new(0);
    let fits = |manifest: &Manifest| {
        if manifest.checkpoint.log_position > end {
            ahead.fetch_max(manifest.checkpoint.log_position, Ordering::Relaxed);
        }
        span.fits(&manifest.checkpoint)
    };
    let store = &checkpoints.store;
    let recovery = match &checkpoints.restore {
        None => store.take_over(&fits).await?,
        Some(RestoreFrom::Savepoint(name)) => store.take_over_savepoint(name, &fits).await?,
        Some(RestoreFrom::Number(wanted)) => {
            let check = |manifest: &Manifest| match fits(manifest) {
                Ok(()) | Err(Misfit::Unfit(_)) if manifest.id != *wanted => {
                    Err(Misfit::Unfit(format!("number {wanted} was asked for")))
                }
                fits => fits,
            };
            let mut recovery = store.take_over(&check).await?;
            recovery.skipped.retain(|(id, _)| id == wanted);
            recovery
        }
    };
    match (&checkpoints.restore, recovery.recovered) {
        (Some(wanted), None) => Err(EngineError::NoSuchCheckpoint {
            pipeline: options.program.name.0.clone(),
            wanted: wanted.clone(),
            reason: why_not(recovery.skipped.first()),
        }),
        (None, None) if ahead.load(Ordering::Relaxed) > 0 => Err(EngineError::LostLog {
            pipeline: options.program.name.0.clone(),
            position: ahead.into_inner(),
            end,
        }),
        (_, recovered) => {
            let skipped = recovery.skipped.into_iter();
            Ok((recovered, skipped.map(|(id, error)| (id, error.to_string())).collect()))
        }
    }
}

fn why_not(skipped: Option<&(u64, CheckpointError)>) -> String {
    match skipped {
        None => "it is not there".to_owned(),
        Some((_, CheckpointError::Unfit { reason, .. })) => reason.clone(),
        Some((_, CheckpointError::Damaged { path, reason })) => format!("{path}: {reason}"),
        Some((_, error)) => error.to_string(),
    }
}
