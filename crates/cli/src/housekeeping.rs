//! Keeping the log short while pipelines run: what checkpoints say that they still need, and a look at it every minute.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use postrider_core::{Clock, ClockTime};
use postrider_engine::{CheckpointFacts, EngineObserver, RecoveryFacts, SealFacts, UpgradePlan};
use postrider_serve::{Collector, CollectorLimits};
use postrider_store::{
    CheckpointError, Housekeeping, KeepLog, Log, Lsn, PipelineNeeds, SEGMENT_BYTES_DEFAULT, Tidied,
    ViewError,
};
use tokio_util::sync::CancellationToken;

use crate::{args::LogTuning, project::LoadedPipeline, wiring::COLLECTOR};

/// How often the log is looked at: segments fill far slower.
const EVERY_NS: i64 = 60_000_000_000;

/// How short the log is kept. Only tests choose another way than the default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tidiness {
    /// How often it is looked at.
    every_ns: i64,
    /// What is kept anyway.
    keep: KeepLog,
    /// Bytes of the log after which snapshots are due; `None`: as each view has it.
    snapshot_log_bytes: Option<u64>,
}

impl Default for Tidiness {
    fn default() -> Self {
        Self { every_ns: EVERY_NS, keep: KeepLog::default(), snapshot_log_bytes: None }
    }
}

impl Tidiness {
    /// What the arguments of a run ask for. With segments of another size, what is measured in default ones is measured in
    /// these.
    pub(crate) fn of(asked: &LogTuning) -> Self {
        let mut tidiness = Self::default();
        if let Some(bytes) = asked.log_segment_bytes {
            let segments = tidiness.keep.bytes / SEGMENT_BYTES_DEFAULT;
            tidiness.keep.bytes = bytes.saturating_mul(segments);
            tidiness.snapshot_log_bytes = Some(bytes);
        }
        if let Some(seconds) = asked.keep_seconds {
            tidiness.keep.time = Duration::from_secs(seconds.into());
        }
        if let Some(every) = asked.housekeeping_ms {
            tidiness.every_ns = i64::from(every) * 1_000_000;
        }
        tidiness
    }

    /// Bytes of the log after which the outbox is written down.
    pub(crate) fn outbox_bytes(&self) -> u64 {
        self.snapshot_log_bytes.unwrap_or(postrider_mail::SNAPSHOT_LOG_BYTES)
    }

    /// Bytes of the log after which message ids are written down.
    pub(crate) fn message_ids_bytes(&self) -> u64 {
        self.snapshot_log_bytes.unwrap_or(postrider_serve::limits::SNAPSHOT_LOG_BYTES)
    }
}

/// What each pipeline still needs of the log, as its newest checkpoint said; and a watcher behind this one.
pub(crate) struct Needs {
    positions: Mutex<BTreeMap<String, Vec<Lsn>>>,
    /// The tables of pushed events of each pipeline: their offsets are places in the log.
    pushed: BTreeMap<String, Vec<String>>,
    next: Arc<dyn EngineObserver>,
}

impl Needs {
    /// Of these pipelines, which need everything until a checkpoint says otherwise.
    pub(crate) fn new(pipelines: &[LoadedPipeline], next: Arc<dyn EngineObserver>) -> Self {
        let name = |pipeline: &LoadedPipeline| pipeline.program.name.0.clone();
        let pushed = |pipeline: &LoadedPipeline| {
            let tables = pipeline.program.tables.values();
            let tables = tables.filter(|table| table.connector == COLLECTOR);
            (name(pipeline), tables.map(|table| table.name.clone()).collect())
        };
        Self {
            positions: Mutex::new(pipelines.iter().map(|p| (name(p), Vec::new())).collect()),
            pushed: pipelines.iter().map(pushed).collect(),
            next,
        }
    }

    fn all(&self) -> Vec<PipelineNeeds> {
        let positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let needs = positions.iter().map(|(pipeline, positions)| PipelineNeeds {
            pipeline: pipeline.clone(),
            positions: positions.clone(),
        });
        needs.collect()
    }
}

impl EngineObserver for Needs {
    fn sealed(&self, facts: &SealFacts<'_>) {
        self.next.sealed(facts);
    }

    fn recovered(&self, pipeline: &str, facts: &RecoveryFacts) {
        self.next.recovered(pipeline, facts);
    }

    fn upgrading(&self, pipeline: &str, plan: &UpgradePlan) {
        self.next.upgrading(pipeline, plan);
    }

    fn checkpointed(&self, pipeline: &str, facts: &CheckpointFacts) {
        if let Some(oldest) = &facts.oldest {
            let pushed = self.pushed.get(pipeline);
            let is_pushed = |table: &String| pushed.is_some_and(|tables| tables.contains(table));
            let sources = oldest.sources.iter().filter(|(table, _)| is_pushed(table));
            let read = sources.map(|(_, offset)| Lsn(*offset));
            let positions = read.chain([Lsn(oldest.log_position)]).collect();
            let mut all = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(pipeline.to_owned(), positions);
        }
        self.next.checkpointed(pipeline, facts);
    }

    fn checkpoint_failed(&self, pipeline: &str, error: &CheckpointError) {
        self.next.checkpoint_failed(pipeline, error);
    }
}

/// Deletes what nobody needs of a log, from time to time, until `stop`. What fails is tried again. Once this has ended, nothing
/// of it is under way any more: files that are being deleted are in the way of whoever reads the log next.
pub(crate) async fn keep_short(
    log: Log,
    needs: Arc<Needs>,
    wall: Arc<dyn Clock>,
    tidiness: Tidiness,
    dispatcher_runs: bool,
    stop: CancellationToken,
) {
    loop {
        let next = ClockTime(wall.now().0.saturating_add(tidiness.every_ns));
        tokio::select! {
            () = wall.sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
        let (log, pipelines, now) = (log.clone(), needs.all(), wall.now().0);
        let tidied = tokio::task::spawn_blocking(move || {
            tidy(&log, &pipelines, tidiness.keep, now, dispatcher_runs)
        });
        match tidied.await {
            Ok(Ok(tidied)) if tidied.shortened.segments > 0 => tracing::info!(
                segments = tidied.shortened.segments,
                bytes = tidied.shortened.bytes,
                "the beginning of the log was deleted: all of it is in checkpoints and snapshots"
            ),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the log could not be shortened"),
            Err(error) => tracing::warn!(%error, "the log could not be shortened"),
        }
    }
}

fn tidy(
    log: &Log,
    pipelines: &[PipelineNeeds],
    keep: KeepLog,
    now: i64,
    dispatcher_runs: bool,
) -> Result<Tidied, ViewError> {
    let views = [Collector::kept_view(&CollectorLimits::default())];
    Housekeeping { pipelines, views: &views, dispatcher_runs, keep, now }.run(log)
}
