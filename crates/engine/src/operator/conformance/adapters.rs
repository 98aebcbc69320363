//! Operators whose rows or times are not those of the steps.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
        TimestampNanosecondArray,
    },
    datatypes::{Int64Type, Schema},
};
use chrono_tz::Europe::Berlin;
use datafusion::common::{JoinType, Result};
use postrider_core::{Batch, ClockTime, Watermark};
use postrider_plan::Period;

use super::super::{
    Advanced, AggregateSpec, Grid, IntervalJoinSpec, Operator, RestoredPart, RevisedSpec,
    RevisedWindows, SlicingWindows, StateSnapshot, UpdatingJoin, UpdatingJoinSpec,
    testing::{join_results, joined, keyed, keyed_schema},
};
use crate::{calendar::Calendar, chain::new_batch, changes::with_kinds};

const HOUR: i64 = 3_600_000_000_000;
/// 2026-03-27, two days before the clocks are put forward in Berlin.
const BASE: i64 = 1_774_569_600_000_000_000;

/// An operator whose steps of time are hours.
pub(super) struct Hourly<O>(O);

impl<O> Hourly<O> {
    const fn watermark(watermark: Watermark) -> Watermark {
        Watermark(BASE + watermark.0 * HOUR)
    }
}

/// Days of Berlin.
pub(super) fn days() -> Hourly<SlicingWindows> {
    let calendar = Calendar { period: Period::Days(1), offset_ns: 2 * HOUR };
    Hourly(SlicingWindows::new(Grid::calendar(calendar, Berlin), keyed()))
}

/// Windows whose results leave early and are corrected; no row is later than `reach_ns` before the end of its last window.
pub(super) fn revised(
    grid: Grid,
    reach_ns: i64,
    every_ns: Option<i64>,
    lateness_ns: i64,
) -> RevisedWindows {
    let aggregate = keyed();
    let output_schema = with_kinds(&aggregate.output_schema);
    RevisedWindows::new(RevisedSpec {
        aggregate,
        grid,
        reach_ns,
        every_ns,
        lateness_ns,
        output_schema,
    })
    .unwrap()
}

impl<O: Operator> Operator for Hourly<O> {
    fn process(&mut self, input: usize, batch: &Batch, out: &mut Vec<Batch>) -> Result<usize> {
        let times = batch.times.unary(|time| BASE + time * HOUR);
        self.0.process(input, &Batch { rows: batch.rows.clone(), times }, out)
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        let mut found = Vec::new();
        let advanced = self.0.advance(Self::watermark(watermark), &mut found)?;
        let hours = |batch: Batch| Batch {
            times: batch.times.unary(|time: i64| (time - BASE).div_euclid(HOUR)),
            rows: batch.rows,
        };
        out.extend(found.into_iter().map(hours));
        Ok(advanced)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        let timer = self.0.next_timer()?;
        Some(Watermark((timer.0 - BASE + HOUR - 1).div_euclid(HOUR)))
    }

    fn take_late_rows(&mut self) -> u64 {
        self.0.take_late_rows()
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.0.snapshot(number)
    }

    fn restore(&mut self, number: u64, parts: Vec<RestoredPart>, at: Watermark) -> Result<()> {
        self.0.restore(number, parts, Self::watermark(at))
    }

    fn memory(&self) -> usize {
        self.0.memory()
    }
}

/// An operator whose rows bring along the tumbling window of 40 that they are in.
pub(super) struct Brought(SlicingWindows);

pub(super) fn brought() -> Brought {
    let spec = keyed();
    let mut keys = spec.key_schema.fields().to_vec();
    keys.push(Arc::new(arrow::datatypes::Field::new("start", start_type(), false)));
    let calls = spec.calls.iter().map(|call| super::super::AggregateCall {
        arguments: call.arguments.iter().map(|column| column + 1).collect(),
        ..call.clone()
    });
    let calls = calls.collect();
    let spec = AggregateSpec { key_schema: Arc::new(Schema::new(keys)), calls, ..spec.clone() };
    Brought(SlicingWindows::new(Grid::own(), spec))
}

fn start_type() -> arrow::datatypes::DataType {
    arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None)
}

impl Operator for Brought {
    fn process(&mut self, input: usize, batch: &Batch, out: &mut Vec<Batch>) -> Result<usize> {
        let starts: TimestampNanosecondArray = batch.times.unary(|time| time.div_euclid(40) * 40);
        let times = starts.unary(|start| start + 39);
        let mut fields = batch.rows.schema().fields().to_vec();
        fields.insert(1, Arc::new(arrow::datatypes::Field::new("start", start_type(), false)));
        let mut columns = batch.rows.columns().to_vec();
        columns.insert(1, Arc::new(starts));
        let rows = new_batch(&Arc::new(Schema::new(fields)), columns, batch.rows.num_rows())?;
        self.0.process(input, &Batch { rows, times }, out)
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.0.advance(watermark, out)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.0.next_timer()
    }

    fn take_late_rows(&mut self) -> u64 {
        self.0.take_late_rows()
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.0.snapshot(number)
    }

    fn restore(&mut self, number: u64, parts: Vec<RestoredPart>, at: Watermark) -> Result<()> {
        self.0.restore(number, parts, at)
    }

    fn memory(&self) -> usize {
        self.0.memory()
    }
}

/// The join of [`joined`] without bounds. Rows of a side that is a changelog are taken back by every fifth value, and come without their text,
/// so that some are equal.
pub(super) fn joined_for_ever(kind: JoinType, takes_back: [bool; 2]) -> Changing {
    let IntervalJoinSpec { keys, inputs, columns, filter, pair_schema, .. } = joined(kind);
    let updating =
        !matches!(kind, JoinType::Inner | JoinType::LeftSemi) || takes_back.contains(&true);
    let output = join_results(kind, &pair_schema);
    let spec = UpdatingJoinSpec {
        kind,
        keys,
        null_equals_null: false,
        inputs,
        takes_back,
        columns,
        filter,
        pair_schema,
        output_schema: if updating { with_kinds(&output) } else { Arc::new(output) },
        updating,
        ttl_ns: Some(100),
    };
    Changing { operator: UpdatingJoin::new(spec).unwrap(), takes_back }
}

/// A join whose rows are changes on some of its inputs.
pub(super) struct Changing {
    operator: UpdatingJoin,
    takes_back: [bool; 2],
}

impl Operator for Changing {
    fn process(&mut self, input: usize, batch: &Batch, out: &mut Vec<Batch>) -> Result<usize> {
        if !self.takes_back[input] {
            return self.operator.process(input, batch, out);
        }
        let values = batch.rows.column(1).as_primitive::<Int64Type>();
        let few = |of: fn(i64) -> i64| values.iter().map(move |v| v.map(|v| of(v) % 3));
        let kinds = values.iter().map(|v| if v.is_some_and(|v| v % 5 == 0) { 3 } else { 0 });
        let columns: Vec<ArrayRef> = vec![
            Arc::clone(batch.rows.column(0)),
            Arc::new(few(|v| v).collect::<Int64Array>()),
            Arc::new(Float64Array::from(vec![None; values.len()])),
            Arc::new(StringArray::from(vec![None::<&str>; values.len()])),
            Arc::new(Int8Array::from_iter_values(kinds)),
        ];
        let rows = RecordBatch::try_new(with_kinds(&keyed_schema()), columns).unwrap();
        self.operator.process(input, &Batch { rows, times: batch.times.clone() }, out)
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.operator.advance(watermark, out)
    }

    fn set_clock(&mut self, clock: ClockTime) {
        self.operator.set_clock(clock);
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.operator.next_timer()
    }

    fn take_late_rows(&mut self) -> u64 {
        self.operator.take_late_rows()
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.operator.snapshot(number)
    }

    fn restore(
        &mut self,
        number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()> {
        self.operator.restore(number, parts, watermark)
    }

    fn memory(&self) -> usize {
        self.operator.memory()
    }
}
