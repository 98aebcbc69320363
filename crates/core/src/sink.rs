//! Data sinks: bulk output that commits by position together with its epoch.

use arrow_array::RecordBatch;
use async_trait::async_trait;

use crate::ErrorKind;

/// Where the durable part of a data sink ends; opaque to everyone but the sink.
pub type SinkPosition = u64;

/// Why a sink could not write.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What the caller should do.
    pub kind: ErrorKind,
    /// What happened, where, and what to do.
    pub message: String,
}

/// Writes the rows of a data sink.
///
/// Contract:
/// - `restore` is called once, first, with the position that the newest sealed epoch holds (`None`
///   on a new state); everything behind it is cut off or will be overwritten.
/// - `write` may buffer. `flush` makes everything written so far durable and returns the position
///   to be sealed; the rows of one epoch are flushed before the epoch is sealed.
/// - A crash between `flush` and the seal leaves rows behind the sealed position; `restore` removes them,
///   so that output is never written twice. A sink that can't (a terminal) says so in its docs.
/// - Rows of a changelog have a first column more than their relation, the kind of each row as text: `+I` new, `-U` and `+U` before
///   and behind an update, `-D` gone. In each `write` a `+U` directly follows the `-U` of its update.
/// - No call is made after an error.
#[async_trait]
pub trait DataSink: Send {
    /// Continues at a sealed position.
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError>;
    /// Takes the rows of the current epoch.
    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError>;
    /// Makes all rows durable.
    async fn flush(&mut self) -> Result<SinkPosition, SinkError>;
}
