//! Windows against their definition in whole numbers, also where 64 bits of nanoseconds end.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray},
    datatypes::{DataType, Field, Int64Type, Schema, TimestampNanosecondType},
};
use datafusion::{
    functions_aggregate::count::count_udaf, physical_expr::aggregate::AggregateExprBuilder,
    physical_expr::expressions::col,
};
use postrider_core::{Batch, Watermark};
use proptest::prelude::*;

use super::SlicingWindows;
use crate::{
    limits::EVENT_TIMES,
    operator::{
        Operator,
        aggregate::{AggregateCall, AggregateSpec, window_fields},
    },
};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 1678-01-01, the first time that an event can have.
const FIRST: i64 = EVENT_TIMES.start;
/// The last time that an event can have.
const LAST: i64 = EVENT_TIMES.end - 1;

/// Counts the rows of each window, without a key.
fn counts() -> AggregateSpec {
    let rows = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
    let function = AggregateExprBuilder::new(count_udaf(), vec![col("v", &rows).unwrap()])
        .schema(rows)
        .alias("n")
        .build()
        .unwrap();
    let call = AggregateCall { function: Arc::new(function), arguments: vec![0], filter: None };
    AggregateSpec {
        key_schema: Arc::new(Schema::empty()),
        calls: [call].into(),
        window_index: 0,
        output_schema: Arc::new(Schema::new(vec![
            Field::new("w", DataType::Struct(window_fields()), false),
            Field::new("n", DataType::Int64, false),
        ])),
    }
}

fn batch(times: &[i64]) -> Batch {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1; times.len()]));
    Batch {
        rows: RecordBatch::try_from_iter([("v", values)]).unwrap(),
        times: TimestampNanosecondArray::from(times.to_vec()),
    }
}

/// Start, end and rows of each window.
fn windows(batches: &[Batch]) -> Vec<(i64, i64, i64)> {
    let mut found = Vec::new();
    for batch in batches {
        let window = batch.rows.column(0).as_struct();
        let starts = window.column(0).as_primitive::<TimestampNanosecondType>();
        let ends = window.column(1).as_primitive::<TimestampNanosecondType>();
        let counts = batch.rows.column(1).as_primitive::<Int64Type>();
        for row in 0..counts.len() {
            assert_eq!(batch.times.value(row), ends.value(row) - 1);
            found.push((starts.value(row), ends.value(row), counts.value(row)));
        }
    }
    found
}

fn advance(operator: &mut SlicingWindows, watermark: Watermark) -> Vec<(i64, i64, i64)> {
    let mut out = Vec::new();
    operator.advance(watermark, &mut out).unwrap();
    windows(&out)
}

/// All windows over rows that come in these batches, at the end.
fn run(slide: i64, size: i64, batches: &[&[i64]]) -> Vec<(i64, i64, i64)> {
    let mut operator = SlicingWindows::new(slide, size, counts());
    for times in batches {
        operator.process(&batch(times)).unwrap();
    }
    assert_eq!(operator.take_late_rows(), 0);
    advance(&mut operator, Watermark::MAX)
}

/// The same by definition: window `n` holds the times from `n * slide` on and before `n * slide + size`.
fn expected(slide: i64, size: i64, times: &[i64]) -> Vec<(i64, i64, i64)> {
    let (slide, size) = (i128::from(slide), i128::from(size));
    let mut counts: BTreeMap<i128, i64> = BTreeMap::new();
    for time in times.iter().map(|&time| i128::from(time)) {
        let mut start = time.div_euclid(slide) * slide;
        while start + size > time {
            *counts.entry(start).or_default() += 1;
            start -= slide;
        }
    }
    let seen = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    counts.into_iter().map(|(start, rows)| (seen(start), seen(start + size), rows)).collect()
}

#[test]
fn a_window_that_begins_before_time_does_ends_where_it_should() {
    let year = 365 * DAY;
    // The windows border on 1678-03-15.
    let border = -292 * year;
    let may = FIRST + 120 * DAY;
    assert!(border > FIRST && border < may);
    let found = [(i64::MIN, border, 1), (border, border + year, 1)];
    assert_eq!(run(year, year, &[&[FIRST, may]]), found);
    assert_eq!(run(year, year, &[&[may, FIRST]]), found);
    assert_eq!(run(year, year, &[&[FIRST], &[may]]), found);
}

#[test]
fn hops_that_begin_before_time_does_keep_to_their_slide() {
    let found = run(DAY, 365 * DAY, &[&[FIRST]]);
    assert_eq!(found.len(), 365);
    assert_eq!(found, expected(DAY, 365 * DAY, &[FIRST]));
    assert!(found.iter().all(|(_, end, _)| end.rem_euclid(DAY) == 0));
}

#[test]
fn a_timer_is_the_watermark_that_fires() {
    for time in [FIRST, -1, 0, LAST] {
        let mut operator = SlicingWindows::new(DAY, 365 * DAY, counts());
        operator.process(&batch(&[time])).unwrap();
        let mut fired = Vec::new();
        while let Some(timer) = operator.next_timer() {
            assert_eq!(advance(&mut operator, Watermark(timer.0 - 1)), []);
            fired.extend(advance(&mut operator, timer));
        }
        assert_eq!(fired, expected(DAY, 365 * DAY, &[time]), "{time}");
    }
}

#[test]
fn a_row_is_late_once_its_last_window_has_fired() {
    let mut operator = SlicingWindows::new(DAY, 2 * DAY, counts());
    operator.process(&batch(&[FIRST])).unwrap();
    let day = FIRST.div_euclid(DAY) * DAY;
    assert_eq!(advance(&mut operator, Watermark(day + DAY - 1)), [(day - DAY, day + DAY, 1)]);
    operator.process(&batch(&[FIRST, FIRST - DAY, day + DAY])).unwrap();
    assert_eq!(operator.take_late_rows(), 1);
    let found = [(day, day + 2 * DAY, 3), (day + DAY, day + 3 * DAY, 1)];
    assert_eq!(advance(&mut operator, Watermark::MAX), found);
}

/// Sizes in slides, so that a row is in few windows.
fn lengths() -> impl Strategy<Value = (i64, i64)> {
    let slide = prop_oneof![
        Just(1),
        Just(7 * SECOND),
        Just(DAY),
        Just(365 * DAY),
        Just(36_500 * DAY),
        1..400 * DAY,
        Just(i64::MAX / 12),
    ];
    (slide, 4..48_i64)
        .prop_map(|(slide, quarters)| (slide, (slide / 4).saturating_mul(quarters).max(slide)))
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    let around = |place: i64, reach: i64| place.saturating_sub(reach)..place.saturating_add(reach);
    let time = prop_oneof![
        FIRST..FIRST + 500 * DAY,
        FIRST..FIRST + 10,
        around(0, 3 * SECOND),
        around(0, 1_000 * DAY),
        LAST - 500 * DAY..LAST,
        LAST - 10..LAST,
    ];
    prop::collection::vec(time, 1..12)
}

proptest! {
    #[test]
    fn windows_are_as_defined_however_rows_are_cut_into_batches(
        (slide, size) in lengths(),
        times in times(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(times.len())).collect();
        cuts.extend([0, times.len()]);
        cuts.sort_unstable();
        let batches: Vec<_> = cuts.windows(2).map(|pair| &times[pair[0]..pair[1]]).collect();
        prop_assert_eq!(run(slide, size, &batches), expected(slide, size, &times));
    }
}
