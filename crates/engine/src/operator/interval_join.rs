//! Joins of two streams whose event times are near each other, by Flink's rules (`RowTimeIntervalJoin`), in nanoseconds.
//!
//! A row first looks for partners among the kept rows of the other side, then is kept itself as long as partners may come: to
//! `time + reach + 1`, where `reach` is how far behind it the other side may be. A row that comes so late that nobody could
//! follow it is not kept; it still meets who is there. Nothing is dropped as late.
//!
//! A pair has the time of its later row. A row without a partner has the time at which that became certain.

mod side;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampNanosecondArray, UInt32Array,
        new_null_array,
    },
    buffer::BooleanBuffer,
    compute::{and, filter, kernels::cmp::eq, take},
    datatypes::{SchemaRef, TimestampNanosecondType},
};
use datafusion::{
    common::{
        JoinType, Result,
        cast::as_boolean_array,
        hash_utils::{RandomState, create_hashes},
    },
    physical_expr::PhysicalExpr,
};
use postrider_core::{Batch, Watermark};
use postrider_plan::TimeBounds;

use self::side::Side;
use super::{
    Advanced, Operator, RestoredPart, StateSnapshot,
    rows::{PortRows, RowId, RowStore},
    sided::{LEFT, RIGHT, TwoSides},
};
use crate::{chain::new_batch, limits::ADVANCE_ROWS};

/// Apart from the seed of the exchange, so that the keys of a shard fill its table evenly.
const TABLE_SEED: u64 = 0x696e_7465_7276_616c;

/// What a join computes. Rows of each side arrive as `[keys.., others..]`.
#[derive(Debug, Clone)]
pub(crate) struct IntervalJoinSpec {
    pub(crate) kind: JoinType,
    /// How many of the first columns of each side are keys.
    pub(crate) keys: usize,
    /// The columns in which the rows of each side arrive.
    pub(crate) inputs: [SchemaRef; 2],
    /// For each side, where the columns of the results stand in its rows.
    pub(crate) columns: [Arc<[usize]>; 2],
    pub(crate) bounds: TimeBounds,
    /// What else a pair must meet, over the columns of both sides as results have them.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of both sides.
    pub(crate) pair_schema: SchemaRef,
    pub(crate) output_schema: SchemaRef,
}

impl IntervalJoinSpec {
    /// How rows are kept.
    fn layout(&self) -> TwoSides {
        TwoSides { keys: self.keys, inputs: self.inputs.clone(), own: side::own_columns() }
    }

    /// The columns of a state row.
    pub(crate) fn state_schema(&self) -> SchemaRef {
        self.layout().state_schema()
    }

    /// How far behind its own time the partners of a row of this side may be, in nanoseconds.
    pub(crate) const fn reach(&self, side: usize) -> i64 {
        if side == LEFT { self.bounds.to_ns } else { self.bounds.from_ns.saturating_neg() }
    }

    /// What happens to the rows of a side without a partner.
    const fn lonely(&self, side: usize) -> Lonely {
        match (self.kind, side) {
            (JoinType::Left | JoinType::Full, LEFT) | (JoinType::Right | JoinType::Full, RIGHT) => {
                Lonely::Padded
            }
            (JoinType::LeftAnti, LEFT) => Lonely::Alone,
            _ => Lonely::Dropped,
        }
    }

    /// Whether one partner is all that a left row waits for.
    const fn first_partner_ends(&self) -> bool {
        matches!(self.kind, JoinType::LeftSemi | JoinType::LeftAnti)
    }
}

/// What happens to a row of which it is certain that it has no partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lonely {
    /// Nothing.
    Dropped,
    /// It leaves beside NULLs.
    Padded,
    /// It leaves.
    Alone,
}

/// The operator.
pub(crate) struct IntervalJoin {
    spec: IntervalJoinSpec,
    layout: TwoSides,
    rows: RowStore,
    sides: [Side; 2],
    watermark: Watermark,
}

/// Rows that found each other: positions in the arriving batch, and kept rows of the other side.
#[derive(Debug, Default)]
struct Pairs {
    arrived: Vec<u32>,
    kept: Vec<RowId>,
}

impl IntervalJoin {
    pub(crate) fn new(spec: IntervalJoinSpec) -> Self {
        let side = |side| Side::new(spec.reach(side), spec.lonely(side) != Lonely::Dropped);
        let sides = [side(LEFT), side(RIGHT)];
        let layout = spec.layout();
        Self { spec, layout, rows: RowStore::default(), sides, watermark: Watermark::MIN }
    }

    /// The hash of each row's key; `None` for a key with a NULL, which equals nothing.
    fn hashes(&self, rows: &RecordBatch) -> Result<Vec<Option<u64>>> {
        let keys = &rows.columns()[..self.spec.keys];
        let mut hashes = vec![0; rows.num_rows()];
        create_hashes(keys, &RandomState::with_seed(TABLE_SEED), &mut hashes)?;
        let is_null = |row: usize| keys.iter().any(|key| key.is_null(row));
        let hash = |(row, hash): (usize, u64)| (!is_null(row)).then_some(hash);
        Ok(hashes.into_iter().enumerate().map(hash).collect())
    }

    /// Who of the other side is near enough and has the same hash, for the first rows of a batch. Ends behind a row with which
    /// there are many, and says how many rows were looked at.
    fn candidates(&self, side: usize, hashes: &[Option<u64>], times: &[i64]) -> (Pairs, usize) {
        let mut pairs = Pairs::default();
        let other = &self.sides[1 - side];
        for (row, (hash, &time)) in hashes.iter().zip(times).enumerate() {
            if let Some(hash) = *hash {
                for (id, kept) in other.with_hash(hash) {
                    let apart = if side == LEFT {
                        kept.saturating_sub(time)
                    } else {
                        time.saturating_sub(kept)
                    };
                    if self.spec.bounds.from_ns <= apart && apart <= self.spec.bounds.to_ns {
                        pairs.arrived.push(row as u32);
                        pairs.kept.push(id);
                    }
                }
            }
            if pairs.kept.len() >= ADVANCE_ROWS {
                return (pairs, row + 1);
            }
        }
        (pairs, hashes.len())
    }

    /// The pairs that are equal in their keys and meet the filter, and their rows with the columns of both sides.
    fn check(&self, side: usize, batch: &Batch, pairs: Pairs) -> Result<(Pairs, Vec<ArrayRef>)> {
        if pairs.kept.is_empty() {
            return Ok((pairs, Vec::new()));
        }
        let arrived = UInt32Array::from(pairs.arrived.clone());
        let kept = self.rows.gather(&pairs.kept)?;
        let mut mask: Option<BooleanArray> = None;
        for key in 0..self.spec.keys {
            let own = take(batch.rows.column(key), &arrived, None)?;
            let equal = eq(&own, kept.column(key))?;
            mask = Some(match mask {
                Some(mask) => and(&mask, &equal)?,
                None => equal,
            });
        }
        let own = self.spec.columns[side]
            .iter()
            .map(|&column| take(batch.rows.column(column), &arrived, None).map_err(Into::into));
        let mut own = own.collect::<Result<Vec<ArrayRef>>>()?;
        let other = self.spec.columns[1 - side].iter();
        let mut other: Vec<_> =
            other.map(|&column| Arc::clone(kept.column(self.layout.stored(column)))).collect();
        let mut columns = if side == LEFT {
            own.append(&mut other);
            own
        } else {
            other.append(&mut own);
            other
        };
        if let Some(filter) = &self.spec.filter {
            let rows = new_batch(&self.spec.pair_schema, columns.clone(), pairs.kept.len())?;
            let met = filter.evaluate(&rows)?.into_array(rows.num_rows())?;
            let met = as_boolean_array(&met)?;
            mask = Some(match mask {
                Some(mask) => and(&mask, met)?,
                None => met.clone(),
            });
        }
        let Some(mask) = mask.filter(|mask| mask.true_count() < mask.len()) else {
            return Ok((pairs, columns));
        };
        let is_met = |row: usize| mask.is_valid(row) && mask.value(row);
        let met = (0..mask.len()).filter(|row| is_met(*row));
        let (arrived, kept) = met.map(|row| (pairs.arrived[row], pairs.kept[row])).unzip();
        for column in &mut columns {
            *column = filter_column(column, &mask)?;
        }
        Ok((Pairs { arrived, kept }, columns))
    }

    /// Emits pairs with the time of the later row.
    fn emit_pairs(
        &self,
        side: usize,
        times: &[i64],
        pairs: &Pairs,
        columns: Vec<ArrayRef>,
        out: &mut Vec<Batch>,
    ) -> Result<()> {
        let other = &self.sides[1 - side];
        let both = pairs.arrived.iter().zip(&pairs.kept);
        let later = both.map(|(&row, &id)| times[row as usize].max(other.time(id)));
        let times = TimestampNanosecondArray::from_iter_values(later);
        let rows = new_batch(&self.spec.output_schema, columns, times.len())?;
        out.push(Batch { rows, times });
        Ok(())
    }

    /// Joins some rows with those that are kept, and emits what came of it. `matched` learns which of them have a partner.
    fn meet(
        &mut self,
        side: usize,
        batch: &Batch,
        pairs: Pairs,
        matched: &mut [bool],
        out: &mut Vec<Batch>,
    ) -> Result<()> {
        let times = batch.times.values();
        let (pairs, columns) = self.check(side, batch, pairs)?;
        if pairs.kept.is_empty() {
            return Ok(());
        }
        if self.spec.first_partner_ends() {
            return self.meet_first(side, batch, &pairs, matched, out);
        }
        self.emit_pairs(side, times, &pairs, columns, out)?;
        for &row in &pairs.arrived {
            matched[row as usize] = true;
        }
        if self.spec.lonely(1 - side) != Lonely::Dropped {
            self.mark_matched(1 - side, pairs.kept)?;
        }
        Ok(())
    }

    /// A semi or anti join: left rows that met somebody are done; those of a semi join leave.
    fn meet_first(
        &mut self,
        side: usize,
        batch: &Batch,
        pairs: &Pairs,
        matched: &mut [bool],
        out: &mut Vec<Batch>,
    ) -> Result<()> {
        let mut done: Vec<RowId> = Vec::new();
        let mut now: Vec<i64> = Vec::new();
        let mut rows = Vec::new();
        for (&row, &id) in pairs.arrived.iter().zip(&pairs.kept) {
            let time = batch.times.value(row as usize).max(self.sides[1 - side].time(id));
            if side == LEFT {
                let seen = std::mem::replace(&mut matched[row as usize], true);
                if !seen {
                    rows.push(row);
                    now.push(time);
                }
            } else if self.sides[LEFT].mark_matched(id) {
                done.push(id);
                now.push(time);
            }
        }
        if self.spec.kind == JoinType::LeftSemi && !now.is_empty() {
            let columns = if side == LEFT {
                let rows = UInt32Array::from(rows);
                let columns = self.spec.columns[LEFT].iter();
                columns
                    .map(|&column| take(batch.rows.column(column), &rows, None))
                    .collect::<std::result::Result<Vec<_>, _>>()?
            } else {
                self.own_columns(LEFT, &self.rows.gather(&done)?)
            };
            let rows = new_batch(&self.spec.output_schema, columns, now.len())?;
            out.push(Batch { rows, times: TimestampNanosecondArray::from(now) });
        }
        for id in done {
            self.sides[LEFT].remove(id);
            self.rows.release(id);
        }
        Ok(())
    }

    /// The columns that results have of kept rows.
    fn own_columns(&self, side: usize, kept: &RecordBatch) -> Vec<ArrayRef> {
        let columns = self.spec.columns[side].iter();
        columns.map(|&column| Arc::clone(kept.column(self.layout.stored(column)))).collect()
    }

    /// Remembers that kept rows have a partner; the next snapshot will say so.
    fn mark_matched(&mut self, side: usize, ids: Vec<RowId>) -> Result<()> {
        let mut ids = ids;
        ids.retain(|id| self.sides[side].mark_matched(*id));
        if ids.is_empty() {
            return Ok(());
        }
        let kept = self.rows.gather(&ids)?;
        let matched = Arc::new(BooleanArray::from(vec![true; ids.len()]));
        let own = vec![Arc::clone(kept.column(self.spec.keys)), matched as ArrayRef];
        let rows = self.layout.with_own(&kept, own)?;
        self.rows.replace(side as u8, ids, rows)
    }

    /// Keeps those of some rows for which partners may come, and ends the others.
    fn keep(
        &mut self,
        side: usize,
        batch: &Batch,
        hashes: &[Option<u64>],
        matched: &[bool],
        out: &mut Vec<Batch>,
    ) -> Result<()> {
        let lonely = self.spec.lonely(side);
        let is_done = |row: usize| side == LEFT && self.spec.first_partner_ends() && matched[row];
        let times = batch.times.values();
        let waits = |row: usize| {
            let useful = hashes[row].is_some() || lonely != Lonely::Dropped;
            useful
                && !is_done(row)
                && self.watermark.0 < times[row].saturating_add(self.spec.reach(side))
        };
        let (kept, others): (Vec<usize>, Vec<usize>) =
            (0..batch.rows.num_rows()).partition(|&row| waits(row));
        let ended: Vec<u32> = others
            .into_iter()
            .filter(|&row| lonely != Lonely::Dropped && !matched[row])
            .map(|row| row as u32)
            .collect();
        if !ended.is_empty() {
            let ended = crate::exchange::pick(batch, &UInt32Array::from(ended))?;
            let columns = self.spec.columns[side].iter();
            let columns = columns.map(|&column| Arc::clone(ended.rows.column(column))).collect();
            let times = ended.times.values().iter().map(|&time| self.sides[side].deadline(time));
            out.push(self.lonely_rows(side, columns, times.collect())?);
        }
        if kept.is_empty() {
            return Ok(());
        }
        let picked = UInt32Array::from_iter_values(kept.iter().map(|&row| row as u32));
        let stored = if kept.len() == batch.rows.num_rows() {
            batch.clone()
        } else {
            crate::exchange::pick(batch, &picked)?
        };
        let flags: BooleanArray = kept.iter().map(|&row| Some(matched[row])).collect();
        let own: Vec<ArrayRef> = vec![Arc::new(stored.times), Arc::new(flags)];
        let rows = self.layout.store(side, &stored.rows, own)?;
        let ids = self.rows.insert(side as u8, rows)?;
        for (&row, id) in kept.iter().zip(ids) {
            self.sides[side].insert(id, hashes[row], times[row], matched[row]);
        }
        Ok(())
    }

    /// Takes back rows of one side.
    fn take_run(
        &mut self,
        part: u64,
        side: usize,
        rows: RecordBatch,
        dead: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let hashes = self.hashes(&rows)?;
        let times = rows.column(self.spec.keys).as_primitive::<TimestampNanosecondType>().clone();
        let matched = rows.column(self.spec.keys + 1).as_boolean().clone();
        let ids = self.rows.restore(part, PortRows { port: side as u8, rows }, dead)?;
        for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
            self.sides[side].insert(id, hashes[row], times.value(row), matched.value(row));
        }
        Ok(())
    }

    /// Results of rows that have no partner.
    fn lonely_rows(&self, side: usize, columns: Vec<ArrayRef>, times: Vec<i64>) -> Result<Batch> {
        let count = times.len();
        let mut columns = columns;
        if self.spec.lonely(side) == Lonely::Padded {
            let own = columns.len();
            let fields = self.spec.output_schema.fields();
            let others = if side == LEFT { &fields[own..] } else { &fields[..fields.len() - own] };
            let nulls = others.iter().map(|field| new_null_array(field.data_type(), count));
            let mut nulls: Vec<_> = nulls.collect();
            if side == LEFT {
                columns.append(&mut nulls);
            } else {
                nulls.append(&mut columns);
                columns = nulls;
            }
        }
        let rows = new_batch(&self.spec.output_schema, columns, count)?;
        Ok(Batch { rows, times: TimestampNanosecondArray::from(times) })
    }

    /// Ends kept rows of a side for which the watermark says that nobody can come. True if there may be more.
    fn expire(&mut self, side: usize, out: &mut Vec<Batch>) -> Result<bool> {
        let mut lonely = Vec::new();
        let mut times = Vec::new();
        let mut ended = Vec::new();
        while lonely.len() < ADVANCE_ROWS {
            let Some((id, deadline, alone)) = self.sides[side].pop_until(self.watermark.0) else {
                break;
            };
            if alone {
                lonely.push(id);
                times.push(deadline);
            }
            ended.push(id);
        }
        let is_full = lonely.len() >= ADVANCE_ROWS;
        if !lonely.is_empty() {
            let columns = self.own_columns(side, &self.rows.gather(&lonely)?);
            out.push(self.lonely_rows(side, columns, times)?);
        }
        for id in ended {
            self.rows.release(id);
        }
        Ok(is_full)
    }
}

fn filter_column(column: &ArrayRef, mask: &BooleanArray) -> Result<ArrayRef> {
    Ok(filter(column, mask)?)
}

impl Operator for IntervalJoin {
    fn process(&mut self, side: usize, batch: &Batch, out: &mut Vec<Batch>) -> Result<usize> {
        let hashes = self.hashes(&batch.rows)?;
        let (pairs, rows) = self.candidates(side, &hashes, batch.times.values());
        let first = Batch { rows: batch.rows.slice(0, rows), times: batch.times.slice(0, rows) };
        let mut matched = vec![false; rows];
        self.meet(side, &first, pairs, &mut matched, out)?;
        self.keep(side, &first, &hashes[..rows], &matched, out)?;
        Ok(rows)
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.watermark = self.watermark.max(watermark);
        for side in [LEFT, RIGHT] {
            if self.expire(side, out)? {
                return Ok(Advanced::Partly);
            }
        }
        Ok(Advanced::Whole)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        let timers = self.sides.iter_mut().filter_map(Side::next_lonely);
        timers.min().map(Watermark)
    }

    /// None: a join drops no row as late.
    fn take_late_rows(&mut self) -> u64 {
        0
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        Ok(self.layout.snapshot(self.rows.snapshot(number)?))
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()> {
        self.watermark = watermark;
        for part in parts {
            for (side, rows, dead) in self.layout.runs(&part)? {
                self.take_run(part.id, side, rows, dead.as_ref())?;
            }
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        self.rows.memory() + self.sides.iter().map(Side::memory).sum::<usize>()
    }
}
