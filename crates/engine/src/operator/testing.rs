//! What the tests of operators share: an aggregate without a key, its rows, and its results.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
        TimestampNanosecondArray,
    },
    compute::SortOptions,
    datatypes::{DataType, Field, Int64Type, Schema, TimestampNanosecondType},
};
use datafusion::{
    common::JoinType,
    functions_aggregate::{
        array_agg::array_agg_udaf, average::avg_udaf, count::count_udaf,
        covariance::covar_samp_udaf, min_max::max_udaf, stddev::stddev_udaf, sum::sum_udaf,
    },
    logical_expr::{AggregateUDF, Operator},
    physical_expr::{
        PhysicalExpr,
        aggregate::AggregateExprBuilder,
        expressions::{Column, binary, col, lit},
    },
};
use postrider_core::{Batch, ClockTime, PipelineName, Watermark};
use postrider_plan::{Lookup, Ranking, TimeBounds};

use super::{
    Advanced, IntervalJoinSpec, Operator as StatefulOperator, RankSpec, RestoredPart,
    StateSnapshot, TableJoinSpec, UpdatingJoin, UpdatingJoinSpec,
    aggregate::{AggregateCall, AggregateSpec, window_fields},
};
use crate::{
    chain::{Chain, Moment},
    changes::with_kinds,
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

/// Aggregates of every sort for each key: whole numbers, floats whose sum depends on the order, also of distinct ones, a merge that
/// rounds, text, lists.
pub(super) fn keyed() -> AggregateSpec {
    keyed_by(&[
        (count_udaf(), 1, false),
        (sum_udaf(), 1, false),
        (sum_udaf(), 2, false),
        (stddev_udaf(), 2, false),
        (max_udaf(), 3, false),
        (array_agg_udaf(), 1, false),
        (count_udaf(), 3, true),
        (sum_udaf(), 2, true),
        (avg_udaf(), 2, true),
        // DataFusion has no grouped form of it.
        (covar_samp_udaf(), 2, false),
    ])
}

/// Aggregates for each key that cost little.
pub(super) fn keyed_cheaply() -> AggregateSpec {
    keyed_by(&[
        (count_udaf(), 1, false),
        (sum_udaf(), 1, false),
        (max_udaf(), 1, false),
        (sum_udaf(), 2, false),
    ])
}

/// Functions, each of a column of [`keyed_rows`] and perhaps of its distinct values, for each key.
fn keyed_by(functions: &[(Arc<AggregateUDF>, usize, bool)]) -> AggregateSpec {
    let rows = keyed_schema();
    let call = |(function, column, distinct): &(Arc<AggregateUDF>, usize, bool)| {
        let name = rows.field(*column).name().clone();
        let arguments = if function.name() == "covar_samp" { 2 } else { 1 };
        let expressions = (0..arguments).map(|_| col(&name, &rows).unwrap()).collect();
        let mut builder = AggregateExprBuilder::new(Arc::clone(function), expressions)
            .schema(Arc::clone(&rows))
            .alias(format!("a{column}"));
        if *distinct {
            builder = builder.distinct();
        }
        AggregateCall {
            function: Arc::new(builder.build().unwrap()),
            arguments: vec![*column; arguments],
            filter: None,
        }
    };
    let calls: Vec<_> = functions.iter().map(call).collect();
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

/// A join of [`keyed_rows`] with themselves on their key, from 10 before to 25 after the left row, unless both values are
/// multiples of seven.
pub(super) fn joined(kind: JoinType) -> IntervalJoinSpec {
    let rows = keyed_schema();
    let both: Vec<_> = rows.fields().iter().chain(rows.fields()).cloned().collect();
    let pairs = Arc::new(Schema::new(both));
    let seventh = |column: usize| {
        let value: Arc<dyn PhysicalExpr> = Arc::new(Column::new("v", column));
        let rest = binary(value, Operator::Modulo, lit(7_i64), &pairs).unwrap();
        binary(rest, Operator::NotEq, lit(0_i64), &pairs).unwrap()
    };
    let filter = binary(seventh(1), Operator::Or, seventh(5), &pairs).unwrap();
    let output = join_results(kind, &pairs);
    let columns: Arc<[usize]> = (0..4).collect();
    IntervalJoinSpec {
        kind,
        keys: 1,
        inputs: [Arc::clone(&rows), rows],
        columns: [Arc::clone(&columns), columns],
        bounds: TimeBounds { from_ns: -10, to_ns: 25 },
        filter: Some(filter),
        pair_schema: pairs,
        output_schema: Arc::new(output),
    }
}

/// The columns of a join of [`keyed_rows`] with themselves.
fn join_results(kind: JoinType, pairs: &Schema) -> Schema {
    let alone = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
    let nullable = pairs.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Schema::new(nullable.take(if alone { 4 } else { 8 }).collect::<Vec<_>>())
}

/// The same join without bounds. Rows of a side that is a changelog are taken back by every fifth value, and come without their text,
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
    Changing { operator: Box::new(UpdatingJoin::new(spec).unwrap()), takes_back }
}

/// An operator whose rows are changes on some of its inputs.
pub(super) struct Changing {
    operator: Box<dyn StatefulOperator>,
    takes_back: [bool; 2],
}

impl StatefulOperator for Changing {
    fn process(
        &mut self,
        input: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> datafusion::common::Result<usize> {
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

    fn advance(
        &mut self,
        watermark: Watermark,
        out: &mut Vec<Batch>,
    ) -> datafusion::common::Result<Advanced> {
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

    fn snapshot(&mut self, number: u64) -> datafusion::common::Result<StateSnapshot> {
        self.operator.snapshot(number)
    }

    fn restore(
        &mut self,
        number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> datafusion::common::Result<()> {
        self.operator.restore(number, parts, watermark)
    }

    fn memory(&self) -> usize {
        self.operator.memory()
    }
}

/// A join of [`keyed_rows`] with themselves as the versions of a table, unless both values are multiples of seven.
pub(super) fn looked_up(lookup: Lookup, outer: bool) -> TableJoinSpec {
    let kind = if outer { JoinType::Left } else { JoinType::Inner };
    let IntervalJoinSpec { keys, inputs, columns, filter, output_schema, .. } = joined(kind);
    let pair_schema = Arc::clone(&output_schema);
    let limit = None;
    TableJoinSpec {
        lookup,
        limit,
        outer,
        keys,
        inputs,
        columns,
        filter,
        pair_schema,
        output_schema,
    }
}

/// Window functions over [`keyed_rows`], of which `w` is over `PARTITION BY` and so on, as SQL plans them.
pub(super) fn over(calls: &str, window: &str) -> Timed {
    let (operator, chain) = planned(&format!(
        "SELECT k, v, x, s, ts, {calls} FROM t WINDOW w AS (PARTITION BY {window});"
    ));
    Timed { operator, chain, changes: false }
}

/// The last aggregate of a query over [`keyed_rows`], as SQL plans it. If it is over another one, which groups by all columns and
/// computes one more, the rows are changes of that one: those with every fifth value take back what may be there.
pub(super) fn updating(query: &str) -> Timed {
    let sql = format!("SET updating_ttl = INTERVAL '100 nanoseconds'; {query};");
    let (operator, chain) = planned(&sql);
    Timed { operator, chain, changes: query.contains("FROM (") }
}

/// The last stage of a program over [`keyed_rows`], and what is in front of it.
fn planned(queries: &str) -> (Box<dyn StatefulOperator>, Chain) {
    let sql = format!(
        "CREATE TABLE t (k BIGINT, v BIGINT, x DOUBLE, s TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
           WITH (connector = 'generator', rows = 1); {queries}"
    );
    let program = postrider_sql::plan_program(&sql, PipelineName("test".to_owned()));
    let program = program.unwrap_or_else(|errors| panic!("{errors}"));
    let flow = crate::planner::plan_dataflow(&program).unwrap_or_else(|errors| panic!("{errors}"));
    let outputs = match flow.stages.as_slice() {
        [_] => &flow.sources[0].outputs,
        [first, _] => &first.outputs,
        stages => panic!("{} stages", stages.len()),
    };
    let last = &flow.stages[flow.stages.len() - 1];
    (last.operator.build().unwrap(), outputs[0].chain.clone())
}

/// An operator behind a source, or an aggregate, whose rows have their time behind the columns of [`keyed_rows`].
pub(super) struct Timed {
    operator: Box<dyn StatefulOperator>,
    chain: Chain,
    changes: bool,
}

impl StatefulOperator for Timed {
    fn process(
        &mut self,
        input: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> datafusion::common::Result<usize> {
        let mut columns: Vec<(&str, ArrayRef)> =
            ["k", "v", "x", "s"].into_iter().zip(batch.rows.columns().to_vec()).collect();
        columns.push(("ts", Arc::new(batch.times.clone())));
        if self.changes {
            let values = batch.rows.column(1).as_primitive::<Int64Type>().clone();
            let kinds = values.iter().map(|v| if v.is_some_and(|v| v % 5 == 0) { 3 } else { 0 });
            let kinds = Int8Array::from_iter_values(kinds);
            columns.push(("n", Arc::new(values)));
            columns.push(("op", Arc::new(kinds)));
        }
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let moment = Moment { clock: ClockTime(0), watermark: Watermark::MIN };
        let batch = self.chain.run(&Batch { rows, times: batch.times.clone() }, moment)?;
        batch.map_or(Ok(0), |batch| self.operator.process(input, &batch, out))
    }

    fn advance(
        &mut self,
        watermark: Watermark,
        out: &mut Vec<Batch>,
    ) -> datafusion::common::Result<Advanced> {
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

    fn snapshot(&mut self, number: u64) -> datafusion::common::Result<StateSnapshot> {
        self.operator.snapshot(number)
    }

    fn restore(
        &mut self,
        number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> datafusion::common::Result<()> {
        self.operator.restore(number, parts, watermark)
    }

    fn memory(&self) -> usize {
        self.operator.memory()
    }
}
