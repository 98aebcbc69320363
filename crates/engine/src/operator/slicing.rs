//! Tumbling and hopping windows over slices.
//!
//! A slice is as long as the greatest common divisor of slide and size, so every window is a whole
//! number of slices. Each slice holds its own hash table; a window is fired by merging its slices.
//! A tumbling window is one slice and is never merged.
//!
//! Rules (Flink, `TimeWindowUtil` and the slicing window processors): windows are aligned to the
//! Unix epoch, `start = ts - floor_mod(ts, slide)`; a window `[start, end)` fires when the watermark
//! reaches `end - 1`; a row is late only if the last window that holds it has fired, so a row of a
//! hopping window that is late for some windows still counts in the others; an empty window is not
//! emitted; the row time of a result is `end - 1`.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, TimestampNanosecondArray, UInt32Array};
use datafusion::common::Result;
use postrider_core::{Batch, Watermark};

use super::{
    Operator,
    aggregate::{AggregateSpec, AggregateTable, States},
};
use crate::exchange::pick;

/// The state of one slice.
#[derive(Default)]
struct Slice {
    /// Takes new rows.
    open: Option<AggregateTable>,
    /// Partial states that some window already read.
    settled: Vec<(Vec<ArrayRef>, States, usize)>,
}

/// Tumbling (`slide == size`) and hopping windows of one shard.
pub(super) struct SlicingWindows {
    spec: AggregateSpec,
    slide: i64,
    size: i64,
    slice: i64,
    slices: BTreeMap<i64, Slice>,
    /// Windows that start before this have fired.
    unfired: i64,
    watermark: Watermark,
    late_rows: u64,
}

impl SlicingWindows {
    pub(super) fn new(slide: i64, size: i64, spec: AggregateSpec) -> Self {
        Self {
            spec,
            slide,
            size,
            slice: greatest_common_divisor(slide, size),
            slices: BTreeMap::new(),
            unfired: i64::MIN,
            watermark: Watermark::MIN,
            late_rows: 0,
        }
    }

    /// The end of the last window that holds a row at `time`.
    fn last_end(&self, time: i64) -> i64 {
        floor(time, self.slide).saturating_add(self.size)
    }

    /// The start of the first window that holds a slice and has not fired. Counted by starts, because an
    /// end may lie behind the end of time.
    fn first_unfired(&self, slice_start: i64) -> i64 {
        let before = floor(slice_start.saturating_sub(self.size), self.slide);
        before.saturating_add(self.slide).min(slice_start).max(self.unfired)
    }

    /// Skips the windows that the watermark has passed.
    fn pass(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
        if let Some(last) = watermark.0.saturating_add(1).checked_sub(self.size) {
            let next = floor(last, self.slide).saturating_add(self.slide);
            self.unfired = self.unfired.max(next);
        }
    }

    fn add(&mut self, start: i64, batch: &Batch) -> Result<()> {
        let slice = self.slices.entry(start).or_default();
        let table = match &mut slice.open {
            Some(table) => table,
            none => none.insert(AggregateTable::new(&self.spec)?),
        };
        table.update(&self.spec, &batch.rows)
    }

    fn fire(&mut self, start: i64, out: &mut Vec<Batch>) -> Result<()> {
        let end = start.saturating_add(self.size);
        let result = if self.slice == self.size {
            let table = self.slices.remove(&start).and_then(|slice| slice.open);
            table.map(AggregateTable::evaluate).transpose()?
        } else {
            Some(self.merge(start, end)?.evaluate()?)
        };
        self.unfired = start.saturating_add(self.slide);
        // Slices that end before the next window starts are in no further window.
        while let Some(entry) = self.slices.first_entry() {
            if *entry.key() >= self.unfired {
                break;
            }
            entry.remove();
        }
        if let Some((keys, values, rows)) = result
            && rows > 0
        {
            let starts = TimestampNanosecondArray::from_value(start, rows);
            let ends = TimestampNanosecondArray::from_value(end, rows);
            out.push(self.spec.output(keys, values, starts, ends)?);
        }
        Ok(())
    }

    fn merge(&mut self, start: i64, end: i64) -> Result<AggregateTable> {
        let mut merged = AggregateTable::new(&self.spec)?;
        for slice in self.slices.range_mut(start..end).map(|(_, slice)| slice) {
            if let Some(table) = slice.open.take() {
                slice.settled.push(table.into_states()?);
            }
            for (keys, states, rows) in &slice.settled {
                merged.merge(keys, states, *rows)?;
            }
        }
        Ok(merged)
    }
}

impl Operator for SlicingWindows {
    fn process(&mut self, batch: &Batch) -> Result<()> {
        let times = batch.times.values();
        let Some(&first) = times.first() else { return Ok(()) };
        let slice_of = |time| floor(time, self.slice);
        let start = slice_of(first);
        // Two times may be further apart than an i64 holds.
        let length = self.slice.unsigned_abs();
        let within = |start: i64, time: i64| time >= start && time.abs_diff(start) < length;
        let one_slice = times.iter().all(|&time| within(start, time));
        if one_slice {
            if self.watermark.completes(self.last_end(first)) {
                self.late_rows += times.len() as u64;
                return Ok(());
            }
            return self.add(start, batch);
        }
        let mut rows_of: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let (mut current, mut rows) = (start, Vec::new());
        for (row, &time) in (0_u32..).zip(times) {
            // Neighbouring rows mostly share their slice: the division is skipped for them.
            if !within(current, time) {
                rows_of.entry(current).or_default().append(&mut rows);
                current = slice_of(time);
            }
            if self.watermark.completes(self.last_end(time)) {
                self.late_rows += 1;
            } else {
                rows.push(row);
            }
        }
        rows_of.entry(current).or_default().append(&mut rows);
        for (start, rows) in rows_of {
            if !rows.is_empty() {
                self.add(start, &pick(batch, &UInt32Array::from(rows))?)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<()> {
        while let Some(start) = self.next_start() {
            if !watermark.completes(start.saturating_add(self.size)) {
                break;
            }
            self.fire(start, out)?;
        }
        self.pass(watermark);
        Ok(())
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        let end = self.next_start()?.saturating_add(self.size);
        Some(Watermark(end.saturating_sub(1)))
    }

    fn take_late_rows(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }
}

impl SlicingWindows {
    fn next_start(&self) -> Option<i64> {
        self.slices.first_key_value().map(|(&start, _)| self.first_unfired(start))
    }
}

/// The largest multiple of `step` that is not above `value`.
fn floor(value: i64, step: i64) -> i64 {
    value.saturating_sub(value.rem_euclid(step))
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
