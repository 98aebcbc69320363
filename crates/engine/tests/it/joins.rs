//! Joins within a time against plain DataFusion in batch over the same rows, as multisets.
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
        // Whole seconds make rows exactly at a bound likely.
        prop_oneof![(0..60_i64).prop_map(|s| s * SECOND), 0..60 * SECOND, -20 * SECOND..0],
        prop::option::weighted(0.9, -5..5_i64),
        0..DELAY,
    );
    let row = row.prop_map(|(key, ts, value, jitter)| Row { key, ts, value, jitter });
    prop::collection::vec(row, 0..60)
}

/// The rows in an order of arrival that keeps every row in front of the watermark.
fn table(mut rows: Vec<Row>) -> RecordBatch {
    rows.sort_by_key(|row| row.ts + row.jitter);
    let keys = rows.iter().map(|row| row.key.map(|k| format!("k{k}")));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("k", Arc::new(keys.collect::<StringArray>()), true),
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.ts))),
            false,
        ),
        ("v", Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()), true),
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[derive(Debug, Clone)]
struct Case {
    tables: Tables,
    shards: usize,
    /// Seconds from which to which the right row may be behind the left one.
    from: i64,
    to: i64,
}

fn cases() -> impl Strategy<Value = Case> {
    (rows(), rows(), 1..9_u64, 1..5_usize, -12..12_i64, 0..12_i64).prop_map(
        |(left, right, chunk_rows, shards, from, more)| {
            let sources = [("l".to_owned(), table(left)), ("r".to_owned(), table(right))];
            let tables =
                Tables { sources: BTreeMap::from(sources), chunk_rows, ..Tables::default() };
            Case { tables, shards, from, to: from + more }
        },
    )
}

fn declared(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (k TEXT, ts TIMESTAMP NOT NULL, v BIGINT, id BIGINT NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '8 seconds') WITH (connector = 'generator', rows = 1);"
    )
}

fn streamed(query: &str, case: &Case) -> Vec<String> {
    let (left, right) = (declared("l"), declared("r"));
    let sql = format!(
        "{left} {right} CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};"
    );
    let (summary, mut written) = run(&sql, case.tables.clone(), case.shards);
    assert_eq!(summary.late_rows, 0);
    written.remove("o").unwrap_or_default()
}

fn batch(query: &str, case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, rows) in &case.tables.sources {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
            context.register_table(name.as_str(), Arc::new(table)).unwrap();
        }
        texts(&context.sql(query).await.unwrap().collect().await.unwrap())
    })
}

fn check(query: &str, case: &Case) -> Result<(), TestCaseError> {
    prop_assert_eq!(streamed(query, case), batch(query, case), "{}", query);
    Ok(())
}

/// How a distance in seconds is written.
fn seconds(from: i64) -> String {
    format!("INTERVAL '{from} seconds'")
}

fn within(case: &Case) -> String {
    let (from, to) = (seconds(case.from), seconds(case.to));
    format!("r.ts BETWEEN l.ts + {from} AND l.ts + {to}")
}

const COLUMNS: &str = "l.k AS lk, l.ts AS lts, l.v AS lv, l.id AS lid, r.k AS rk, r.ts AS rts, r.v AS rv, r.id AS rid";

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn joins_are_what_batch_says(case in cases(), kind in 0..4_usize, filtered in any::<bool>()) {
        let kind = ["INNER", "LEFT", "RIGHT", "FULL"][kind];
        let filter = if filtered { "AND l.v + r.v > 0" } else { "" };
        let query = format!("SELECT {COLUMNS} FROM l {kind} JOIN r ON l.k = r.k AND {} {filter}", within(&case));
        check(&query, &case)?;
    }

    #[test]
    fn strict_bounds_are_what_batch_says(case in cases()) {
        let (from, to) = (seconds(case.from), seconds(case.to));
        let query = format!(
            "SELECT {COLUMNS} FROM l LEFT JOIN r ON l.k = r.k AND l.ts + {from} < r.ts AND r.ts - {to} <= l.ts"
        );
        if case.from < case.to {
            check(&query, &case)?;
        }
    }

    #[test]
    fn presence_and_absence_are_what_batch_says(case in cases(), absent in any::<bool>(), filtered in any::<bool>()) {
        let not = if absent { "NOT" } else { "" };
        let filter = if filtered { "AND l.v <> r.v" } else { "" };
        let query = format!(
            "SELECT k, ts, v, id FROM l WHERE {not} EXISTS (SELECT 1 FROM r WHERE l.k = r.k AND {} {filter}) AND id % 7 <> 3",
            within(&case)
        );
        check(&query, &case)?;
    }

    #[test]
    fn a_padded_join_is_absence(case in cases()) {
        let query = format!("SELECT l.k, l.ts, l.id FROM l LEFT JOIN r ON l.k = r.k AND {} WHERE r.id IS NULL", within(&case));
        check(&query, &case)?;
    }

    #[test]
    fn a_stream_joins_itself_and_others(case in cases()) {
        let query = format!(
            "SELECT l.k, l.id, r.id AS rid, b.id AS bid FROM l JOIN r ON l.k = r.k AND {}
             JOIN l AS b ON b.k = l.k AND b.ts = r.ts",
            within(&case)
        );
        if case.from >= 0 {
            check(&query, &case)?;
        }
    }
}

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn joins_of_equal_windows_are_what_batch_says(case in cases(), kind in 0..4_usize, size in 1..15_i64) {
        let kind = ["INNER", "LEFT", "RIGHT", "FULL"][kind];
        let joined = |window: &str| {
            let side = |table: &str| format!(
                "(SELECT k, {window} AS w, count(*) AS n, sum(v) AS total FROM {table} GROUP BY k, w)"
            );
            format!(
                "SELECT a.k AS ak, a.n AS an, a.total AS at, b.k AS bk, b.n AS bn, b.total AS bt
                 FROM {} a {kind} JOIN {} b ON a.k = b.k AND a.w = b.w",
                side("l"), side("r")
            )
        };
        let streamed = streamed(&joined(&format!("tumble(INTERVAL '{size} seconds')")), &case);
        let expected = batch(&joined(&format!("date_bin(INTERVAL '{size} seconds', ts)")), &case);
        prop_assert_eq!(streamed, expected);
    }
}
