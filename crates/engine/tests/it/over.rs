//! Window functions over streams against plain DataFusion in batch over the same rows, as multisets.
//!
//! `POSTRIDER_CASES` sets how many cases each property runs.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use proptest::prelude::*;

use crate::harness::{Tables, cases_of, run, texts};

const SECOND: i64 = 1_000_000_000;
/// How far rows may arrive out of order, and by how much the watermark lags.
const DELAY: i64 = 8 * SECOND;

#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    ts: i64,
    value: Option<i64>,
    jitter: i64,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.9, 0..4_u8),
        // Whole seconds make ties, and rows exactly at the border of a frame, likely.
        prop_oneof![(0..40_i64).prop_map(|s| s * SECOND), 0..60 * SECOND, -20 * SECOND..0],
        prop::option::weighted(0.8, -5..5_i64),
        0..DELAY,
    );
    let row = row.prop_map(|(key, ts, value, jitter)| Row { key, ts, value, jitter });
    prop::collection::vec(row, 0..80)
}

/// The rows in an order of arrival that keeps every row in front of the watermark. Their ids are those of the order given.
fn table(rows: &[Row]) -> RecordBatch {
    let mut rows: Vec<_> = rows.iter().enumerate().collect();
    rows.sort_by_key(|(_, row)| row.ts + row.jitter);
    let times = rows.iter().map(|(_, row)| row.ts);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "k",
            Arc::new(
                rows.iter().map(|(_, r)| r.key.map(|k| format!("k{k}"))).collect::<StringArray>(),
            ),
            true,
        ),
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(times)), false),
        ("v", Arc::new(rows.iter().map(|(_, row)| row.value).collect::<Int64Array>()), true),
        (
            "id",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id as i64))),
            false,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[derive(Debug, Clone)]
struct Case {
    rows: Vec<Row>,
    chunk_rows: u64,
    shards: usize,
    /// Rows of a frame, or a place in it.
    count: u64,
    /// Seconds of a frame.
    seconds: i64,
}

fn cases() -> impl Strategy<Value = Case> {
    (rows(), 1..9_u64, 1..5_usize, 1..5_u64, 0..15_i64).prop_map(
        |(rows, chunk_rows, shards, count, seconds)| Case {
            rows,
            chunk_rows,
            shards,
            count,
            seconds,
        },
    )
}

fn streamed(query: &str, case: &Case) -> Vec<String> {
    let sql = format!(
        "CREATE TABLE t (k TEXT, ts TIMESTAMP NOT NULL, v BIGINT, id BIGINT NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '8 seconds') WITH (connector = 'generator', rows = 1);
         CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};"
    );
    let sources = BTreeMap::from([("t".to_owned(), table(&case.rows))]);
    let tables = Tables { sources, chunk_rows: case.chunk_rows, ..Tables::default() };
    let (summary, mut written) = run(&sql, tables, case.shards);
    assert_eq!(summary.late_rows, 0);
    written.remove("o").unwrap_or_default()
}

fn batch(query: &str, case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let rows = table(&case.rows);
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        texts(&context.sql(query).await.unwrap().collect().await.unwrap())
    })
}

fn check(query: &str, case: &Case) -> Result<(), TestCaseError> {
    prop_assert_eq!(streamed(query, case), batch(query, case), "{}", query);
    Ok(())
}

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn ranges_of_time_are_what_batch_says(case in cases(), more in 0..5_i64) {
        let (to, from) = (case.seconds, case.seconds + more);
        let query = format!(
            "SELECT k, ts, id, sum(v) OVER w AS a, count(*) OVER w AS b, avg(v) OVER w AS c, min(v) OVER w AS d,
               max(v) OVER w AS e, count(v) FILTER (WHERE v > 0) OVER w AS f,
               sum(v) OVER (PARTITION BY k ORDER BY ts
                 RANGE BETWEEN INTERVAL '{from} seconds' PRECEDING AND INTERVAL '{to} seconds' PRECEDING) AS g
             FROM t WINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '{from} seconds' PRECEDING AND CURRENT ROW)"
        );
        check(&query, &case)?;
    }

    #[test]
    fn rows_before_are_what_batch_says(case in cases(), more in 0..4_u64) {
        let (to, from) = (case.count, case.count + more);
        let query = format!(
            "SELECT k, ts, id, sum(v) OVER w AS a, count(*) OVER w AS b, max(v) OVER w AS c, first_value(v) OVER w AS d,
               last_value(id) OVER w AS e, nth_value(id, {to}) OVER w AS f, lag(v, {to}, -9) OVER w AS g,
               lag(v) IGNORE NULLS OVER w AS h,
               sum(v) OVER (PARTITION BY k ORDER BY ts, id ROWS BETWEEN {from} PRECEDING AND {to} PRECEDING) AS i
             FROM t WINDOW w AS (PARTITION BY k ORDER BY ts, id ROWS {from} PRECEDING)"
        );
        check(&query, &case)?;
    }

    #[test]
    fn everything_so_far_is_what_batch_says(case in cases(), rows in any::<bool>(), peers in any::<bool>()) {
        let frame = if rows && !peers { "ROWS UNBOUNDED PRECEDING" } else { "" };
        let order = if peers { "ts" } else { "ts, id DESC" };
        let query = format!(
            "SELECT k, ts, id, sum(v) OVER w AS a, count(*) OVER w AS b, avg(v) OVER w AS c, max(v) OVER w AS d,
               count(DISTINCT v) OVER w AS e, count(*) FILTER (WHERE v > 0) OVER w AS f, rank() OVER w AS g,
               dense_rank() OVER w AS h, bool_or(v > 3) OVER w AS i
             FROM t WINDOW w AS (PARTITION BY k ORDER BY {order} {frame})"
        );
        check(&query, &case)?;
    }

    #[test]
    fn the_first_and_the_last_rows_are_what_batch_says(case in cases()) {
        let n = case.count;
        let query = format!(
            "SELECT k, ts, id, row_number() OVER w AS a, first_value(v) OVER w AS b, first_value(v) IGNORE NULLS OVER w AS c,
               last_value(v) IGNORE NULLS OVER w AS d, nth_value(v, {n}) OVER w AS e, array_agg(id) OVER w AS f,
               sum(v) OVER (PARTITION BY k ORDER BY ts, id ROWS {n} PRECEDING) AS g, lag(id) OVER w AS h
             FROM t WINDOW w AS (PARTITION BY k ORDER BY ts, id)"
        );
        check(&query, &case)?;
    }

    #[test]
    fn rows_chosen_by_their_number_are_what_batch_says(case in cases()) {
        let n = case.count;
        for condition in [format!("= {n}"), format!("<= {n}"), format!("IN (1, {n}, 10)")] {
            let query = format!(
                "SELECT k, id, v FROM t WHERE v IS NOT NULL
                 QUALIFY row_number() OVER (PARTITION BY k, v ORDER BY ts, id) {condition} AND k <> 'k1'"
            );
            check(&query, &case)?;
            let query = format!(
                "SELECT k, id, rn FROM (SELECT *, row_number() OVER (ORDER BY ts, id) AS rn FROM t) WHERE rn {condition}"
            );
            check(&query, &case)?;
        }
    }

    #[test]
    fn several_partitions_and_steps_are_what_batch_says(case in cases()) {
        let query = format!(
            "SELECT k, id, n, lag(n) OVER (PARTITION BY v ORDER BY ts, id) AS before, sum(n) OVER (ORDER BY ts, id) AS total
             FROM (SELECT *, count(*) OVER (PARTITION BY k, v % 2 ORDER BY ts RANGE INTERVAL '{} seconds' PRECEDING) AS n FROM t)
             WHERE n <> 2",
            case.seconds
        );
        check(&query, &case)?;
    }

    #[test]
    fn windows_looked_back_at_are_what_batch_says(case in cases(), size in 1..15_i64) {
        let query = |window: &str, end: &str| format!(
            "SELECT k, n, n - lag(n) OVER w AS more, sum(n) OVER w AS total
             FROM (SELECT k, {window} AS w, count(*) AS n FROM t GROUP BY k, w) WINDOW w AS (PARTITION BY k ORDER BY {end})"
        );
        let streamed = streamed(&query(&format!("tumble(INTERVAL '{size} seconds')"), "w.end"), &case);
        let expected = batch(&query(&format!("date_bin(INTERVAL '{size} seconds', ts)"), "w"), &case);
        prop_assert_eq!(streamed, expected);
    }

    #[test]
    fn ties_do_not_depend_on_arrival_or_shards(case in cases(), jitters in prop::collection::vec(0..DELAY, 80)) {
        // Neither the order of rows of one time nor which of equal ones is meant is said: ids are left out.
        let query = format!(
            "SELECT k, ts, v, row_number() OVER w AS a, lag(v) OVER w AS b, array_agg(v) OVER (PARTITION BY k ORDER BY ts ROWS UNBOUNDED PRECEDING) AS c,
               sum(v) OVER (PARTITION BY k ORDER BY ts ROWS {} PRECEDING) AS d
             FROM t WINDOW w AS (PARTITION BY k ORDER BY ts)",
            case.count
        );
        let mut other = case.clone();
        for (row, jitter) in other.rows.iter_mut().zip(jitters) {
            row.jitter = jitter;
        }
        (other.shards, other.chunk_rows) = (5 - case.shards, 10 - case.chunk_rows);
        prop_assert_eq!(streamed(&query, &case), streamed(&query, &other));
    }
}
