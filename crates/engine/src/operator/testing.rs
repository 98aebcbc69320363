//! What the tests of operators share: an aggregate without a key, its rows, and its results.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray},
    datatypes::{DataType, Field, Int64Type, Schema, TimestampNanosecondType},
};
use datafusion::{
    functions_aggregate::count::count_udaf,
    physical_expr::{aggregate::AggregateExprBuilder, expressions::col},
};
use postrider_core::Batch;

use super::aggregate::{AggregateCall, AggregateSpec, window_fields};

/// Counts the rows of each window, without a key.
pub(super) fn counts() -> AggregateSpec {
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

/// Rows at these times.
pub(super) fn batch(times: &[i64]) -> Batch {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1; times.len()]));
    Batch {
        rows: RecordBatch::try_from_iter([("v", values)]).unwrap(),
        times: TimestampNanosecondArray::from(times.to_vec()),
    }
}

/// Start, end and rows of each window.
pub(super) fn windows(batches: &[Batch]) -> Vec<(i64, i64, i64)> {
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
