//! Stateful operators: what they must do, and the one place that lists them.
//!
//! An operator instance owns the state of one shard of one stage. It is a plain synchronous value:
//! channels, epochs and seals belong to [`crate::runtime`].

mod aggregate;
#[cfg(test)]
mod conformance;
mod deferred;
mod distinct;
mod distinct_count;
mod groups;
mod interval_join;
mod keys;
mod net_rows;
mod over;
#[cfg(test)]
mod pauses;
mod rank;
mod revised;
mod rows;
mod session;
mod sided;
mod slicing;
mod state;
mod table_join;
#[cfg(test)]
mod testing;
mod updating;
mod updating_join;
mod updating_top;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use postrider_core::{Batch, ClockTime, Watermark};
use postrider_plan::Window;

#[cfg(doc)]
use crate::limits::{ADVANCE_BATCHES, ADVANCE_ROWS};
pub(crate) use aggregate::{AggregateCall, AggregateSpec};
use deferred::Deferred;
use interval_join::IntervalJoin;
pub(crate) use interval_join::IntervalJoinSpec;
use over::Over;
pub(crate) use over::{OverCall, OverSpec, RunningAggregate};
pub(crate) use rank::RankSpec;
use rank::RankedWindows;
pub(crate) use revised::RevisedSpec;
use revised::RevisedWindows;
use session::SessionWindows;
pub(crate) use slicing::Grid;
use slicing::SlicingWindows;
use state::merged_from;
pub(crate) use state::{RestoredPart, StatePart, StateSnapshot, reroute};
use table_join::TableJoin;
pub(crate) use table_join::{TableJoinSpec, TableLimit};
use updating::Updating;
pub(crate) use updating::{BagSpec, UpdatingSpec};
use updating_join::UpdatingJoin;
pub(crate) use updating_join::UpdatingJoinSpec;
use updating_top::UpdatingTop;
pub(crate) use updating_top::UpdatingTopSpec;

/// The contract of a stateful operator.
///
/// - `process` is called with the rows of an epoch, in the same order on every replay: those of the first input, then those of the
///   second, if there is one. Lateness is judged by the last watermark given to `advance`, so it depends on the log
///   alone. What a row completes at once is appended to `out`. A row may complete much, so one call stops behind the row with
///   which it exceeds [`ADVANCE_ROWS`] results, returns how many rows it took, and is called again with the rest.
/// - `advance` is called at the end of an epoch, after its last batch, with a watermark that never
///   moves back; it appends what became final to `out`, with event times at or before the watermark.
///   A watermark may finish more than fits into memory, such as all windows that a row is in, so one call
///   appends at most [`ADVANCE_BATCHES`] batches and stops behind [`ADVANCE_ROWS`] rows. Until it returns
///   [`Advanced::Whole`], it is called again with the same watermark and nothing in between.
/// - `set_clock` is called once at the end of an epoch, before `advance`, with the reading of the epoch's clock that is journaled with
///   it. State that has a time to live is let go by it, and results that are wanted early leave by it; nothing else depends on it.
/// - `set_ended` is called for each input at the end of an epoch, before `advance`: whether no row of it will ever come, as its sources
///   journaled it with the epoch. It is no state, and known anew behind a restart.
/// - State may depend only on the rows, watermarks, clocks and snapshots given: not on batch borders
///   beyond floating-point grouping, or on the number of shards.
///
/// # State
///
/// - `snapshot(n)` is called at the end of an epoch, after `advance` returned [`Advanced::Whole`], with growing numbers. It lists
///   the *parts* that the whole state consists of, and gives the rows of the one that is new: what changed since the
///   snapshot before becomes at most one new part, with the id `n`; now and then (amortised to a logarithm) older parts are merged
///   into it. Rows of a part never change; an operator whose rows end one by one says which no longer count in a bitmap.
/// - The flow stands still for `snapshot`. So it costs at most what changed, and only notes what is to be computed and merged: that
///   is [`Deferred`], and done by the task that encodes and writes the part, or by the operator if it needs the rows before. At
///   the next snapshot nothing of it may be left, so that it stays bounded. Nobody can tell from results when it was done.
/// - Snapshots are journaled with the epoch and repeated by a replay, because they cut partial states: a float sum that was cut
///   elsewhere has other bits. For the same reason partial states may be merged only by rules that look at the key's own
///   history and at `n`, never at how much else the instance holds.
/// - The first columns of a part are the key. So a state is split and merged for another number of shards without the
///   operator: the rows of all instances are hashed anew ([`reroute`]), and parts of one number become one.
/// - `restore` is called on a new operator, before anything else, with the parts of a snapshot `n` and the watermark that was
///   last given before it. Afterwards it behaves bit by bit as the one that made the snapshot, timers and lateness included,
///   and lists the same parts. Rows that the watermark has finished may still be in a part; they are ignored.
/// - Timers are not saved: they follow from the rows.
///
/// Each operator proves this with one line in `operator/conformance.rs`.
pub(crate) trait Operator: Send {
    /// Takes rows of an input, at least one, and says how many.
    fn process(&mut self, input: usize, batch: &Batch, out: &mut Vec<Batch>) -> Result<usize>;
    /// Learns whether an input was read to its end.
    fn set_ended(&mut self, _input: usize, _ended: bool) {}
    /// Learns the epoch's clock.
    fn set_clock(&mut self, _clock: ClockTime) {}
    /// Learns that no more rows at or before `watermark` will come.
    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced>;
    /// The smallest watermark at which `advance` would emit something.
    fn next_timer(&mut self) -> Option<Watermark>;
    /// The reading of the epoch's clock at which `advance` would emit something, whatever the watermark is; `None` if none would.
    fn next_clock(&self) -> Option<ClockTime> {
        None
    }
    /// Late rows dropped since the last call.
    fn take_late_rows(&mut self) -> u64;
    /// Rows since the last call that came when their result had left, and corrected it.
    fn take_counted_late(&mut self) -> u64 {
        0
    }
    /// The state, at the end of an epoch.
    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot>;
    /// Continues from a snapshot.
    fn restore(
        &mut self,
        number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()>;
    /// Bytes of memory that the state takes, as far as it is known.
    fn memory(&self) -> usize;
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
    /// A windowed aggregate whose results may be corrected.
    Revised(Box<RevisedSpec>),
    /// Ranks within windows.
    Rank(RankSpec),
    /// A join of two inputs within bounds of time.
    IntervalJoin(IntervalJoinSpec),
    /// A join with a table that is looked up.
    TableJoin(TableJoinSpec),
    /// Window functions over rows in the order of time.
    Over(OverSpec),
    /// An aggregate without a window.
    Updating(Box<UpdatingSpec>),
    /// A join of two inputs without a bound of time.
    UpdatingJoin(Box<UpdatingJoinSpec>),
    /// The first rows of each key.
    UpdatingTop(UpdatingTopSpec),
}

impl OperatorSpec {
    /// The columns of the operator's state rows.
    pub(crate) fn state_schema(&self) -> Result<SchemaRef> {
        match self {
            Self::Window(Window::Session { .. }, spec) => SessionWindows::state_schema(spec),
            Self::Window(_, spec) => SlicingWindows::state_schema(spec),
            Self::Revised(spec) => spec.state_schema(),
            Self::Rank(spec) => Ok(spec.state_schema()),
            Self::IntervalJoin(spec) => Ok(spec.state_schema()),
            Self::TableJoin(spec) => Ok(spec.state_schema()),
            Self::Over(spec) => spec.state_schema(),
            Self::Updating(spec) => spec.state_schema(),
            Self::UpdatingJoin(spec) => Ok(spec.state_schema()),
            Self::UpdatingTop(spec) => Ok(spec.state_schema()),
        }
    }

    /// How many columns of a state row are the key.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::Window(window, spec) => {
                spec.key_schema.fields().len() - usize::from(brings_window(*window))
            }
            Self::Revised(spec) => spec.keys(),
            Self::Rank(spec) => spec.keys,
            Self::IntervalJoin(spec) => spec.keys,
            Self::TableJoin(spec) => spec.keys,
            Self::Over(spec) => spec.keys,
            Self::Updating(spec) => spec.keys(),
            Self::UpdatingJoin(spec) => spec.keys,
            Self::UpdatingTop(spec) => spec.keys,
        }
    }

    /// How far behind the watermark a row may be that its state still depends on, in nanoseconds; `None` if there is no limit.
    pub(crate) fn reach(&self) -> Option<i64> {
        match self {
            Self::Window(window, _) => window.reach_ns(),
            Self::Revised(spec) => Some(spec.reach_ns.saturating_add(spec.lateness_ns)),
            Self::Rank(spec) => Some(spec.reach_ns),
            Self::IntervalJoin(spec) => Some(spec.reach(0).max(spec.reach(1)).max(0)),
            Self::Over(spec) => spec.reach(),
            Self::TableJoin(_)
            | Self::Updating(_)
            | Self::UpdatingJoin(_)
            | Self::UpdatingTop(_) => None,
        }
    }

    /// A new, empty operator.
    pub(crate) fn build(&self) -> Result<Box<dyn Operator>> {
        match self {
            Self::Revised(spec) => Ok(Box::new(RevisedWindows::new(spec.as_ref().clone())?)),
            Self::Rank(spec) => Ok(Box::new(RankedWindows::new(spec.clone()))),
            Self::Window(Window::Session { gap_ns }, spec) => {
                Ok(Box::new(SessionWindows::new(*gap_ns, spec.clone())?))
            }
            Self::Window(window, spec) => {
                let grid = Grid::of(*window).unwrap_or_else(Grid::own);
                Ok(Box::new(SlicingWindows::new(grid, spec.clone())))
            }
            Self::IntervalJoin(spec) => Ok(Box::new(IntervalJoin::new(spec.clone()))),
            Self::TableJoin(spec) => Ok(Box::new(TableJoin::new(spec.clone())?)),
            Self::Over(spec) => Ok(Box::new(Over::new(spec.clone())?)),
            Self::Updating(spec) => Ok(Box::new(Updating::new(spec.as_ref().clone())?)),
            Self::UpdatingJoin(spec) => Ok(Box::new(UpdatingJoin::new(spec.as_ref().clone())?)),
            Self::UpdatingTop(spec) => Ok(Box::new(UpdatingTop::new(spec.clone())?)),
        }
    }
}

/// Whether rows bring their window along: its start is the last column of their key, and their time the last of it.
pub(crate) const fn brings_window(window: Window) -> bool {
    matches!(window, Window::Calendar { zone: None, .. } | Window::Given { .. })
}
