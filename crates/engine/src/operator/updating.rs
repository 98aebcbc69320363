//! Aggregates without a window: a row for each group of all rows so far, updated as rows come.
//!
//! The rows of an epoch are aggregated by themselves first. At its end each group that they touched is computed anew, and one
//! change of it leaves: the new row, the old and the new one, or that the group is gone; nothing if nothing changed. So what
//! leaves depends on the epochs, which are journaled, and Flink says the same of a mini-batch (`MiniBatchGroupAggFunction`).
//!
//! What is remembered of a group is a row of partial states. Where rows can be taken back, counts and sums of whole numbers are
//! kept as signed sums; for any other aggregate the values themselves are kept with their numbers, the *bag* of the
//! group, and the aggregate is computed anew from it. A group is let go once its last row is `ttl` old by the epoch's clock.

mod bag;
mod change;
mod delta;
mod snapshot;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion::{common::Result, physical_expr::PhysicalExpr};
use postrider_core::{Batch, ClockTime, Watermark};

pub(super) use self::change::{evaluated, merged};
use self::delta::{Closed, Delta};
use super::{
    Advanced, Operator, RestoredPart, StateSnapshot, aggregate::AggregateSpec, groups::Groups,
    rows::RowStore,
};
use crate::limits::ADVANCE_ROWS;

/// One row a group: its partial states.
const TOTALS: u8 = 0;
/// One row for each value of a group, and how often it is there.
const BAG: u8 = 1;

/// What is computed. Rows arrive as `[keys.., values of the bag.., others..]`.
#[derive(Debug, Clone)]
pub(crate) struct UpdatingSpec {
    /// The aggregates whose partial states are kept.
    pub(crate) totals: AggregateSpec,
    /// Which of them says how many rows a group has, where rows can be taken back.
    pub(crate) rows: Option<usize>,
    /// The aggregates that are computed from all values of their group.
    pub(crate) bag: Option<BagSpec>,
    /// Keys, totals, then what is computed from the bag.
    pub(crate) computed: SchemaRef,
    /// The columns of results over [`Self::computed`].
    pub(crate) results: Arc<[Arc<dyn PhysicalExpr>]>,
    /// The columns of results, and the kinds of rows if they are a changelog.
    pub(crate) output_schema: SchemaRef,
    /// Whether results are a changelog. Otherwise a group leaves once.
    pub(crate) updating: bool,
    /// How long a group is remembered after its last row, in nanoseconds of the epoch's clock.
    pub(crate) ttl_ns: Option<i64>,
}

/// Aggregates over rows that can be taken back, whose partial states can't.
#[derive(Debug, Clone)]
pub(crate) struct BagSpec {
    /// Counts the rows of arriving `[keys.., values..]`: one aggregate, whose group is all these columns.
    pub(crate) counts: AggregateSpec,
    /// The aggregates, by key, over `[keys.., values..]`.
    pub(crate) aggregates: AggregateSpec,
}

impl UpdatingSpec {
    pub(crate) fn keys(&self) -> usize {
        self.totals.key_schema.fields().len()
    }

    /// The fields that results of the bag have.
    fn bag_results(&self) -> &[Arc<Field>] {
        let fields = self.computed.fields();
        &fields[self.keys() + self.totals.calls.len()..]
    }

    /// The columns of a row of totals: keys, when it was written, partial states, what was computed from the bag.
    fn totals_schema(&self) -> Result<SchemaRef> {
        let own = [Field::new("written", DataType::Timestamp(TimeUnit::Nanosecond, None), true)];
        let states = self.totals.state_schema(&own)?;
        let fields = states.fields().iter().chain(self.bag_results());
        let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// The columns of a row of the bag: keys, values, their number.
    fn bag_schema(&self) -> Option<SchemaRef> {
        let columns = self.bag.as_ref()?.counts.key_schema.fields().iter();
        let mut fields: Vec<_> =
            columns.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        fields.push(Field::new("count", DataType::Int64, true));
        Some(Arc::new(Schema::new(fields)))
    }

    /// The results of groups.
    fn evaluate(&self, computed: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        let computed = crate::chain::new_batch(&self.computed, computed, rows)?;
        self.results.iter().map(|result| result.evaluate(&computed)?.into_array(rows)).collect()
    }
}

/// The operator.
pub(crate) struct Updating {
    spec: UpdatingSpec,
    groups: Groups,
    rows: RowStore,
    /// The rows of the current epoch.
    delta: Option<Delta>,
    /// Those of its groups that have not been computed anew.
    closed: Option<Closed>,
    clock: ClockTime,
}

impl Updating {
    pub(crate) fn new(spec: UpdatingSpec) -> Result<Self> {
        let groups = Groups::new(&spec.totals.key_schema, spec.ttl_ns)?;
        let rows = RowStore::default();
        Ok(Self { spec, groups, rows, delta: None, closed: None, clock: ClockTime(i64::MIN) })
    }

    /// Lets groups go that nobody wrote for long.
    fn expire(&mut self) {
        while let Some(group) = self.groups.pop_expired(self.clock.0) {
            self.forget(group);
        }
    }

    /// Lets a group and all that is kept of it go.
    fn forget(&mut self, group: u32) {
        let Some(group) = self.groups.remove(group) else { return };
        for id in group.bag.into_iter().chain([group.totals]) {
            self.rows.release(id);
        }
    }
}

impl Operator for Updating {
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        let delta = match &mut self.delta {
            Some(delta) => delta,
            None => self.delta.insert(Delta::new(&self.spec)?),
        };
        delta.add(&self.spec, batch)?;
        Ok(batch.rows.num_rows())
    }

    fn set_clock(&mut self, clock: ClockTime) {
        self.clock = self.clock.max(clock);
    }

    fn advance(&mut self, _watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        if let Some(delta) = self.delta.take() {
            self.closed = Some(delta.close(self.spec.keys())?);
        }
        self.expire();
        let Some(mut closed) = self.closed.take() else { return Ok(Advanced::Whole) };
        let part = closed.next(ADVANCE_ROWS)?;
        self.change(&part, out)?;
        if closed.is_empty() {
            return Ok(Advanced::Whole);
        }
        self.closed = Some(closed);
        Ok(Advanced::Partly)
    }

    /// None: no watermark makes a group change.
    fn next_timer(&mut self) -> Option<Watermark> {
        None
    }

    /// None: a row counts whenever it comes.
    fn take_late_rows(&mut self) -> u64 {
        0
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.take_snapshot(number)
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        _watermark: Watermark,
    ) -> Result<()> {
        self.take_parts(&parts)
    }

    fn memory(&self) -> usize {
        self.rows.memory() + self.groups.memory() + self.delta.as_ref().map_or(0, Delta::memory)
    }
}

/// The columns of a batch behind the first `from`.
fn columns_from(rows: &RecordBatch, from: usize) -> Vec<ArrayRef> {
    rows.columns()[from..].to_vec()
}
