//! What the tests of operators share: an aggregate without a key, its rows, and its results.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampNanosecondArray,
    },
    compute::SortOptions,
    datatypes::{DataType, Field, Int64Type, Schema, TimestampNanosecondType},
};
use datafusion::{
    functions_aggregate::{
        array_agg::array_agg_udaf, count::count_udaf, covariance::covar_samp_udaf,
        min_max::max_udaf, stddev::stddev_udaf, sum::sum_udaf,
    },
    physical_expr::{aggregate::AggregateExprBuilder, expressions::col},
};
use postrider_core::Batch;
use postrider_plan::Ranking;

use super::{
    RankSpec,
    aggregate::{AggregateCall, AggregateSpec, window_fields},
};

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

/// The columns of [`keyed_rows`]: a key, then arguments.
fn keyed_schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
    ]))
}

/// Aggregates of every sort for each key: whole numbers, floats whose sum depends on the order, a merge that rounds, text, lists.
pub(super) fn keyed() -> AggregateSpec {
    let rows = keyed_schema();
    let calls: Vec<_> = [
        (count_udaf(), 1),
        (sum_udaf(), 1),
        (sum_udaf(), 2),
        (stddev_udaf(), 2),
        (max_udaf(), 3),
        (array_agg_udaf(), 1),
        (count_udaf(), 3),
        // DataFusion has no grouped form of it.
        (covar_samp_udaf(), 2),
    ]
    .into_iter()
    .map(|(function, column)| {
        let name = rows.field(column).name().clone();
        let distinct = function.name() == "count" && column == 3;
        let arguments = if function.name() == "covar_samp" { 2 } else { 1 };
        let expressions = (0..arguments).map(|_| col(&name, &rows).unwrap()).collect();
        let mut builder = AggregateExprBuilder::new(function, expressions)
            .schema(Arc::clone(&rows))
            .alias(format!("a{column}"));
        if distinct {
            builder = builder.distinct();
        }
        AggregateCall {
            function: Arc::new(builder.build().unwrap()),
            arguments: vec![column; arguments],
            filter: None,
        }
    })
    .collect();
    let mut output = vec![
        Field::new("k", DataType::Int64, true),
        Field::new("w", DataType::Struct(window_fields()), false),
    ];
    output.extend(
        calls.iter().map(|call| call.function.field().as_ref().clone().with_nullable(true)),
    );
    AggregateSpec {
        key_schema: Arc::new(Schema::new(vec![rows.field(0).clone()])),
        calls: calls.into(),
        window_index: 1,
        output_schema: Arc::new(Schema::new(output)),
    }
}

/// Rows of `(key, time, value)`; other arguments follow from the value.
pub(super) fn keyed_rows(rows: &[(Option<i64>, i64, i64)]) -> Batch {
    let values = |of: fn(i64) -> Option<i64>| rows.iter().map(move |(_, _, value)| of(*value));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(key, ..)| *key).collect::<Int64Array>()),
        Arc::new(values(|v| (v % 11 != 0).then_some(v)).collect::<Int64Array>()),
        Arc::new(values(Some).map(|v| v.map(|v| v as f64 * 0.1 + 1e9)).collect::<Float64Array>()),
        Arc::new(values(Some).map(|v| v.map(|v| format!("s{}", v % 5))).collect::<StringArray>()),
    ];
    Batch {
        rows: RecordBatch::try_new(keyed_schema(), columns).unwrap(),
        times: TimestampNanosecondArray::from_iter_values(rows.iter().map(|(_, time, _)| *time)),
    }
}

/// Ranks of [`keyed_rows`] by `v`, the greatest first, in windows that start with the key.
pub(super) fn ranks(ranking: Ranking, limit: Option<u64>) -> RankSpec {
    let input_schema = keyed_schema();
    let mut output: Vec<_> = vec![input_schema.field(2).clone(), input_schema.field(3).clone()];
    output.push(Field::new("rank", DataType::UInt64, false));
    RankSpec {
        ranking,
        limit,
        input_schema,
        reach_ns: 1,
        keys: 0,
        order: [SortOptions { descending: true, nulls_first: false }].into(),
        output_schema: Arc::new(Schema::new(output)),
    }
}
