//! Window functions over the rows of a stream in the order of their event time, by Flink's rules (`RowTime..OverFunction`).
//!
//! A row at or before the watermark is late. Any other waits until the watermark reaches its time; then the waiting rows of its
//! key are taken in order: by time, then by the rest of ORDER BY, then by all columns, so that equal rows are
//! interchangeable. They leave with what the functions say of them, and with their own time.
//!
//! What a key remembers of rows that left is what its later rows may look at: some rows, the number of all rows, and the partial
//! state of each aggregate over everything so far, as one row. All that is due of a key is computed at once, so where partial
//! states are cut depends on the watermarks and on the key's own rows alone.

mod arrange;
mod evaluate;
mod partitions;
mod snapshot;

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch, TimestampNanosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion::{
    common::Result,
    physical_expr::{
        PhysicalExpr, PhysicalSortExpr, aggregate::AggregateFunctionExpr, window::WindowExpr,
    },
};
use postrider_core::{Batch, Watermark};
use postrider_plan::KeptRows;

use self::{
    arrange::Arranged,
    partitions::{Kept, PartitionId, Partitions},
};
use super::{
    Advanced, Operator, RestoredPart, StateSnapshot,
    rows::{RowId, RowStore},
};
use crate::{
    chain::{new_batch, retain},
    limits::ADVANCE_ROWS,
};

/// Rows that came; those the watermark has reached have left and are remembered.
const ROWS: u8 = 0;
/// What is known of all rows of a key that left, one row a key.
const TALLIES: u8 = 1;

/// What is computed. Rows arrive as `[keys.., others..]`.
#[derive(Debug, Clone)]
pub(crate) struct OverSpec {
    /// How many of the first columns are keys.
    pub(crate) keys: usize,
    /// The columns in which rows arrive.
    pub(crate) input: SchemaRef,
    /// Where the columns of [`Self::rows`] stand in arriving rows.
    pub(crate) columns: Arc<[usize]>,
    /// What calls are computed over: the columns of results but for those of the calls, then what only they read.
    pub(crate) rows: SchemaRef,
    /// The order of rows of one time, over [`Self::rows`].
    pub(crate) order: Arc<[PhysicalSortExpr]>,
    pub(crate) calls: Arc<[OverCall]>,
    /// The first columns of [`Self::rows`], then one for each call.
    pub(crate) output_schema: SchemaRef,
}

/// One window function.
#[derive(Debug, Clone)]
pub(crate) enum OverCall {
    RowNumber,
    Rank,
    DenseRank,
    Running(RunningAggregate),
    /// Computed from the rows that are kept and those that leave.
    Rows(Arc<dyn WindowExpr>, KeptRows),
}

/// An aggregate of everything so far.
#[derive(Debug, Clone)]
pub(crate) struct RunningAggregate {
    pub(crate) function: Arc<AggregateFunctionExpr>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether each row has a value of its own, also among rows of one place in the order.
    pub(crate) by_row: bool,
}

impl OverSpec {
    fn kept(&self) -> impl Iterator<Item = (&Arc<dyn WindowExpr>, KeptRows)> {
        self.calls.iter().filter_map(|call| match call {
            OverCall::Rows(function, kept) => Some((function, *kept)),
            _ => None,
        })
    }

    /// How many columns results have in front of those of the calls.
    pub(crate) fn width(&self) -> usize {
        self.output_schema.fields().len() - self.calls.len()
    }

    /// Whether some rows are kept however old they are.
    fn keeps_for_ever(&self) -> bool {
        self.kept().any(|(_, kept)| kept.for_ever())
    }

    /// How far behind the watermark rows are kept for their age, in nanoseconds.
    fn within(&self) -> Option<i64> {
        self.kept().filter_map(|(_, kept)| kept.within_ns).max()
    }

    /// Whether something is known of all rows of a key.
    fn tallies(&self) -> bool {
        self.calls.iter().any(|call| !matches!(call, OverCall::Rows(..)))
    }

    fn running(&self) -> impl Iterator<Item = &RunningAggregate> {
        self.calls.iter().filter_map(|call| match call {
            OverCall::Running(aggregate) => Some(aggregate),
            _ => None,
        })
    }

    /// How far behind the watermark a row may be that the state still depends on; `None` if there is no limit.
    pub(crate) fn reach(&self) -> Option<i64> {
        let has_limit = !self.tallies() && !self.keeps_for_ever();
        has_limit.then(|| self.within().unwrap_or(0))
    }

    /// The columns of a row in the store: keys, time, others.
    fn stored_schema(&self) -> SchemaRef {
        let mut fields: Vec<_> =
            self.input.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.insert(self.keys, time_field());
        Arc::new(Schema::new(fields))
    }

    fn store(&self, batch: &Batch) -> Result<RecordBatch> {
        let mut columns = batch.rows.columns().to_vec();
        columns.insert(self.keys, Arc::new(batch.times.clone()));
        new_batch(&self.stored_schema(), columns, batch.rows.num_rows())
    }

    /// What calls are computed over, of rows in the store.
    fn pick(&self, stored: &RecordBatch) -> Result<RecordBatch> {
        let place = |column: usize| if column < self.keys { column } else { column + 1 };
        let columns = self.columns.iter().map(|&column| Arc::clone(stored.column(place(column))));
        new_batch(&self.rows, columns.collect(), stored.num_rows())
    }
}

fn time_field() -> Field {
    Field::new("time", DataType::Timestamp(TimeUnit::Nanosecond, None), false)
}

/// The operator.
pub(crate) struct Over {
    spec: OverSpec,
    rows: RowStore,
    partitions: Partitions,
    watermark: Watermark,
    late_rows: u64,
}

/// A partition, and those of its rows whose time has come.
struct Due {
    partition: PartitionId,
    rows: Vec<(i64, RowId)>,
}

impl Over {
    pub(crate) fn new(spec: OverSpec) -> Result<Self> {
        let partitions = Partitions::new(&spec.input.fields()[..spec.keys])?;
        let rows = RowStore::default();
        Ok(Self { spec, rows, partitions, watermark: Watermark::MIN, late_rows: 0 })
    }

    /// Takes partitions with rows that are due, all that are due of each, until that is much.
    fn take_due(&mut self) -> Vec<Due> {
        let (mut due, mut rows) = (Vec::new(), 0);
        while rows < ADVANCE_ROWS {
            let Some(partition) = self.partitions.pop_due(self.watermark.0) else { break };
            let taken = self.partitions.take_waiting(partition, self.watermark.0);
            rows += taken.len() + self.partitions.get(partition).map_or(0, |p| p.kept.len());
            due.push(Due { partition, rows: taken });
        }
        due
    }

    /// Emits rows that are due, and remembers of them what is needed.
    fn emit(&mut self, due: &[Due], out: &mut Vec<Batch>) -> Result<()> {
        let arranged = self.arrange(due)?;
        let before: Vec<_> = due
            .iter()
            .map(|due| self.partitions.get(due.partition).map_or(RowId::NOBODY, |p| p.tally))
            .collect();
        let known: Vec<_> = before.iter().copied().filter(|id| *id != RowId::NOBODY).collect();
        let tallies = if known.is_empty() { None } else { Some(self.rows.gather(&known)?) };
        let (results, tallies) = self.spec.evaluate(&arranged, tallies.as_ref(), &before)?;
        let mut columns = arranged.fresh.columns()[..self.spec.width()].to_vec();
        columns.extend(results);
        let rows = new_batch(&self.spec.output_schema, columns, arranged.fresh.num_rows())?;
        out.push(Batch { rows, times: TimestampNanosecondArray::from(arranged.fresh_times()) });
        self.remember(due, &arranged)?;
        if let Some(tallies) = tallies {
            known.into_iter().for_each(|id| self.rows.release(id));
            let ids = self.rows.insert(TALLIES, tallies)?;
            for (due, id) in due.iter().zip(ids) {
                if let Some(partition) = self.partitions.get_mut(due.partition) {
                    partition.tally = id;
                }
            }
        }
        due.iter().for_each(|due| self.partitions.rest(due.partition));
        Ok(())
    }

    /// The kept rows of partitions and those that are due, in order.
    fn arrange(&self, due: &[Due]) -> Result<Arranged> {
        let members = due.iter().map(|due| {
            let kept = self.partitions.get(due.partition).map_or(&[][..], |p| &p.kept);
            let kept: Vec<_> = kept.iter().map(|kept| (kept.time, kept.id)).collect();
            (kept, due.rows.as_slice())
        });
        Arranged::new(&self.spec, &self.rows, members.collect())
    }

    /// Keeps the rows that later ones may look at, and lets the others go.
    fn remember(&mut self, due: &[Due], arranged: &Arranged) -> Result<()> {
        let pinned = self.spec.pinned(arranged)?;
        for (due, span) in due.iter().zip(&arranged.spans) {
            let mut kept = Vec::new();
            for row in span.all.clone() {
                let (time, id) = (arranged.times[row], arranged.ids[row]);
                if pinned[row] || self.is_within(time) {
                    kept.push(Kept { time, id, pinned: pinned[row] });
                } else {
                    self.rows.release(id);
                }
            }
            self.partitions.keep(due.partition, kept, self.spec.within());
        }
        Ok(())
    }

    /// Whether a row is young enough for a later one to look at.
    fn is_within(&self, time: i64) -> bool {
        self.spec.within().is_some_and(|within| time.saturating_add(within) > self.watermark.0)
    }

    /// Lets go of rows that have become too old.
    fn expire(&mut self) {
        let Some(within) = self.spec.within() else { return };
        while let Some(partition) = self.partitions.pop_expiring(self.watermark.0) {
            let Some(found) = self.partitions.get_mut(partition) else { continue };
            let found = std::mem::take(&mut found.kept);
            let (kept, gone): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|kept| kept.pinned || self.is_within(kept.time));
            gone.into_iter().for_each(|kept| self.rows.release(kept.id));
            self.partitions.keep(partition, kept, Some(within));
            self.partitions.rest(partition);
        }
    }

    /// Finds out which of the rows that were read back are kept whatever their age.
    fn pin_restored(&mut self, partitions: BTreeSet<PartitionId>) -> Result<()> {
        let due: Vec<_> =
            partitions.into_iter().map(|partition| Due { partition, rows: Vec::new() }).collect();
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let mut rows = 0;
            let count = rest.iter().take_while(|due| {
                let fits = rows < ADVANCE_ROWS;
                rows += self.partitions.get(due.partition).map_or(0, |p| p.kept.len());
                fits
            });
            let (now, later) = rest.split_at(count.count());
            let arranged = self.arrange(now)?;
            self.remember(now, &arranged)?;
            rest = later;
        }
        Ok(())
    }
}

impl Operator for Over {
    /// Nothing leaves at once: a row waits for the watermark.
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        let rows = batch.rows.num_rows();
        let times = batch.times.values().iter();
        let on_time: BooleanArray = times.map(|&time| Some(time > self.watermark.0)).collect();
        let batch = retain(batch, &on_time)?;
        self.late_rows += (rows - batch.rows.num_rows()) as u64;
        if batch.rows.num_rows() == 0 {
            return Ok(rows);
        }
        let keys = &batch.rows.columns()[..self.spec.keys];
        let keys = self.partitions.encode(keys, batch.rows.num_rows())?;
        let ids = self.rows.insert(ROWS, self.spec.store(&batch)?)?;
        for (row, (id, &time)) in ids.into_iter().zip(batch.times.values()).enumerate() {
            let partition = self.partitions.of(&keys.key(row));
            self.partitions.wait(partition, time, id);
        }
        Ok(rows)
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.watermark = self.watermark.max(watermark);
        let due = self.take_due();
        if due.is_empty() {
            self.expire();
            return Ok(Advanced::Whole);
        }
        self.emit(&due, out)?;
        Ok(Advanced::Partly)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.partitions.next_due().map(Watermark)
    }

    fn take_late_rows(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.take_snapshot(number)
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()> {
        self.watermark = watermark;
        let mut kept = BTreeSet::new();
        parts.iter().try_for_each(|part| self.take_part(part, &mut kept))?;
        self.pin_restored(kept)
    }

    fn memory(&self) -> usize {
        self.rows.memory() + self.partitions.memory()
    }
}
