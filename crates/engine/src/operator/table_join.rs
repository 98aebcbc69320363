//! Joins of a stream with a table that is looked up. A left row leaves with its own time; a NULL key has no row in the table.
//!
//! With the versions of a table it goes by Flink's rules (`TemporalRowTimeJoinOperator`). A left row asks for the version of its key
//! that was the newest at its own time. It waits until the watermark reaches that time, for then no such version can come any more. A
//! left row at or before the watermark is late: it is dropped, also where rows without a version are kept. A version of the same key and
//! time replaces the one before. Versions are never late: one that comes behind the watermark is met by the rows that are still to
//! leave. Of those that the watermark has reached, the newest of each key is kept and the others let go.
//!
//! With a table that is read whole, left rows wait until it was read to its end, and leave at the end of that epoch; from then on,
//! at the end of the epoch in which they come. What they meet is the table as it is at the end of the epoch, which the log says,
//! so a restart changes nothing. Nothing is late. Of several rows of a key the last counts.

mod snapshot;
mod versions;

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array},
    compute::{filter, take},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampNanosecondType},
};
use datafusion::{
    common::{Result, cast::as_boolean_array, exec_err},
    physical_expr::PhysicalExpr,
};
use postrider_core::{Batch, Watermark};
use postrider_plan::Lookup;

use self::versions::Versions;
use super::{
    Advanced, Operator, RestoredPart, StateSnapshot,
    rows::{RowId, RowStore},
    state::column_bytes,
};
use crate::{
    chain::{new_batch, retain},
    limits::ADVANCE_ROWS,
};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// What a join computes. Rows of each side arrive as `[keys.., others..]`.
#[derive(Debug, Clone)]
pub(crate) struct TableJoinSpec {
    pub(crate) lookup: Lookup,
    /// The table, and how many bytes of it are kept.
    pub(crate) limit: Option<TableLimit>,
    /// Whether a left row without a version leaves beside NULLs.
    pub(crate) outer: bool,
    /// How many of the first columns of each side are keys.
    pub(crate) keys: usize,
    /// The columns in which the rows of each side arrive.
    pub(crate) inputs: [SchemaRef; 2],
    /// For each side, where the columns of the results stand in its rows.
    pub(crate) columns: [Arc<[usize]>; 2],
    /// What else a pair must meet, over the columns of both sides as results have them.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of both sides, each of which may be NULL.
    pub(crate) pair_schema: SchemaRef,
    pub(crate) output_schema: SchemaRef,
}

/// How much of a table that is read whole an instance keeps.
#[derive(Debug, Clone)]
pub(crate) struct TableLimit {
    pub(crate) table: Arc<str>,
    pub(crate) bytes: u64,
}

impl TableJoinSpec {
    fn key_fields(&self) -> &[FieldRef] {
        &self.inputs[RIGHT].fields()[..self.keys]
    }

    /// From when on a row of the table counts.
    const fn from(&self, time: i64) -> i64 {
        match self.lookup {
            Lookup::AsOf => time,
            Lookup::Last => i64::MIN,
        }
    }

    /// The columns of a row in the store: keys, time, others.
    fn stored_schema(&self, side: usize) -> SchemaRef {
        let fields = self.inputs[side].fields().iter().map(|field| field.as_ref().clone());
        let mut fields: Vec<_> = fields.collect();
        fields.insert(self.keys, time_field());
        Arc::new(Schema::new(fields))
    }

    fn store(&self, side: usize, batch: &Batch) -> Result<RecordBatch> {
        let mut columns = batch.rows.columns().to_vec();
        columns.insert(self.keys, Arc::new(batch.times.clone()));
        new_batch(&self.stored_schema(side), columns, batch.rows.num_rows())
    }

    /// The columns that results have of rows in the store.
    fn own_columns(&self, side: usize, stored: &RecordBatch) -> Vec<ArrayRef> {
        let place = |column: usize| if column < self.keys { column } else { column + 1 };
        let columns = self.columns[side].iter();
        columns.map(|&column| Arc::clone(stored.column(place(column)))).collect()
    }
}

fn time_field() -> Field {
    Field::new("time", DataType::Timestamp(TimeUnit::Nanosecond, None), false)
}

/// The operator. What it calls versions are the rows of the table.
pub(crate) struct TableJoin {
    spec: TableJoinSpec,
    rows: RowStore,
    /// Left rows that wait, the earliest first.
    waiting: BinaryHeap<Reverse<(i64, RowId)>>,
    versions: Versions,
    watermark: Watermark,
    late_rows: u64,
    /// Whether the table was read to its end.
    ended: bool,
    /// Bytes of the rows of the table that came.
    table_bytes: usize,
}

impl TableJoin {
    pub(crate) fn new(spec: TableJoinSpec) -> Result<Self> {
        Ok(Self {
            versions: Versions::new(spec.key_fields())?,
            spec,
            rows: RowStore::default(),
            waiting: BinaryHeap::new(),
            watermark: Watermark::MIN,
            late_rows: 0,
            ended: false,
            table_bytes: 0,
        })
    }

    /// Has left rows wait. Those that are late, or can't leave, are dropped.
    fn ask(&mut self, batch: &Batch) -> Result<()> {
        let rows = batch.rows.num_rows();
        let batch = self.on_time(batch)?;
        self.late_rows += (rows - batch.rows.num_rows()) as u64;
        let batch = if self.spec.outer { batch } else { self.with_keys(&batch)? };
        if batch.rows.num_rows() == 0 {
            return Ok(());
        }
        let ids = self.rows.insert(LEFT as u8, self.spec.store(LEFT, &batch)?)?;
        let times = batch.times.values().iter().copied();
        self.waiting.extend(times.zip(ids).map(Reverse));
        Ok(())
    }

    fn on_time(&self, batch: &Batch) -> Result<Batch> {
        if self.spec.lookup == Lookup::Last {
            return Ok(batch.clone());
        }
        let times = batch.times.values().iter();
        retain(batch, &times.map(|&time| Some(time > self.watermark.0)).collect())
    }

    /// Keeps versions.
    fn learn(&mut self, batch: &Batch) -> Result<()> {
        let batch = self.with_keys(batch)?;
        let rows = batch.rows.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let keys = self.versions.encode(&batch.rows.columns()[..self.spec.keys], rows)?;
        let stored = self.spec.store(RIGHT, &batch)?;
        self.table_bytes += column_bytes(stored.columns());
        self.check_limit()?;
        let ids = self.rows.insert(RIGHT as u8, stored)?;
        for (row, (id, &time)) in ids.into_iter().zip(batch.times.values()).enumerate() {
            let from = self.spec.from(time);
            if let Some(before) = self.versions.insert(&keys.key(row), from, id) {
                self.rows.release(before);
            }
        }
        Ok(())
    }

    fn check_limit(&self) -> Result<()> {
        let Some(TableLimit { table, bytes }) = &self.spec.limit else { return Ok(()) };
        let taken = self.table_bytes.saturating_add(self.versions.memory());
        if taken as u64 <= *bytes {
            return Ok(());
        }
        exec_err!(
            "`{table}` takes more than {bytes} bytes on one shard, and is looked up, so it must fit into memory: run with more              --parallelism, declare fewer of its columns, or raise its option max_lookup_bytes"
        )
    }

    /// The rows whose key has no NULL.
    fn with_keys(&self, batch: &Batch) -> Result<Batch> {
        let keys = &batch.rows.columns()[..self.spec.keys];
        if keys.iter().all(|key| key.null_count() == 0) {
            return Ok(batch.clone());
        }
        let has_key = |row: usize| Some(keys.iter().all(|key| key.is_valid(row)));
        retain(batch, &(0..batch.rows.num_rows()).map(has_key).collect())
    }

    /// Takes left rows whose time has come, the earliest first, until that is much.
    fn take_due(&mut self) -> Vec<RowId> {
        let until = match (self.spec.lookup, self.ended) {
            (Lookup::AsOf, _) => self.watermark.0,
            (Lookup::Last, true) => i64::MAX,
            (Lookup::Last, false) => return Vec::new(),
        };
        let mut due = Vec::new();
        while due.len() < ADVANCE_ROWS
            && let Some(&Reverse((time, id))) = self.waiting.peek()
            && time <= until
        {
            self.waiting.pop();
            due.push(id);
        }
        if self.waiting.is_empty() {
            self.waiting = BinaryHeap::new();
        }
        due
    }

    /// Emits left rows, each with its version.
    fn emit(&mut self, due: &[RowId], out: &mut Vec<Batch>) -> Result<()> {
        let asking = self.rows.gather(due)?;
        let times = asking.column(self.spec.keys).as_primitive::<TimestampNanosecondType>().clone();
        let mut left = self.spec.own_columns(LEFT, &asking);
        let (mut right, mut hits) = self.look_up(&asking, times.values())?;
        if let Some(condition) = &self.spec.filter {
            let pairs = [left.as_slice(), right.as_slice()].concat();
            let pairs = new_batch(&self.spec.pair_schema, pairs, due.len())?;
            let met = condition.evaluate(&pairs)?.into_array(due.len())?;
            let met = as_boolean_array(&met)?;
            hits = (0..due.len())
                .map(|row| hits[row] && met.is_valid(row) && met.value(row))
                .collect();
            let kept: UInt32Array =
                (0_u32..).zip(&hits).map(|(row, hit)| hit.then_some(row)).collect();
            for column in &mut right {
                *column = take(column, &kept, None)?;
            }
        }
        let mut times: ArrayRef = Arc::new(times);
        if !self.spec.outer {
            let hits = BooleanArray::from(hits);
            for column in left.iter_mut().chain(&mut right).chain([&mut times]) {
                *column = filter(column, &hits)?;
            }
        }
        if !times.is_empty() {
            left.append(&mut right);
            let rows = new_batch(&self.spec.output_schema, left, times.len())?;
            out.push(Batch {
                rows,
                times: times.as_primitive::<TimestampNanosecondType>().clone(),
            });
        }
        due.iter().for_each(|id| self.rows.release(*id));
        Ok(())
    }

    /// The version that each row asks for, as columns with NULLs where there is none, and who has one.
    fn look_up(&self, asking: &RecordBatch, times: &[i64]) -> Result<(Vec<ArrayRef>, Vec<bool>)> {
        let keys = &asking.columns()[..self.spec.keys];
        let encoded = self.versions.encode(keys, asking.num_rows())?;
        let mut found = Vec::new();
        let mut places = Vec::with_capacity(asking.num_rows());
        for (row, &time) in times.iter().enumerate() {
            let has_key = keys.iter().all(|key| key.is_valid(row));
            let version = if has_key { self.versions.at(&encoded.key(row), time) } else { None };
            places.push(version.map(|id| {
                found.push(id);
                (found.len() - 1) as u32
            }));
        }
        let hits = places.iter().map(Option::is_some).collect();
        if found.is_empty() {
            let schema = &self.spec.inputs[RIGHT];
            let nulls = self.spec.columns[RIGHT]
                .iter()
                .map(|&column| new_null_array(schema.field(column).data_type(), times.len()));
            return Ok((nulls.collect(), hits));
        }
        let places = UInt32Array::from(places);
        let columns = self.spec.own_columns(RIGHT, &self.rows.gather(&found)?);
        let columns = columns.iter().map(|column| take(column, &places, None));
        Ok((columns.collect::<std::result::Result<_, _>>()?, hits))
    }
}

impl Operator for TableJoin {
    /// Nothing leaves at once: a row waits for the watermark, or for the end of the epoch.
    fn process(&mut self, side: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        if side == LEFT {
            self.ask(batch)?
        } else {
            self.learn(batch)?
        }
        Ok(batch.rows.num_rows())
    }

    fn set_ended(&mut self, input: usize, ended: bool) {
        if input == RIGHT {
            self.ended = ended;
        }
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.watermark = self.watermark.max(watermark);
        let due = self.take_due();
        if due.is_empty() {
            // Only now: those that leave may have asked for an older one.
            let Self { versions, rows, .. } = self;
            versions.prune(self.watermark.0, |id| rows.release(id));
            return Ok(Advanced::Whole);
        }
        self.emit(&due, out)?;
        Ok(Advanced::Partly)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        let first = self.waiting.peek().map(|Reverse((time, _))| Watermark(*time));
        first.filter(|_| self.spec.lookup == Lookup::AsOf)
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
        parts.iter().try_for_each(|part| self.take_part(part))
    }

    fn memory(&self) -> usize {
        self.rows.memory()
            + self.versions.memory()
            + self.waiting.capacity() * size_of::<(i64, RowId)>()
    }
}
