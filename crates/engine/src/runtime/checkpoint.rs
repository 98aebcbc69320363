//! Checkpoints: what stages hand over at a barrier, written in the background while the flow goes on.
//!
//! Flow: 1. the coordinator marks a barrier  2. stages snapshot their operators there, which costs little  3. the epoch is sealed,
//! and says so  4. the snapshot goes to the task here, which makes, encodes and writes the parts that are new, and commits a manifest
//! 5. the task tells the coordinator, which only then marks another barrier.
//!
//! While the object store can't be reached the pipeline goes on: what could not be written is kept and written by the next
//! checkpoint. That is at most what the operators hold anyway, because a part that they let go of is let go of here.

pub(crate) mod codec;
mod kept;

use std::{fmt, sync::Arc};

use postrider_core::{Clock, Epoch};
use postrider_store::{
    Checkpoint, CheckpointContents, CheckpointError, CheckpointStore, OperatorState, ReadsFrom,
    Retention,
};
use tokio::{runtime::RuntimeFlavor, sync::mpsc};

pub(crate) use self::kept::Kept;
use super::report::Report;
use crate::{EngineError, operator::StateSnapshot};

/// Where and how often checkpoints of a pipeline are written.
pub struct Checkpoints {
    /// The pipeline's checkpoints, for this process.
    pub store: CheckpointStore,
    /// A checkpoint is due so long after the last one (wall clock), if anything happened.
    pub every_ns: i64,
    /// A checkpoint is due once the log grew by so much since the last one.
    pub log_bytes: u64,
    /// Whether state is compressed (LZ4): worth it where bytes are sent over a network.
    pub compress: bool,
    /// How long they are kept.
    pub retention: Retention,
    /// What to go on from, instead of the newest checkpoint.
    pub restore: Option<RestoreFrom>,
    /// Goes on with an edited program even if the log lacks rows that its windows would hold.
    pub accept_gap: bool,
    /// Reads everything that the log has again and fires for it again, in a new series of sends.
    pub refire: bool,
}

/// A checkpoint that a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreFrom {
    /// The number of its manifest.
    Number(u64),
    /// The name of a savepoint.
    Savepoint(String),
}

impl fmt::Display for RestoreFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "checkpoint {number}"),
            Self::Savepoint(name) => write!(f, "savepoint `{name}`"),
        }
    }
}

/// What a checkpoint took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// The number of its manifest.
    pub manifest: u64,
    /// The epoch.
    pub epoch: Epoch,
    /// Where a replay behind it begins in the log.
    pub log_position: u64,
    /// Bytes written for it.
    pub written_bytes: u64,
    /// Bytes of all parts that it refers to.
    pub state_bytes: u64,
    /// Rows of all parts that it refers to.
    pub state_rows: u64,
    /// Bytes of memory that the operators took.
    pub memory: usize,
    /// From the seal to the commit.
    pub took_ns: i64,
    /// The longest that an operator stopped the flow for it (wall clock).
    pub paused_ns: i64,
    /// What the oldest checkpoint that is kept, or an older savepoint, reads of the log and of sources; `None` if that is not known.
    pub oldest: Option<ReadsFrom>,
}

/// What an operator hands over at a barrier.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) snapshot: StateSnapshot,
    /// Bytes of memory that the operator takes.
    pub(crate) memory: usize,
    /// How long it took no rows for it (wall clock).
    pub(crate) paused_ns: i64,
}

/// What one stage instance handed over.
#[derive(Debug)]
pub(crate) struct StageSnapshot {
    pub(crate) stage: usize,
    pub(crate) shard: usize,
    pub(crate) handed: HandedOver,
}

/// What the task is asked for.
#[derive(Debug)]
pub(crate) struct CheckpointJob {
    pub(crate) snapshots: Vec<StageSnapshot>,
    /// The rest of the checkpoint, its operators without their parts; `None` while an epoch is replayed, whose snapshot is only
    /// taken note of.
    pub(crate) contents: Option<CheckpointContents>,
}

/// What a checkpoint costs up to here.
struct Cost {
    started: i64,
    memory: usize,
    paused_ns: i64,
}

impl Cost {
    fn of(job: &CheckpointJob, started: i64) -> Self {
        let handed = || job.snapshots.iter().map(|stage| &stage.handed);
        Self {
            started,
            memory: handed().map(|handed| handed.memory).sum(),
            paused_ns: handed().map(|handed| handed.paused_ns).max().unwrap_or(0),
        }
    }
}

/// Does work that takes long while the other tasks of this worker go on elsewhere. With one thread there is no elsewhere.
fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}

/// The task that writes the checkpoints of a pipeline.
pub(crate) struct Checkpointer {
    pub(crate) pipeline: String,
    pub(crate) store: Arc<CheckpointStore>,
    pub(crate) retention: Retention,
    /// The tables of the pipeline's sources.
    pub(crate) sources: Vec<String>,
    pub(crate) kept: Kept,
    pub(crate) wall: Arc<dyn Clock>,
    pub(crate) jobs: mpsc::Receiver<CheckpointJob>,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Checkpointer {
    /// Takes jobs until the coordinator is gone.
    pub(crate) async fn run(mut self) {
        while let Some(job) = self.jobs.recv().await {
            let cost = Cost::of(&job, self.wall.now().0);
            if let Err(error) = self.take(job.snapshots) {
                let (pipeline, message) = (self.pipeline, error.strip_backtrace());
                let failed = Report::Failed(EngineError::Compute { pipeline, message });
                // The coordinator may be gone as well: then nobody needs to know.
                drop(self.reports.send(failed).await);
                break;
            }
            let Some(contents) = job.contents else { continue };
            let outcome = self.write(contents, cost).await;
            if self.reports.send(Report::Checkpoint(outcome)).await.is_err() {
                break;
            }
        }
    }

    fn take(&mut self, snapshots: Vec<StageSnapshot>) -> datafusion::common::Result<()> {
        beside_others(|| snapshots.into_iter().try_for_each(|stage| self.kept.take(stage)))
    }

    async fn write(
        &mut self,
        mut contents: CheckpointContents,
        cost: Cost,
    ) -> Result<CheckpointFacts, CheckpointError> {
        let (epoch, log_position) = (contents.epoch, contents.log_position);
        let mut writer = self.store.writer(epoch);
        beside_others(|| {
            contents.operators.iter_mut().enumerate().try_for_each(|(stage, operator)| {
                operator.parts = self.kept.encode(stage, &mut writer)?;
                Ok::<_, CheckpointError>(())
            })
        })?;
        let written_bytes = writer.finish().await?;
        let parts = |operator: &OperatorState| operator.parts.clone();
        let written: Vec<_> = contents.operators.iter().map(parts).collect();
        let checkpoint = Checkpoint::new(&self.sources, contents)?;
        let manifest = self.store.commit(checkpoint).await?;
        let all = || written.iter().flatten();
        let facts = CheckpointFacts {
            manifest: manifest.id,
            epoch: Epoch(epoch),
            log_position,
            written_bytes,
            state_bytes: all().map(|part| part.blob.bytes).sum(),
            state_rows: all().map(|part| part.rows).sum(),
            memory: cost.memory,
            took_ns: self.wall.now().0 - cost.started,
            paused_ns: cost.paused_ns,
            oldest: None,
        };
        self.kept.committed(&written);
        Ok(CheckpointFacts { oldest: self.collect().await, ..facts })
    }

    /// Deletes old checkpoints. What can't be deleted now is deleted behind a later one.
    async fn collect(&self) -> Option<ReadsFrom> {
        match self.oldest_kept().await {
            Ok(oldest) => oldest,
            Err(error) => {
                tracing::warn!(%error, "old checkpoints were not deleted");
                None
            }
        }
    }

    async fn oldest_kept(&self) -> Result<Option<ReadsFrom>, CheckpointError> {
        let collected = self.store.collect_garbage(&self.retention).await?;
        for (name, error) in &collected.damaged_savepoints {
            tracing::warn!(%error, "savepoint `{name}` can't be restored");
        }
        let Some(oldest) = collected.oldest else { return Ok(None) };
        let oldest = ReadsFrom::of(&self.store.load(oldest).await?.checkpoint);
        Ok(Some(collected.savepoints.iter().fold(oldest, ReadsFrom::earlier)))
    }
}
