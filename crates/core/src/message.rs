//! What travels between the operators of a dataflow.

use arrow_array::{RecordBatch, TimestampNanosecondArray};

use crate::{ClockTime, Epoch, Watermark};

/// Rows and their event times.
///
/// Invariants: `times` has one value a row and no nulls; `rows` never holds the event time
/// implicitly, so a projection that drops the time column keeps the times.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns that the query sees.
    pub rows: RecordBatch,
    /// The event time of each row.
    pub times: TimestampNanosecondArray,
}

/// What an epoch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochKind {
    /// Input arrived, or the idle clock moved.
    Input,
    /// Every source is bounded and drained: the watermark moves to the last event time.
    Observed,
    /// After [`EpochKind::Observed`]: every window completes, for sinks that want what batch would say.
    End,
}

/// The border between two epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that this barrier ends.
    pub epoch: Epoch,
    /// What the epoch was for.
    pub kind: EpochKind,
    /// The reading of the epoch's clock, journaled with it.
    pub clock: ClockTime,
    /// The number of the checkpoint whose snapshot operators take here, journaled with the epoch.
    pub checkpoint: Option<u64>,
}

/// One in-band message on a channel between two tasks.
///
/// Order on a channel, for each epoch: any number of batches, exactly one `Watermark`, `Idle` or
/// `Finished`, then the `Barrier`. A channel closes behind a barrier.
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows of the current epoch, and the reading of its clock, which is that of its barrier.
    Batch(Batch, ClockTime),
    /// The watermark moved, as of the end of the current epoch; the channel is active.
    Watermark(Watermark),
    /// The channel is quiet: it does not hold back the others. Carries how far its own clock ran on.
    Idle(Watermark),
    /// The channel's input is bounded and drained: it never holds back the others again.
    Finished(Watermark),
    /// The epoch ends here.
    Barrier(Barrier),
}
