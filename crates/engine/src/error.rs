//! What can go wrong while a pipeline runs.

use postrider_core::{Diagnostics, ErrorKind, SinkError, SourceError};
use postrider_store::{CheckpointError, LogError, ViewError};

use crate::RestoreFrom;

/// Why a pipeline could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The program can't run as it is written.
    #[error("{0}")]
    Invalid(#[from] Diagnostics),
    /// A source failed.
    #[error("source `{table}`: {error}")]
    Source {
        /// The table.
        table: String,
        /// What happened.
        error: SourceError,
    },
    /// A sink failed.
    #[error("sink `{sink}`: {error}")]
    Sink {
        /// The table, or `stdout`.
        sink: String,
        /// What happened.
        error: SinkError,
    },
    /// `bad_data = 'fail'` met a bad row.
    #[error(
        "table `{table}` has bad_data = 'fail' and its record at {position} is bad: {message} ({reason})"
    )]
    BadData {
        /// The table.
        table: String,
        /// Where the record is.
        position: String,
        /// The stable word for the reason.
        reason: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A row could not be computed, such as a division by zero or a failed cast.
    #[error("pipeline `{pipeline}`: a row could not be computed: {message}")]
    Compute {
        /// The pipeline.
        pipeline: String,
        /// What the expression said.
        message: String,
    },
    /// The state on disk belongs to another program.
    #[error(
        "pipeline `{pipeline}` changed since this state was written; start it on another --state-dir, \
         or give it another name"
    )]
    Changed {
        /// The pipeline.
        pipeline: String,
    },
    /// A replayed epoch read or gave other rows than the log holds.
    #[error(
        "pipeline `{pipeline}` replayed epoch {epoch} and got other rows than the log holds; if its input is \
         what it was, keep the state directory and report this"
    )]
    Diverged {
        /// The pipeline.
        pipeline: String,
        /// The epoch.
        epoch: u64,
    },
    /// The checkpoints failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint that was asked for is not there, or can't be restored.
    #[error(
        "{wanted} of pipeline `{pipeline}` can't be restored: {reason}; `postrider state list` shows what is there"
    )]
    NoSuchCheckpoint {
        /// The pipeline.
        pipeline: String,
        /// What was asked for.
        wanted: RestoreFrom,
        /// What is in the way.
        reason: String,
    },
    /// An operator has to be rebuilt from more of the log than is left.
    #[error(
        "pipeline `{pipeline}` changed, and what the log still has, {}, may not be enough to rebuild its state: windows and \
         sessions that began before could lack rows; --accept-gap goes on without them, `run --plan` shows what is kept",
        begins.map_or("nothing".to_owned(), |at| format!("from {} on", postrider_core::format_time(at)))
    )]
    Gap {
        /// The pipeline.
        pipeline: String,
        /// The clock of the first epoch that the log has.
        begins: Option<i64>,
    },
    /// What the log remembers of frames that were deleted can't be read.
    #[error(transparent)]
    View(ViewError),
    /// The log no longer has its beginning, and there is no checkpoint behind it.
    #[error(
        "pipeline `{pipeline}` can't be restored: the log begins at {start}, and there is no checkpoint that goes on \
         there; give the place where its checkpoints are (--checkpoints), or start it on another --state-dir"
    )]
    NoCheckpoint {
        /// The pipeline.
        pipeline: String,
        /// Where the log begins.
        start: u64,
    },
    /// The newest checkpoints go on where the log does not reach.
    #[error(
        "pipeline `{pipeline}` has checkpoints that go on at {position} of its log, and this log ends at {end}: it is another one, \
         or its end was lost, and events and sends with it. Going on would send mails a second time: bring the state directory \
         back, or decide to start anew from what the log still has, with checkpoints at another place, such as a new prefix for \
         --checkpoints, or with the `checkpoints` in the state directory moved away"
    )]
    LostLog {
        /// The pipeline.
        pipeline: String,
        /// The furthest position that a checkpoint goes on at.
        position: u64,
        /// Where the log ends.
        end: u64,
    },
    /// A fault of Postrider's own.
    #[error("pipeline `{pipeline}` stopped by a fault of Postrider: {message}; please report it")]
    Bug {
        /// The pipeline.
        pipeline: String,
        /// What is known.
        message: String,
    },
}

impl EngineError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_)
            | Self::Changed { .. }
            | Self::NoSuchCheckpoint { .. }
            | Self::Gap { .. } => ErrorKind::Invalid,
            Self::Source { error, .. } => error.kind,
            Self::Sink { error, .. } => error.kind,
            Self::BadData { .. } | Self::Compute { .. } => ErrorKind::Data,
            Self::Log(error) => error.kind(),
            Self::Checkpoint(error) => error.kind(),
            Self::View(error) => error.kind(),
            Self::NoCheckpoint { .. } | Self::LostLog { .. } => ErrorKind::Data,
            Self::Diverged { .. } | Self::Bug { .. } => ErrorKind::Bug,
        }
    }
}
