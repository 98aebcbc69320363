//! The first rows of each key among all so far, in any order, by the rules of Flink's Top-N. Rows may be a changelog.
//!
//! The rows of an epoch are taken together at its end: the kept rows of each key that they touched are sorted with them, and what
//! was among the first before and is not behind it has gone, and the other way round. With numbers each place is compared for itself. So
//! what leaves depends on the epochs, which are journaled. What the order leaves open is decided by all columns of a row.
//!
//! Of rows that stay only the first ones are kept, and all of a changelog: one that was not among them may move up. Equal rows are
//! one, with how often it is there. A key is let go `ttl` after its last row, by the epoch's clock, which says nothing.

mod keep;
mod work;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{SortOptions, concat_batches},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    row::{RowConverter, SortField},
};
use datafusion::common::Result;
use postrider_core::{Batch, ClockTime, Watermark};

use self::work::Epoch;
use super::{
    Advanced, Deferred, Operator, RestoredPart, StatePart, StateSnapshot,
    groups::Groups,
    net_rows::Changes,
    rows::{ListedPart, RowStore},
    state::column_bytes,
};
use crate::limits::ADVANCE_ROWS;

/// The columns of a kept row behind its key that are the operator's own: when its key was written, and how often the row is there.
const OWN_COLUMNS: usize = 2;

/// What is kept. Rows arrive as `[keys.., order.., columns..]`, and their kinds if they can be taken back.
#[derive(Debug, Clone)]
pub(crate) struct UpdatingTopSpec {
    /// How many rows of each key there are at most.
    pub(crate) limit: u64,
    /// Whether results have the number of their row behind their columns.
    pub(crate) numbered: bool,
    pub(crate) keys: usize,
    /// How the columns behind the keys are sorted.
    pub(crate) order: Arc<[SortOptions]>,
    /// The columns in which rows arrive, without kinds.
    pub(crate) input: SchemaRef,
    /// Whether rows can be taken back.
    pub(crate) takes_back: bool,
    /// The columns of results, and their kinds.
    pub(crate) output_schema: SchemaRef,
    /// How long a key is remembered after its last row, in nanoseconds of the epoch's clock.
    pub(crate) ttl_ns: Option<i64>,
}

impl UpdatingTopSpec {
    /// The columns of a kept row, which is a state row: keys, the operator's own, order, columns.
    pub(crate) fn state_schema(&self) -> SchemaRef {
        let fields = self.input.fields().iter();
        let mut fields: Vec<Field> =
            fields.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let written = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let own: [Field; OWN_COLUMNS] =
            [Field::new("written", written, false), Field::new("count", DataType::Int64, false)];
        fields.splice(self.keys..self.keys, own);
        Arc::new(Schema::new(fields))
    }

    fn key_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.input.fields()[..self.keys].to_vec()))
    }

    /// Where the columns of results begin.
    fn width(&self) -> usize {
        self.keys + self.order.len()
    }
}

/// The operator.
pub(crate) struct UpdatingTop {
    spec: UpdatingTopSpec,
    groups: Groups,
    rows: RowStore,
    /// Makes the order comparable, and the columns.
    order: RowConverter,
    columns: RowConverter,
    /// The rows of the current epoch.
    arrived: Vec<Batch>,
    /// The last epoch, if it is not worked off.
    epoch: Option<Epoch>,
    /// Results on their way out.
    changes: Option<Changes>,
    clock: ClockTime,
}

impl UpdatingTop {
    pub(crate) fn new(spec: UpdatingTopSpec) -> Result<Self> {
        let fields = spec.input.fields();
        let order = fields[spec.keys..spec.width()].iter().zip(spec.order.iter());
        let order = order.map(|(field, options)| {
            SortField::new_with_options(field.data_type().clone(), *options)
        });
        let columns = fields[spec.width()..].iter();
        let columns = columns.map(|field| SortField::new(field.data_type().clone()));
        Ok(Self {
            groups: Groups::new(&spec.key_schema(), spec.ttl_ns)?,
            rows: RowStore::default(),
            order: RowConverter::new(order.collect())?,
            columns: RowConverter::new(columns.collect())?,
            arrived: Vec::new(),
            epoch: None,
            changes: None,
            clock: ClockTime(i64::MIN),
            spec,
        })
    }

    /// Lets keys go that nobody wrote for long.
    fn expire(&mut self) {
        while let Some(group) = self.groups.pop_expired(self.clock.0) {
            let Some(group) = self.groups.remove(group) else { continue };
            group.bag.into_iter().for_each(|id| self.rows.release(id));
        }
    }

    /// Ends an epoch.
    fn close(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.arrived);
        let Some(first) = batches.first() else { return Ok(()) };
        let rows = concat_batches(&first.rows.schema(), batches.iter().map(|batch| &batch.rows))?;
        let times: Vec<i64> =
            batches.iter().flat_map(|batch| batch.times.values().iter().copied()).collect();
        self.epoch = Some(Epoch::new(&self.spec, &self.groups, &rows, &times)?);
        Ok(())
    }

    /// Works off some keys of an epoch.
    fn work(&mut self, mut epoch: Epoch) -> Result<()> {
        let net = self.next_keys(&mut epoch)?;
        let changes = net.into_changes(&self.spec.output_schema, true)?;
        self.changes = (!changes.is_done()).then_some(changes);
        self.epoch = (!epoch.is_done()).then_some(epoch);
        Ok(())
    }
}

impl Operator for UpdatingTop {
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        self.arrived.push(batch.clone());
        Ok(batch.rows.num_rows())
    }

    fn set_clock(&mut self, clock: ClockTime) {
        self.clock = self.clock.max(clock);
    }

    fn advance(&mut self, _watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        if self.changes.is_none() {
            if self.epoch.is_none() {
                self.expire();
                self.close()?;
            }
            if let Some(epoch) = self.epoch.take() {
                self.work(epoch)?;
            }
        }
        if let Some(changes) = &mut self.changes {
            out.extend(changes.next(ADVANCE_ROWS)?);
            if changes.is_done() {
                self.changes = None;
            }
        }
        let whole = self.changes.is_none() && self.epoch.is_none();
        Ok(if whole { Advanced::Whole } else { Advanced::Partly })
    }

    /// None: no watermark makes a result.
    fn next_timer(&mut self) -> Option<Watermark> {
        None
    }

    /// None: a row counts whenever it comes.
    fn take_late_rows(&mut self) -> u64 {
        0
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        let listed = self.rows.snapshot(number)?.into_iter();
        let parts = listed.map(|ListedPart { id, new, dead }| {
            let rows = new.map(|new| new.into_iter().map(|kept| kept.rows).collect::<Vec<_>>());
            StatePart { id, new: rows.map(Deferred::done), dead }
        });
        Ok(StateSnapshot { parts: parts.collect() })
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        _watermark: Watermark,
    ) -> Result<()> {
        parts.iter().try_for_each(|part| self.take_part(part))
    }

    fn memory(&self) -> usize {
        let arrived = self.arrived.iter().map(|batch| column_bytes(batch.rows.columns()));
        self.rows.memory() + self.groups.memory() + arrived.sum::<usize>()
    }
}

/// Some columns of rows.
fn columns_of(rows: &RecordBatch, from: usize, to: usize) -> &[ArrayRef] {
    &rows.columns()[from..to]
}
