//! Ranks within a window: its rows are collected until the watermark completes it, then sorted and numbered.
//!
//! A row is a result of its window, so its time is the last of it; rows of one time are of windows that end together, whose starts
//! tell them apart. Only the rows whose rank is within the limit leave. What the order leaves open is decided by all columns of a row:
//! the numbers depend on the rows alone, not on their arrival.
//!
//! State: a part has the rows that came since the snapshot before, and parts are merged as [`merged_from`] says. A snapshot only
//! notes which rows those are; they are put together when somebody needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array,
        UInt64Array,
    },
    compute::{SortOptions, concat_batches, take_record_batch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::Result;
use postrider_core::{Batch, Watermark};
use postrider_plan::Ranking;

use super::{
    Advanced, Deferred, Operator, RestoredPart, StatePart, StateSnapshot, merged_from,
    state::column_bytes,
};
use crate::{
    chain::new_batch,
    limits::{ADVANCE_BATCHES, ADVANCE_ROWS},
};

/// What is ranked. Rows arrive as `[keys.., start, order.., columns..]`.
#[derive(Debug, Clone)]
pub(crate) struct RankSpec {
    pub(crate) ranking: Ranking,
    /// The greatest rank that anybody asks for.
    pub(crate) limit: Option<u64>,
    /// All columns that arrive.
    pub(crate) input_schema: SchemaRef,
    /// How long before the last time of its window there may be rows.
    pub(crate) reach_ns: i64,
    /// How many of them tell groups apart, without the start.
    pub(crate) keys: usize,
    /// How those behind the start are sorted.
    pub(crate) order: Arc<[SortOptions]>,
    /// The columns behind those, then the rank.
    pub(crate) output_schema: SchemaRef,
}

impl RankSpec {
    /// The columns of state rows: those that arrive, then the time.
    pub(super) fn state_schema(&self) -> SchemaRef {
        let mut fields: Vec<_> = self.input_schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("time", DataType::Int64, false)));
        Arc::new(Schema::new(fields))
    }

    /// The columns of a group, of the order, and of the rest.
    fn split(&self, rows: &RecordBatch) -> (Vec<ArrayRef>, Vec<ArrayRef>, Vec<ArrayRef>) {
        let group = self.keys + 1;
        let rest = group + self.order.len();
        let columns = rows.columns();
        (columns[..group].to_vec(), columns[group..rest].to_vec(), columns[rest..].to_vec())
    }
}

/// Rows of one time that are in a part of snapshots.
struct Settled {
    rows: Deferred<RecordBatch>,
    /// The bytes of what they are made of.
    before: usize,
}

impl Settled {
    fn done(rows: RecordBatch) -> Self {
        Self { rows: Deferred::done(rows), before: 0 }
    }

    fn memory(&self) -> usize {
        self.rows.ready().map_or(self.before, |rows| column_bytes(rows.columns()))
    }
}

/// Rows of windows that end together.
#[derive(Default)]
struct Pending {
    /// Since the newest snapshot.
    recent: Vec<RecordBatch>,
    /// By the snapshot that they were first in, or that merged them.
    settled: Vec<(u64, Arc<Settled>)>,
}

impl Pending {
    /// All rows, those of the oldest snapshot first.
    fn rows(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let settled = self.settled.iter().map(|(_, settled)| settled.rows.get());
        let settled = settled.collect::<Result<Vec<_>>>()?;
        Ok(concat_batches(schema, settled.into_iter().chain(&self.recent))?)
    }

    /// Settles all that came behind snapshot `from`, as of snapshot `number`.
    fn cut(&mut self, schema: &SchemaRef, from: u64, number: u64) -> Option<Arc<Settled>> {
        let keep = self.settled.partition_point(|(settled, _)| *settled <= from);
        let earlier: Vec<_> = self.settled.drain(keep..).map(|(_, settled)| settled).collect();
        let recent = std::mem::take(&mut self.recent);
        let settled = match (&earlier[..], &recent[..]) {
            ([], []) => return None,
            ([only], []) => Arc::clone(only),
            _ => {
                let bytes = recent.iter().map(|batch| column_bytes(batch.columns()));
                let before = bytes.sum::<usize>()
                    + earlier.iter().map(|settled| settled.memory()).sum::<usize>();
                let schema = Arc::clone(schema);
                let rows = Deferred::new(move || {
                    let earlier = earlier.iter().map(|settled| settled.rows.get());
                    let earlier = earlier.collect::<Result<Vec<_>>>()?;
                    Ok(concat_batches(&schema, earlier.into_iter().chain(&recent))?)
                });
                Arc::new(Settled { rows, before })
            }
        };
        self.settled.push((number, Arc::clone(&settled)));
        Some(settled)
    }

    fn memory(&self) -> usize {
        let recent = self.recent.iter().map(|batch| column_bytes(batch.columns()));
        let settled = self.settled.iter().map(|(_, settled)| settled.memory());
        recent.chain(settled).sum()
    }
}

/// The rows of one shard.
pub(super) struct RankedWindows {
    spec: RankSpec,
    /// By time.
    pending: BTreeMap<i64, Pending>,
    watermark: Watermark,
    late_rows: u64,
}

impl RankedWindows {
    pub(super) const fn new(spec: RankSpec) -> Self {
        Self { spec, pending: BTreeMap::new(), watermark: Watermark::MIN, late_rows: 0 }
    }

    /// The ranked rows of the windows that end behind `time`.
    fn rank(&self, time: i64, pending: &Pending) -> Result<Batch> {
        let rows = pending.rows(&self.spec.input_schema)?;
        let (group, order, rest) = self.spec.split(&rows);
        let plain = |columns: &[ArrayRef]| vec![SortOptions::default(); columns.len()];
        let group = comparable(&group, &plain(&group))?;
        let options = self.spec.order.to_vec();
        let order = if order.is_empty() { None } else { Some(comparable(&order, &options)?) };
        let tie = comparable(&rest, &plain(&rest))?;
        let key = |row: u32| {
            let row = row as usize;
            (group.row(row), order.as_ref().map(|order| order.row(row)), tie.row(row))
        };
        let mut sorted: Vec<u32> = (0..rows.num_rows() as u32).collect();
        sorted.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)));
        let mut numbers = Numbers::new(self.spec.ranking);
        let mut ranks = Vec::new();
        let mut kept = Vec::new();
        for (at, &row) in sorted.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| sorted[at]).map(key);
            let (group, order, _) = key(row);
            let rank = numbers.next(
                before.is_some_and(|(before, ..)| before == group),
                before.is_some_and(|(_, before, _)| before == order),
            );
            if self.spec.limit.is_none_or(|limit| rank <= limit) {
                kept.push(row);
                ranks.push(rank);
            }
        }
        let rows = RecordBatch::from(arrow::array::StructArray::try_new(
            self.spec.output_schema.fields()[..rest.len()].to_vec().into(),
            rest,
            None,
        )?);
        let kept = take_record_batch(&rows, &UInt32Array::from(kept))?;
        let count = ranks.len();
        let mut columns = kept.columns().to_vec();
        columns.push(Arc::new(UInt64Array::from(ranks)));
        Ok(Batch {
            rows: new_batch(&self.spec.output_schema, columns, count)?,
            times: TimestampNanosecondArray::from_value(time, count),
        })
    }

    /// Does what the snapshot before left to do, so that there is never more of it than one snapshot leaves.
    fn finish_newest(&self) -> Result<()> {
        let mut newest = self.pending.values().filter_map(|pending| pending.settled.last());
        newest.try_for_each(|(_, settled)| settled.rows.get().map(|_| ()))
    }

    /// The parts that a window has rows of, ascending by id.
    fn list_parts(&self) -> Vec<StatePart> {
        let settled = self.pending.values().flat_map(|pending| &pending.settled);
        let used: BTreeSet<u64> = settled.map(|(number, _)| *number).collect();
        used.into_iter().map(|id| StatePart { id, new: None, dead: None }).collect()
    }
}

/// Rows whose order is that of these columns.
fn comparable(columns: &[ArrayRef], options: &[SortOptions]) -> Result<Rows> {
    let fields = columns.iter().zip(options);
    let fields =
        fields.map(|(c, options)| SortField::new_with_options(c.data_type().clone(), *options));
    Ok(RowConverter::new(fields.collect())?.convert_columns(columns)?)
}

/// Numbers rows that come in order.
struct Numbers {
    ranking: Ranking,
    rows: u64,
    rank: u64,
}

impl Numbers {
    const fn new(ranking: Ranking) -> Self {
        Self { ranking, rows: 0, rank: 0 }
    }

    /// The rank of the next row, which is of the group of the one before, or of the same place in its order, or not.
    const fn next(&mut self, same_group: bool, same_place: bool) -> u64 {
        if !same_group {
            (self.rows, self.rank) = (0, 0);
        }
        self.rows += 1;
        self.rank = match self.ranking {
            Ranking::RowNumber => self.rows,
            _ if same_group && same_place => self.rank,
            Ranking::Rank => self.rows,
            Ranking::DenseRank => self.rank + 1,
        };
        self.rank
    }
}

impl Operator for RankedWindows {
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        let times = batch.times.values();
        let mut from = 0;
        while let Some(&time) = times.get(from) {
            let run = times[from..].iter().take_while(|&&other| other == time).count();
            if self.watermark.0 >= time {
                self.late_rows += run as u64;
            } else {
                self.pending.entry(time).or_default().recent.push(batch.rows.slice(from, run));
            }
            from += run;
        }
        Ok(times.len())
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        let mut rows = 0;
        for _ in 0..ADVANCE_BATCHES {
            let due = self.pending.first_key_value().is_some_and(|(&time, _)| time <= watermark.0);
            let Some((time, pending)) = due.then(|| self.pending.pop_first()).flatten() else {
                self.watermark = self.watermark.max(watermark);
                return Ok(Advanced::Whole);
            };
            let batch = self.rank(time, &pending)?;
            rows += batch.times.len();
            if !batch.times.is_empty() {
                out.push(batch);
            }
            if rows >= ADVANCE_ROWS {
                break;
            }
        }
        Ok(Advanced::Partly)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.pending.first_key_value().map(|(&time, _)| Watermark(time))
    }

    fn take_late_rows(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.finish_newest()?;
        let (from, schema) = (merged_from(number), Arc::clone(&self.spec.input_schema));
        let cut = self
            .pending
            .iter_mut()
            .filter_map(|(&time, pending)| Some((time, pending.cut(&schema, from, number)?)));
        let cut: Vec<_> = cut.collect();
        let mut parts = self.list_parts();
        if let Some(part) = parts.iter_mut().find(|part| part.id == number) {
            let schema = self.spec.state_schema();
            part.new = Some(Deferred::new(move || {
                let rows = cut.iter();
                rows.map(|(time, settled)| timed(settled.rows.get()?, *time, &schema)).collect()
            }));
        }
        Ok(StateSnapshot { parts })
    }

    fn restore(&mut self, _number: u64, parts: Vec<RestoredPart>, at: Watermark) -> Result<()> {
        self.watermark = at;
        for part in parts {
            for batch in part.batches {
                self.take(part.id, &batch)?;
            }
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        self.pending.values().map(Pending::memory).sum()
    }
}

/// State rows of one time.
fn timed(rows: &RecordBatch, time: i64, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_value(time, rows.num_rows())));
    new_batch(schema, columns, rows.num_rows())
}

impl RankedWindows {
    /// Takes the rows of a part, which are in runs of one time.
    fn take(&mut self, part: u64, batch: &RecordBatch) -> Result<()> {
        let width = self.spec.input_schema.fields().len();
        let times = batch.column(width).as_primitive::<Int64Type>().values().clone();
        let columns = batch.columns()[..width].to_vec();
        let rows = new_batch(&self.spec.input_schema, columns, batch.num_rows())?;
        let mut from = 0;
        while let Some(&time) = times.get(from) {
            let run = times[from..].iter().take_while(|&&other| other == time).count();
            if time > self.watermark.0 {
                let pending = self.pending.entry(time).or_default();
                pending.settled.push((part, Arc::new(Settled::done(rows.slice(from, run)))));
            }
            from += run;
        }
        Ok(())
    }
}
