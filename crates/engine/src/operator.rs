//! Stateful operators: what they must do, and the one place that lists them.
//!
//! An operator instance owns the state of one shard of one stage. It is a plain synchronous value:
//! channels, epochs and seals belong to [`crate::runtime`].

mod aggregate;
mod session;
mod slicing;
#[cfg(test)]
mod testing;

use datafusion::common::Result;
use postrider_core::{Batch, Watermark};
use postrider_plan::Window;

#[cfg(doc)]
use crate::limits::{ADVANCE_BATCHES, ADVANCE_ROWS};
pub(crate) use aggregate::{AggregateCall, AggregateSpec};
use session::SessionWindows;
use slicing::SlicingWindows;

/// The contract of a stateful operator.
///
/// - `process` is called with the rows of an epoch, in the same order on every replay. Lateness is
///   judged by the last watermark given to `advance`, so it depends on the log alone.
/// - `advance` is called at the end of an epoch, after its last batch, with a watermark that never
///   moves back; it appends what became final to `out`, with event times at or before the watermark.
///   A watermark may finish more than fits into memory, such as all windows that a row is in, so one call
///   appends at most [`ADVANCE_BATCHES`] batches and stops behind [`ADVANCE_ROWS`] rows. Until it returns
///   [`Advanced::Whole`], it is called again with the same watermark and nothing in between.
/// - State may depend only on the rows and watermarks given: not on the clock, on batch borders
///   beyond floating-point grouping, or on the number of shards.
pub(crate) trait Operator: Send {
    /// Takes rows.
    fn process(&mut self, batch: &Batch) -> Result<()>;
    /// Learns that no more rows at or before `watermark` will come.
    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced>;
    /// The smallest watermark at which `advance` would emit something.
    fn next_timer(&mut self) -> Option<Watermark>;
    /// Late rows dropped since the last call.
    fn take_late_rows(&mut self) -> u64;
}

/// How far a call of [`Operator::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is left stays in the operator until the next call"]
pub(crate) enum Advanced {
    /// Everything that became final was appended.
    Whole,
    /// There may be more.
    Partly,
}

/// How to make an operator; each shard makes its own.
#[derive(Debug, Clone)]
pub(crate) enum OperatorSpec {
    /// A windowed aggregate.
    Window(Window, AggregateSpec),
}

impl OperatorSpec {
    /// A new, empty operator.
    pub(crate) fn build(&self) -> Result<Box<dyn Operator>> {
        match self {
            Self::Window(Window::Tumble { size_ns }, spec) => {
                Ok(Box::new(SlicingWindows::new(*size_ns, *size_ns, spec.clone())))
            }
            Self::Window(Window::Hop { slide_ns, size_ns }, spec) => {
                Ok(Box::new(SlicingWindows::new(*slide_ns, *size_ns, spec.clone())))
            }
            Self::Window(Window::Session { gap_ns }, spec) => {
                Ok(Box::new(SessionWindows::new(*gap_ns, spec.clone())?))
            }
        }
    }
}
