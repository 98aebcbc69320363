//! Windows over slices: tumbling, hopping and cumulating ones, days and months, and those that rows bring along.
//!
//! A slice is as long as the greatest common divisor of slide and size, or as a step, so every window is a whole
//! number of slices. Each slice holds its own hash table; a window is fired by merging its slices.
//! A tumbling window is one slice and is never merged. A cumulating window leaves what it merged to the next one.
//!
//! Rules (Flink, `TimeWindowUtil` and the slicing window processors): windows are aligned to the
//! Unix epoch and an offset, `start = ts - floor_mod(ts - offset, slide)`; a window `[start, end)` fires when the watermark
//! reaches `end - 1`; a row is late only if the last window that holds it has fired, so a row of a
//! hopping or cumulating window that is late for some windows still counts in the others; an empty window is not
//! emitted, but a cumulating one is not empty once a shorter one of the same start was not; the row time of a
//! result is `end - 1`.

mod accumulate;
mod grid;
mod settled;

use std::collections::BTreeMap;

use arrow::{
    array::{AsArray, TimestampNanosecondArray, UInt32Array},
    datatypes::TimestampNanosecondType,
};
use datafusion::common::Result;
use postrider_core::{Batch, Watermark};

pub(crate) use self::grid::Grid;
use self::{grid::Span, settled::Slice};
use super::{
    Advanced, Operator, RestoredPart, StateSnapshot,
    aggregate::{AggregateSpec, AggregateTable},
};
use crate::{
    exchange::pick,
    limits::{ADVANCE_BATCHES, ADVANCE_ROWS},
};

/// A window, with its bounds as far as they can be shown.
struct Window {
    number: i128,
    start: i64,
    end: i64,
}

/// Windows over slices, of one shard.
pub(super) struct SlicingWindows {
    spec: AggregateSpec,
    grid: Grid,
    /// By number.
    slices: BTreeMap<i128, Slice>,
    /// Windows before this number have fired.
    unfired: i128,
    watermark: Watermark,
    late_rows: u64,
    /// The newest snapshot; 0 before the first.
    snapshot: u64,
    /// Whether a partial state that is merged alone stays as it is.
    exact: bool,
}

impl SlicingWindows {
    pub(super) fn new(grid: Grid, spec: AggregateSpec) -> Self {
        Self {
            exact: spec.merges_exactly(),
            spec,
            grid,
            slices: BTreeMap::new(),
            unfired: i128::MIN,
            watermark: Watermark::MIN,
            late_rows: 0,
            snapshot: 0,
        }
    }

    fn window(&self, number: i128) -> Window {
        let (start, end) = self.grid.bounds(number);
        Window { number, start, end }
    }

    /// The window that fires next: the first one that holds a slice and has not fired.
    fn next_window(&self) -> Option<Window> {
        let (&slice, _) = self.slices.first_key_value()?;
        Some(self.window(self.grid.first_window_with(slice).max(self.unfired)))
    }

    /// Whether the last window that holds a slice has fired.
    fn is_late(&self, slice: Span) -> bool {
        let last = self.grid.last_window_with(slice.number.into());
        self.watermark.completes(self.window(last).end)
    }

    /// Skips the windows that the watermark has passed.
    fn pass(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
        let next = self.grid.first_window_behind(i128::from(watermark.0) + 1);
        self.unfired = self.unfired.max(next);
    }

    fn add(&mut self, slice: i64, batch: &Batch) -> Result<()> {
        let slice = self.slices.entry(slice.into()).or_default();
        let table = match &mut slice.open {
            Some(table) => table,
            none => none.insert(AggregateTable::new(&self.spec)?),
        };
        table.update(&self.spec, &batch.rows)
    }

    /// Emits a window; returns its rows.
    fn fire(&mut self, window: &Window, out: &mut Vec<Batch>) -> Result<usize> {
        let result = match self.take_unmerged(window.number) {
            Some(table) => table.evaluate()?,
            None if self.grid.accumulates() => self.accumulate(window.number)?.evaluate()?,
            None => self.merge(window.number)?.evaluate()?,
        };
        self.unfired = window.number + 1;
        // Slices before the next window are in no further window.
        let needed = self.grid.slices_of(self.unfired).start;
        while let Some(entry) = self.slices.first_entry() {
            if *entry.key() >= needed {
                break;
            }
            entry.remove();
        }
        let (mut keys, values, rows) = result;
        if rows == 0 {
            return Ok(0);
        }
        let own = if self.grid.is_own() { keys.pop() } else { None };
        let starts = match own {
            Some(starts) => starts.as_primitive::<TimestampNanosecondType>().clone(),
            None => TimestampNanosecondArray::from_value(window.start, rows),
        };
        let ends = TimestampNanosecondArray::from_value(window.end, rows);
        out.push(self.spec.output(keys, values, starts, ends)?);
        Ok(rows)
    }

    /// The table of a window that is one slice, if nothing has to be merged into it. Where merging rounds, whether it happens
    /// may depend on nothing but snapshots: other keys of the shard may have partial states, or not.
    fn take_unmerged(&mut self, window: i128) -> Option<AggregateTable> {
        if !self.grid.is_one_slice() || (!self.exact && self.snapshot > 0) {
            return None;
        }
        let slice = self.slices.get_mut(&window)?;
        if slice.is_settled() { None } else { slice.open.take() }
    }

    fn merge(&mut self, window: i128) -> Result<AggregateTable> {
        let mut merged = AggregateTable::new(&self.spec)?;
        let slices = self.grid.slices_of(window);
        for (_, slice) in self.slices.range_mut(slices) {
            slice.settle();
            for settled in slice.all_settled() {
                settled.merge_into(&mut merged)?;
            }
        }
        Ok(merged)
    }

    /// Takes rows of several slices.
    fn divide(&mut self, first: Span, batch: &Batch) -> Result<()> {
        let mut rows_of: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let (mut slice, mut late) = (first, self.is_late(first));
        let mut rows = Vec::new();
        for (row, &time) in (0_u32..).zip(batch.times.values()) {
            // Neighbouring rows mostly share their slice: the division is skipped for them.
            if !slice.holds(time) {
                rows_of.entry(slice.number).or_default().append(&mut rows);
                slice = self.grid.span(time);
                late = self.is_late(slice);
            }
            if late {
                self.late_rows += 1;
            } else {
                rows.push(row);
            }
        }
        rows_of.entry(slice.number).or_default().append(&mut rows);
        for (slice, rows) in rows_of {
            if !rows.is_empty() {
                self.add(slice, &pick(batch, &UInt32Array::from(rows))?)?;
            }
        }
        Ok(())
    }
}

impl SlicingWindows {
    pub(super) fn take_rows(&mut self, batch: &Batch) -> Result<()> {
        let times = batch.times.values();
        let Some(&first) = times.first() else { return Ok(()) };
        let slice = self.grid.span(first);
        if !times.iter().all(|&time| slice.holds(time)) {
            return self.divide(slice, batch);
        }
        if self.is_late(slice) {
            self.late_rows += times.len() as u64;
            return Ok(());
        }
        self.add(slice.number, batch)
    }
}

impl Operator for SlicingWindows {
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        self.take_rows(batch)?;
        Ok(batch.rows.num_rows())
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        let mut rows = 0;
        // Windows are counted, not batches: one of which nothing is left to emit costs its merge as well.
        for _ in 0..ADVANCE_BATCHES {
            let complete = |window: &Window| watermark.completes(window.end);
            let Some(window) = self.next_window().filter(complete) else {
                self.pass(watermark);
                return Ok(Advanced::Whole);
            };
            rows += self.fire(&window, out)?;
            if rows >= ADVANCE_ROWS {
                break;
            }
        }
        Ok(Advanced::Partly)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.next_window().map(|window| Watermark(window.end.saturating_sub(1)))
    }

    fn take_late_rows(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.take_snapshot(number)
    }

    fn restore(
        &mut self,
        number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()> {
        self.pass(watermark);
        self.take_parts(number, parts)
    }

    fn memory(&self) -> usize {
        self.slices.values().map(Slice::memory).sum()
    }
}

#[cfg(test)]
mod tests;
