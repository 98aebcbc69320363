//! Windows against plain DataFusion in batch over the same rows, as multisets.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use proptest::prelude::*;

use crate::harness::{Tables, run, texts};

const SECOND: i64 = 1_000_000_000;
/// How far rows may arrive out of order, and by how much the watermark lags.
const DELAY: i64 = 8 * SECOND;

#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    ts: i64,
    value: Option<i64>,
    word: u8,
    jitter: i64,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.9, 0..4_u8),
        // Whole seconds make sessions exactly one gap apart and rows on window borders likely.
        prop_oneof![(0..90_i64).prop_map(|s| s * SECOND), 0..90 * SECOND, -40 * SECOND..0],
        prop::option::weighted(0.9, -5..5_i64),
        0..3_u8,
        0..DELAY,
    );
    let row = row.prop_map(|(key, ts, value, word, jitter)| Row { key, ts, value, word, jitter });
    prop::collection::vec(row, 0..120)
}

/// The rows in an order of arrival that keeps every row in front of the watermark.
fn table(mut rows: Vec<Row>) -> RecordBatch {
    rows.sort_by_key(|row| row.ts + row.jitter);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "k",
            Arc::new(
                rows.iter().map(|row| row.key.map(|k| format!("k{k}"))).collect::<StringArray>(),
            ),
            true,
        ),
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.ts))),
            false,
        ),
        ("v", Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()), true),
        (
            "s",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| format!("w{}", r.word)))),
            false,
        ),
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

const AGGREGATES: &str = "count(*) AS n, sum(v) AS total, avg(v) AS mean, min(s) AS low, \
    max(v) FILTER (WHERE v % 2 = 0) AS even, count(DISTINCT s) AS words, \
    first_value(s ORDER BY ts, id) AS first, last_value(id ORDER BY ts, id) AS last";

fn streaming(window: &str, tables: &Tables, parallelism: usize) -> Vec<String> {
    let sql = format!(
        "CREATE TABLE t (k TEXT, ts TIMESTAMP NOT NULL, v BIGINT, s TEXT NOT NULL, id BIGINT NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '8 seconds') WITH (connector = 'generator', rows = 1);
         CREATE TABLE o WITH (connector = 'blackhole');
         INSERT INTO o SELECT k, w.start AS w_start, w.end AS w_end, n, total, mean, low, even, words, first, last
         FROM (SELECT k, {window} AS w, {AGGREGATES} FROM t GROUP BY k, w)
         WHERE n <> 3;"
    );
    let (summary, mut written) = run(&sql, tables.clone(), parallelism);
    assert_eq!(summary.late_rows, 0);
    written.remove("o").unwrap_or_default()
}

/// The same in batch. `windows` yields the rows of `t` with `w_start` and `w_end`.
fn batch(windows: &str, rows: &RecordBatch) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        let sql = format!(
            "WITH windows AS ({windows})
             SELECT k, w_start, w_end, {AGGREGATES} FROM windows
             GROUP BY k, w_start, w_end HAVING count(*) <> 3"
        );
        texts(&context.sql(&sql).await.unwrap().collect().await.unwrap())
    })
}

/// A row in each of its windows `[k * slide, k * slide + size)`, by plain arithmetic.
fn hops(slide: i64, size: i64) -> String {
    let start = |back: i64| {
        format!("date_bin(INTERVAL '{slide} seconds', ts) - INTERVAL '{} seconds'", back * slide)
    };
    let branch = |back: i64| {
        let start = start(back);
        format!(
            "SELECT *, {start} AS w_start, {start} + INTERVAL '{size} seconds' AS w_end FROM t \
             WHERE ts < {start} + INTERVAL '{size} seconds'"
        )
    };
    let branches = (0..=(size - 1) / slide).map(branch).collect::<Vec<_>>();
    branches.join(" UNION ALL ")
}

/// A row in its session: a new one starts where the row before is more than a gap away.
fn sessions(gap: i64) -> String {
    format!(
        "SELECT *, min(ts) OVER (PARTITION BY k, number) AS w_start,
                max(ts) OVER (PARTITION BY k, number) + INTERVAL '{gap} seconds' AS w_end
         FROM (SELECT *, sum(opens) OVER (PARTITION BY k ORDER BY ts, id) AS number
               FROM (SELECT *, CASE WHEN ts - lag(ts) OVER (PARTITION BY k ORDER BY ts, id)
                                      <= INTERVAL '{gap} seconds' THEN 0 ELSE 1 END AS opens FROM t))"
    )
}

fn tables(rows: &RecordBatch, chunk_rows: u64) -> Tables {
    Tables {
        sources: BTreeMap::from([("t".to_owned(), rows.clone())]),
        chunk_rows,
        ..Tables::default()
    }
}

/// Rows of one key, this far apart.
fn spread(rows: i64, distance: i64) -> RecordBatch {
    let row = |n| Row { key: Some(0), ts: n * distance, value: None, word: 0, jitter: 0 };
    table((0..rows).map(row).collect())
}

#[test]
fn all_that_one_watermark_finishes_arrives() {
    let hop = "hop(INTERVAL '1 second', INTERVAL '5000 seconds')";
    assert_eq!(streaming(hop, &tables(&spread(1, 0), 1), 1).len(), 5_000);
    let rows = spread(20_000, SECOND / 1_000);
    let session = "session(INTERVAL '0.0001 seconds')";
    assert_eq!(streaming(session, &tables(&rows, 20_000), 2).len(), 20_000);
}

#[test]
fn a_hop_may_have_as_many_windows_as_a_week_has_minutes() {
    let plan = |slide: i64, size: i64| {
        let name = postrider_core::PipelineName("test".to_owned());
        let sql = format!(
            "CREATE TABLE t (ts TIMESTAMP NOT NULL, WATERMARK FOR ts) WITH (connector = 'generator', rows = 1);
             CREATE TABLE o WITH (connector = 'blackhole');
             INSERT INTO o SELECT count(*) AS n FROM t
             GROUP BY hop(INTERVAL '{slide} seconds', INTERVAL '{size} seconds');"
        );
        postrider_sql::plan_program(&sql, name).map_err(|errors| (errors, sql))
    };
    assert!(plan(60, 7 * 86_400).is_ok());
    for (slide, size, windows, hint) in [
        (60, 7 * 86_400 + 1, 10_081, "for windows of 7 days 1 second, take a slide of 2 minutes"),
        (1, 30 * 86_400, 2_592_000, "for windows of 30 days, take a slide of 5 minutes"),
        (1, 86_400, 86_400, "for windows of 1 day, take a slide of 9 seconds"),
    ] {
        let (errors, sql) = plan(slide, size).unwrap_err();
        let [error] = errors.0.as_slice() else { panic!("{errors}") };
        let message = format!("each row would be in {windows} windows, over the limit of 10080");
        assert_eq!((error.code, error.message.as_str()), ("PR0409", message.as_str()));
        assert_eq!(error.hint.as_deref(), Some(format!("{hint} or more").as_str()));
        let span = error.span.as_ref().unwrap().range.clone();
        assert!(sql[span.clone()].starts_with("hop(INTERVAL") && sql[span].ends_with(')'));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn tumbling_windows_are_what_batch_says(
        rows in rows(), size in 1..20_i64, chunk in 1..9_u64, shards in 1..4_usize,
    ) {
        let rows = table(rows);
        let window = format!("tumble(INTERVAL '{size} seconds')");
        let streamed = streaming(&window, &tables(&rows, chunk), shards);
        prop_assert_eq!(streamed, batch(&hops(size, size), &rows));
    }

    #[test]
    fn hopping_windows_are_what_batch_says(
        rows in rows(), slide in 1..9_i64, more in 0..20_i64, chunk in 1..9_u64, shards in 1..4_usize,
    ) {
        let (rows, size) = (table(rows), slide + more);
        let window = format!("hop(INTERVAL '{slide} seconds', INTERVAL '{size} seconds')");
        let streamed = streaming(&window, &tables(&rows, chunk), shards);
        prop_assert_eq!(streamed, batch(&hops(slide, size), &rows));
    }

    #[test]
    fn sessions_are_what_batch_says(
        rows in rows(), gap in 1..12_i64, chunk in 1..9_u64, shards in 1..4_usize,
    ) {
        let rows = table(rows);
        let window = format!("session(INTERVAL '{gap} seconds')");
        let streamed = streaming(&window, &tables(&rows, chunk), shards);
        prop_assert_eq!(streamed, batch(&sessions(gap), &rows));
    }
}
