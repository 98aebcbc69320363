//! Windows whose results may leave before they are complete, and are corrected by rows that come late.
//!
//! Each window of each key is a group of its own. At the end of an epoch the rows that came are added to their groups; a group
//! whose result may have changed since it was last said is *due* at the next multiple of `every` on the epoch's clock, or when the watermark completes its
//! window, or at once if that has happened before. Then its result is compared with what was said, and what changed leaves: the
//! first result, or the old and the new one, or nothing if they are equal. A window is remembered until the watermark is `lateness` past its end.
//!
//! Rules (Flink, `allowLateness` of the window operators, and `table.exec.emit.early-fire` and `late-fire` of the grouped windows of its SQL): a row is dropped
//! only if the last window that would take it is no longer remembered; late results follow at once; without `every` and lateness the results are those
//! of [`super::slicing`]. What leaves depends on watermarks and clocks, which are journaled, and on the rows that are kept, which say
//! when they are due: so it is the same behind a restart and on another number of shards.

mod merge;
mod say;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch, TimestampNanosecondArray, UInt32Array},
    compute::take,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType},
};
use datafusion::common::Result;
use postrider_core::{Batch, ClockTime, Watermark};

use super::{
    Advanced, Deferred, Grid, Operator, RestoredPart, StatePart, StateSnapshot,
    aggregate::{AggregateSpec, AggregateTable},
    groups::Groups,
    keys::Key,
    rows::{ListedPart, PortRows, RowId, RowStore},
};
use crate::{chain::new_batch, limits::ADVANCE_ROWS};

/// What is computed of which windows, and when it leaves.
#[derive(Debug, Clone)]
pub(crate) struct RevisedSpec {
    /// Rows arrive as `[keys.., arguments..]`; results are keys, windows, values, as of windows that are never revised.
    pub(crate) aggregate: AggregateSpec,
    pub(crate) grid: Grid,
    /// How much later than a row the last time of a window may be that it is in.
    pub(crate) reach_ns: i64,
    /// How often results leave before their window is complete, in nanoseconds of the epoch's clock.
    pub(crate) every_ns: Option<i64>,
    /// How long behind its end a window takes rows, in nanoseconds of event time.
    pub(crate) lateness_ns: i64,
    /// The columns of results, and their kinds.
    pub(crate) output_schema: SchemaRef,
}

impl RevisedSpec {
    /// How many columns are the key, without the window.
    pub(crate) fn keys(&self) -> usize {
        self.aggregate.key_schema.fields().len()
    }

    /// The aggregate by keys and windows.
    fn by_window(&self) -> AggregateSpec {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let keys = self.aggregate.key_schema.fields().iter().map(|field| field.as_ref().clone());
        let bounds = ["start", "end"].map(|name| Field::new(name, time.clone(), false));
        let fields: Vec<_> = keys.chain(bounds).collect();
        AggregateSpec { key_schema: Schema::new(fields).into(), ..self.aggregate.clone() }
    }

    /// The columns of a kept row: keys, start, end, whether a result was said, when it is due, partial states, the result that was said.
    pub(crate) fn state_schema(&self) -> Result<SchemaRef> {
        let own = [
            Field::new("said", DataType::Boolean, false),
            // In nanoseconds of the clock; the greatest number: when the window is complete; NULL: it was said.
            Field::new("due", DataType::Int64, true),
        ];
        let states = self.by_window().state_schema(&own)?;
        let mut fields: Vec<_> =
            states.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(self.aggregate.calls.iter().enumerate().map(|(at, call)| {
            let of = call.function.field().data_type().clone();
            Field::new(format!("said {at}"), of, true)
        }));
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// What is known of a group beside its row.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    end: i64,
    at: Option<i64>,
}

/// The operator.
pub(crate) struct RevisedWindows {
    spec: RevisedSpec,
    by_window: AggregateSpec,
    schema: SchemaRef,
    groups: Groups,
    rows: RowStore,
    /// By group.
    due: Vec<Due>,
    /// Groups whose result is to be said: by the end of their window, and by when they are due.
    unsaid_by_end: BTreeSet<(i64, u32)>,
    unsaid_by_clock: BTreeSet<(i64, u32)>,
    /// All groups, by the end of their window.
    ends: BTreeMap<i64, Vec<u32>>,
    /// The rows of the current epoch.
    delta: Option<AggregateTable>,
    watermark: Watermark,
    clock: ClockTime,
    late_rows: u64,
    counted_late: u64,
}

/// Rows, each once for each of its windows that takes it.
struct Placed {
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl RevisedWindows {
    pub(crate) fn new(spec: RevisedSpec) -> Result<Self> {
        let by_window = spec.by_window();
        Ok(Self {
            groups: Groups::new(&by_window.key_schema, None)?,
            schema: spec.state_schema()?,
            by_window,
            spec,
            rows: RowStore::default(),
            due: Vec::new(),
            unsaid_by_end: BTreeSet::new(),
            unsaid_by_clock: BTreeSet::new(),
            ends: BTreeMap::new(),
            delta: None,
            watermark: Watermark::MIN,
            clock: ClockTime(i64::MIN),
            late_rows: 0,
            counted_late: 0,
        })
    }

    /// Whether a window that ends there takes rows no more.
    fn is_forgotten(&self, end: i64) -> bool {
        self.watermark.completes(end.saturating_add(self.spec.lateness_ns))
    }

    fn place(&mut self, times: &TimestampNanosecondArray) -> Placed {
        let count = times.len();
        let mut placed = Placed {
            rows: Vec::with_capacity(count),
            starts: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
        };
        for (row, &time) in (0_u32..).zip(times.values()) {
            let (mut taken, mut late) = (false, false);
            for (start, end) in self.spec.grid.windows_at(time) {
                if self.is_forgotten(end) {
                    continue;
                }
                taken = true;
                late |= self.watermark.completes(end);
                placed.rows.push(row);
                placed.starts.push(start);
                placed.ends.push(end);
            }
            self.late_rows += u64::from(!taken);
            self.counted_late += u64::from(late);
        }
        placed
    }

    fn add(&mut self, batch: &Batch, placed: Placed) -> Result<()> {
        let whole = placed.rows.len() == batch.rows.num_rows()
            && (0_u32..).zip(&placed.rows).all(|(at, row)| at == *row);
        let rows = if whole {
            batch.rows.clone()
        } else {
            let at = UInt32Array::from(placed.rows);
            let columns = batch.rows.columns().iter().map(|column| take(column, &at, None));
            let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
            new_batch(&batch.rows.schema(), columns, at.len())?
        };
        let mut keys = rows.columns()[..self.spec.keys()].to_vec();
        keys.push(Arc::new(TimestampNanosecondArray::from(placed.starts)));
        keys.push(Arc::new(TimestampNanosecondArray::from(placed.ends)));
        let table = match &mut self.delta {
            Some(table) => table,
            none => none.insert(AggregateTable::new(&self.by_window)?),
        };
        table.update_by(&self.by_window, &keys, &rows)
    }

    fn row_of(&self, group: u32) -> Option<RowId> {
        self.groups.get(group).map(|group| group.totals)
    }

    fn add_group(&mut self, key: &Key<'_>, id: RowId, end: i64) -> u32 {
        let group = self.groups.insert(key, id, 0);
        if self.due.len() <= group as usize {
            self.due.resize(group as usize + 1, Due::default());
        }
        self.due[group as usize] = Due { end, at: None };
        self.ends.entry(end).or_default().push(group);
        group
    }

    fn set_unsaid(&mut self, group: u32, end: i64, due: i64) {
        self.due[group as usize].at = Some(due);
        self.unsaid_by_end.insert((end, group));
        if due < i64::MAX {
            self.unsaid_by_clock.insert((due, group));
        }
    }

    /// Takes groups whose time has come, at most so many.
    fn take_due(&mut self, most: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let ended =
                self.unsaid_by_end.first().filter(|(end, _)| self.watermark.completes(*end));
            let timed = self.unsaid_by_clock.first().filter(|(due, _)| *due <= self.clock.0);
            let Some(&(_, group)) = ended.or(timed) else { break };
            let Due { end, at } = self.due[group as usize];
            self.unsaid_by_end.remove(&(end, group));
            self.unsaid_by_clock.remove(&(at.unwrap_or(i64::MAX), group));
            self.due[group as usize].at = None;
            taken.push(group);
        }
        taken
    }

    /// Forgets windows that take no more rows.
    fn forget(&mut self) {
        while let Some(entry) = self.ends.first_entry() {
            let end = *entry.key();
            if !self.watermark.completes(end.saturating_add(self.spec.lateness_ns)) {
                break;
            }
            for group in entry.remove() {
                if let Some(group) = self.groups.remove(group) {
                    self.rows.release(group.totals);
                }
            }
        }
        if self.ends.is_empty() {
            // What was much may have been for once.
            self.due = Vec::new();
        }
    }
}

impl Operator for RevisedWindows {
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        let placed = self.place(&batch.times);
        if !placed.rows.is_empty() {
            self.add(batch, placed)?;
        }
        Ok(batch.rows.num_rows())
    }

    fn set_clock(&mut self, clock: ClockTime) {
        self.clock = clock;
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.watermark = self.watermark.max(watermark);
        if let Some(delta) = self.delta.take() {
            self.merge(delta)?;
        }
        let due = self.take_due(ADVANCE_ROWS);
        if !due.is_empty() {
            self.say(&due, out)?;
        }
        if due.len() == ADVANCE_ROWS {
            return Ok(Advanced::Partly);
        }
        self.forget();
        Ok(Advanced::Whole)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.unsaid_by_end.first().map(|(end, _)| Watermark(end.saturating_sub(1)))
    }

    fn next_clock(&self) -> Option<ClockTime> {
        self.unsaid_by_clock.first().map(|(due, _)| ClockTime(*due))
    }

    fn take_late_rows(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }

    fn take_counted_late(&mut self) -> u64 {
        std::mem::take(&mut self.counted_late)
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        let listed = self.rows.snapshot(number)?.into_iter();
        let parts = listed.map(|ListedPart { id, new, dead }| {
            let rows = |kept: Vec<PortRows>| {
                Deferred::done(kept.into_iter().map(|kept| kept.rows).collect())
            };
            StatePart { id, new: new.map(rows), dead }
        });
        Ok(StateSnapshot { parts: parts.collect() })
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()> {
        self.watermark = watermark;
        for part in parts {
            let mut from = 0;
            for batch in part.batches {
                let dead = part.dead.as_ref().map(|dead| dead.slice(from, batch.num_rows()));
                from += batch.num_rows();
                let rows = new_batch(&self.schema, batch.columns().to_vec(), batch.num_rows())?;
                self.take_back(part.id, rows, dead.as_ref())?;
            }
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        let unsaid = self.unsaid_by_end.len() + self.unsaid_by_clock.len();
        self.rows.memory()
            + self.groups.memory()
            + self.delta.as_ref().map_or(0, AggregateTable::memory)
            + self.due.capacity() * size_of::<Due>()
            + unsaid * size_of::<(i64, u32)>()
            + self.ends.values().map(|groups| groups.capacity() * size_of::<u32>()).sum::<usize>()
    }
}

impl RevisedWindows {
    fn take_back(
        &mut self,
        part: u64,
        rows: RecordBatch,
        dead: Option<&arrow::buffer::BooleanBuffer>,
    ) -> Result<()> {
        let width = self.spec.keys() + 2;
        let keys = self.groups.encode(&rows.columns()[..width], rows.num_rows())?;
        let ends = rows.column(width - 1).as_primitive::<TimestampNanosecondType>().clone();
        let dues = rows.column(width + 1).as_primitive::<Int64Type>().clone();
        let ids = self.rows.restore(part, PortRows { port: 0, rows }, dead)?;
        for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
            let group = self.add_group(&keys.key(row), id, ends.value(row));
            if dues.is_valid(row) {
                self.set_unsaid(group, ends.value(row), dues.value(row));
            }
        }
        Ok(())
    }
}
