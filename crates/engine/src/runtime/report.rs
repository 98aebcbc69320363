//! What tasks tell the coordinator.

use arrow::array::RecordBatch;
use postrider_core::{ClockTime, Epoch, Position, Reject, SinkPosition, Watermark};
use postrider_store::CheckpointError;

use super::checkpoint::{CheckpointFacts, HandedOver};
use crate::{
    EngineError,
    watermark::{IdleClock, Progress},
};

/// What one source did in one epoch.
#[derive(Debug)]
pub(crate) struct SourceReport {
    pub(crate) source: usize,
    pub(crate) epoch: Epoch,
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) rows: u64,
    /// Of these, how many were at or before the watermark.
    pub(crate) late: u64,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) progress: Progress,
    pub(crate) idle: IdleClock,
    /// The largest event time ever seen.
    pub(crate) last_event_time: Option<i64>,
    /// Wall stamp of the event that moved the watermark in this epoch.
    pub(crate) moved_at: Option<i64>,
    /// Whether more input is there already.
    pub(crate) more: bool,
    /// Bounded and drained.
    pub(crate) ended: bool,
}

/// What one stage instance did in one epoch.
#[derive(Debug)]
pub(crate) struct StageReport {
    pub(crate) stage: usize,
    pub(crate) shard: usize,
    pub(crate) epoch: Epoch,
    pub(crate) late_rows: u64,
    /// Late rows that corrected a result.
    pub(crate) counted_late: u64,
    pub(crate) next_timer: Option<Watermark>,
    pub(crate) next_clock: Option<ClockTime>,
    pub(crate) watermark: Watermark,
    /// What the operator handed over, if the barrier asked for it.
    pub(crate) handed: Option<HandedOver>,
    /// Results that could not be computed further.
    pub(crate) rejects: Vec<Reject>,
}

/// What one sink did in one epoch.
#[derive(Debug)]
pub(crate) struct SinkReport {
    pub(crate) sink: usize,
    pub(crate) epoch: Epoch,
    /// The trigger rows of an action sink.
    pub(crate) rows: Vec<RecordBatch>,
    /// The durable position of a data sink.
    pub(crate) position: Option<SinkPosition>,
    pub(crate) watermark: Watermark,
}

/// Any of them.
#[derive(Debug)]
pub(crate) enum Report {
    Source(SourceReport),
    Stage(StageReport),
    Sink(SinkReport),
    /// What became of a checkpoint.
    Checkpoint(Result<CheckpointFacts, CheckpointError>),
    /// A task gave up.
    Failed(EngineError),
}
