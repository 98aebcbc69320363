//! Starting, watching and stopping a pipeline.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use postrider_core::{
    Clock, ClockTime, DataSink, Decoder, Diagnostics, Epoch, PipelineName, Reject, SinkError,
    Source, Watermark,
};
use postrider_plan::{Program, Table};
use postrider_store::{CheckpointError, Log};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    EngineError,
    runtime::{
        builder,
        checkpoint::{CheckpointFacts, Checkpoints},
        coordinator::Command,
        restore::RestoredFacts,
        seal::OpenEpoch,
    },
    upgrade::UpgradePlan,
};

/// The halves of an opened source.
pub struct SourceParts {
    /// Reads.
    pub source: Box<dyn Source>,
    /// Decodes.
    pub decoder: Arc<dyn Decoder>,
}

/// Opens what a program names: the seam between the engine and everything that does I/O.
pub trait Connectors: Send + Sync {
    /// Opens a table for reading; rows are decoded to `schema`.
    ///
    /// # Errors
    /// The table's options are wrong, or what they name can't be opened.
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics>;
    /// Opens a table for writing.
    ///
    /// # Errors
    /// As for [`source`](Self::source).
    fn sink(&self, table: &Table, schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics>;
    /// The terminal, for a SELECT on its own.
    fn print(&self, schema: SchemaRef) -> Box<dyn DataSink>;
    /// Where bad records go.
    ///
    /// # Errors
    /// The place can't be opened.
    fn dead_letters(&self, pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics>;
    /// Bad records of a table as rows for [`dead_letters`](Self::dead_letters).
    ///
    /// # Errors
    /// Only for a fault of Postrider's own.
    fn dead_letter_rows(&self, table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError>;
}

/// What a sealed epoch did.
#[derive(Debug, Clone, Copy)]
pub struct SealFacts<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The epoch.
    pub epoch: Epoch,
    /// Rows read from sources.
    pub rows: u64,
    /// Records that became no row.
    pub rejects: u64,
    /// Rows dropped because their windows had fired.
    pub late_rows: u64,
    /// Rows for action sinks.
    pub trigger_rows: u64,
    /// The watermark behind the last operator.
    pub watermark: Watermark,
    /// When the event or tick that moved the watermark came (wall clock).
    pub moved_at: Option<ClockTime>,
    /// When the seal was durable (wall clock).
    pub sealed_at: ClockTime,
}

/// What a restart did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryFacts {
    /// What was read of a checkpoint.
    pub restored: RestoredFacts,
    /// Epochs replayed behind it.
    pub epochs: u64,
    /// Rows that they read.
    pub rows: u64,
    /// How long it took to read the checkpoint and to put it in place, in nanoseconds.
    pub restore_ns: i64,
    /// How long the replay took, in nanoseconds.
    pub replay_ns: i64,
}

/// Watches a pipeline. Called on its task: must not block.
pub trait EngineObserver: Send + Sync {
    /// An epoch is durable.
    fn sealed(&self, _facts: &SealFacts<'_>) {}
    /// A restart is done.
    fn recovered(&self, _pipeline: &str, _facts: &RecoveryFacts) {}
    /// The program is another than the one that the state is of, and goes on as planned.
    fn upgrading(&self, _pipeline: &str, _plan: &UpgradePlan) {}
    /// A checkpoint is committed.
    fn checkpointed(&self, _pipeline: &str, _facts: &CheckpointFacts) {}
    /// A checkpoint could not be written. The pipeline goes on with its log, and tries again.
    fn checkpoint_failed(&self, _pipeline: &str, _error: &CheckpointError) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl EngineObserver for NoObserver {}

/// What a pipeline did in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineSummary {
    /// Epochs sealed.
    pub epochs: u64,
    /// Epochs replayed after a restart.
    pub replayed_epochs: u64,
    /// How long that took.
    pub recovery_ns: i64,
    /// Rows read.
    pub rows: u64,
    /// Records that became no row.
    pub rejects: u64,
    /// Late rows.
    pub late_rows: u64,
    /// Rows for action sinks.
    pub trigger_rows: u64,
    /// Every source is bounded and was read to its end.
    pub drained: bool,
}

impl PipelineSummary {
    pub(crate) fn add(&mut self, open: &OpenEpoch) {
        self.epochs += 1;
        self.rows += open.rows();
        self.rejects += open.rejects();
        self.late_rows += open.late_rows();
        self.trigger_rows += open.trigger_rows();
    }
}

/// What a pipeline needs.
pub struct PipelineOptions {
    /// The program.
    pub program: Arc<Program>,
    /// Instances of every stage, and chunks of a source prepared at once. At least 1.
    pub parallelism: usize,
    /// Where epochs are sealed.
    pub log: Log,
    /// The epoch clock: what `idle_timeout` is measured by.
    pub clock: Arc<dyn Clock>,
    /// The wall clock: what latencies are measured by.
    pub wall: Arc<dyn Clock>,
    /// Opens tables.
    pub connectors: Arc<dyn Connectors>,
    /// Watches.
    pub observer: Arc<dyn EngineObserver>,
    /// Checkpoints; without them a restart replays the whole log.
    pub checkpoints: Option<Checkpoints>,
}

/// A running pipeline. Dropping it stops it at once, as a crash would.
pub struct Pipeline {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) coordinator: AbortOnDropHandle<Result<PipelineSummary, EngineError>>,
    pub(crate) name: PipelineName,
    pub(crate) tasks: Vec<AbortOnDropHandle<()>>,
    /// Counts them, with those that they watch.
    pub(crate) tracker: TaskTracker,
    /// Whether this start wrote down in the log what its epochs are of.
    pub(crate) recorded: Arc<AtomicBool>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Plans the program, opens its tables and starts its tasks.
    ///
    /// # Errors
    /// The program can't run, a table can't be opened, or the log can't be read.
    pub async fn start(options: PipelineOptions) -> Result<Self, EngineError> {
        builder::start(options).await
    }

    /// Waits until everything that is there was processed and sealed. False if the pipeline ended before
    /// that; [`join`](Self::join) says why.
    pub async fn settle(&self) -> bool {
        let (done, settled) = oneshot::channel();
        if self.commands.send(Command::Settle(done)).await.is_err() {
            return false;
        }
        // A question that reaches the channel while the coordinator leaves it is never dropped.
        tokio::select! {
            biased;
            answered = settled => answered.is_ok(),
            () = self.commands.closed() => false,
        }
    }

    /// Whether it ended; [`join`](Self::join) says how.
    pub fn has_ended(&self) -> bool {
        self.coordinator.is_finished()
    }

    /// Whether this start wrote down in the log of which program and fire series its epochs are. Firing again has begun with that:
    /// a start after it goes on in the new series, and one before it has to be asked for it anew.
    pub fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Acquire)
    }

    /// Takes a checkpoint now and waits until it is committed.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub async fn checkpoint(&self) -> Result<CheckpointFacts, String> {
        let (done, answered) = oneshot::channel();
        let ended = || "the pipeline has ended".to_owned();
        self.commands.send(Command::Checkpoint(done)).await.map_err(|_| ended())?;
        tokio::select! {
            biased;
            answer = answered => answer.unwrap_or_else(|_| Err(ended())),
            () = self.commands.closed() => Err(ended()),
        }
    }

    /// Asks the pipeline to end after the epochs in flight.
    pub async fn stop(&self) {
        // An error means that it ended already.
        drop(self.commands.send(Command::Stop).await);
    }

    /// Ends it at once, as a crash would, and waits until nothing of it runs any more.
    pub async fn shut_down(self) {
        let Self { commands, coordinator, name: _, tasks, tracker, recorded: _ } = self;
        drop((commands, coordinator, tasks));
        tracker.close();
        tracker.wait().await;
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why the pipeline had to stop.
    pub async fn join(mut self) -> Result<PipelineSummary, EngineError> {
        self.finished().await
    }

    /// As [`join`](Self::join), but whoever stops waiting may come back, and the pipeline runs on. Returns once.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub async fn finished(&mut self) -> Result<PipelineSummary, EngineError> {
        (&mut self.coordinator).await.unwrap_or_else(|error| {
            Err(EngineError::Bug { pipeline: self.name.0.clone(), message: error.to_string() })
        })
    }
}
