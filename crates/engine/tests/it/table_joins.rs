//! Joins with tables that are looked up against plain DataFusion in batch over the same rows, as multisets.
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
    part: i64,
    ts: i64,
    value: Option<i64>,
    jitter: i64,
}

fn rows(has_keys: bool) -> impl Strategy<Value = Vec<Row>> {
    let key = prop_oneof![9 => (0..3_u8).prop_map(Some), 1 => Just(has_keys.then_some(0))];
    let row = (
        key,
        0..2_i64,
        // Whole seconds make versions of one time, and at the time of who asks, likely.
        prop_oneof![(0..30_i64).prop_map(|s| s * SECOND), 0..30 * SECOND, -20 * SECOND..0],
        prop::option::weighted(0.9, -5..5_i64),
        0..DELAY,
    );
    let row = row.prop_map(|(key, part, ts, value, jitter)| Row { key, part, ts, value, jitter });
    prop::collection::vec(row, 0..60)
}

/// The rows in an order of arrival that keeps every row in front of the watermark; `id` counts them.
fn table(mut rows: Vec<Row>, has_keys: bool) -> RecordBatch {
    rows.sort_by_key(|row| row.ts + row.jitter);
    let keys = rows.iter().map(|row| row.key.map(|k| format!("k{k}")));
    let times = rows.iter().map(|row| row.ts);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("k", Arc::new(keys.collect::<StringArray>()), !has_keys),
        ("p", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.part))), false),
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(times)), false),
        ("v", Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()), true),
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[derive(Debug, Clone)]
struct Case {
    tables: Tables,
    shards: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (rows(false), rows(true), 1..9_u64, 1..5_usize).prop_map(|(left, right, chunk_rows, shards)| {
        let sources = [("l".to_owned(), table(left, false)), ("r".to_owned(), table(right, true))];
        let tables = Tables { sources: BTreeMap::from(sources), chunk_rows, ..Tables::default() };
        Case { tables, shards }
    })
}

/// Rows that look up the versions of `r`, whose key has these columns.
fn streamed(query: &str, key: &str, case: &Case) -> Vec<String> {
    let sql = format!(
        "CREATE TABLE l (k TEXT, p BIGINT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT, id BIGINT NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '8 seconds') WITH (connector = 'generator', rows = 1);
         CREATE TABLE r (k TEXT NOT NULL, p BIGINT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT, id BIGINT NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '8 seconds', PRIMARY KEY ({key})) WITH (connector = 'generator', rows = 1);
         CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};"
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

/// Of all rows of the table that are not behind a left row, the last that arrived of the newest: in batch SQL.
fn newest(on: &str) -> String {
    format!(
        "(SELECT * FROM (
            SELECT l.id AS lid, l.v AS lv, l.ts AS lts, r.id AS rid, r.v AS rv, r.ts AS rts,
                   row_number() OVER (PARTITION BY l.id ORDER BY r.ts DESC NULLS LAST, r.id DESC NULLS LAST) AS n
            FROM l LEFT JOIN r ON {on} AND r.ts <= l.ts
         ) WHERE n = 1)"
    )
}

/// Rows that look up `r` as it is once it was read.
fn looked_up(query: &str, case: &Case) -> Vec<String> {
    let sql = format!(
        "CREATE TABLE l (k TEXT, p BIGINT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT, id BIGINT NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '8 seconds') WITH (connector = 'generator', rows = 1);
         CREATE TABLE r (k TEXT PRIMARY KEY, p BIGINT NOT NULL, v BIGINT, id BIGINT NOT NULL)
           WITH (connector = 'single_file', path = 'r.ndjson');
         CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};"
    );
    let (summary, mut written) = run(&sql, case.tables.clone(), case.shards);
    assert_eq!(summary.late_rows, 0);
    written.remove("o").unwrap_or_default()
}

const PAIR: &str = "l.id AS lid, l.v AS lv, l.ts AS lts, r.id AS rid, r.v AS rv, r.ts AS rts";

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn a_row_meets_the_newest_version_at_its_time(case in cases(), inner in any::<bool>(), both in any::<bool>()) {
        let (key, on) = if both { ("k, p", "l.k = r.k AND l.p = r.p") } else { ("k", "l.k = r.k") };
        let kind = if inner { "JOIN" } else { "LEFT JOIN" };
        let query = format!("SELECT {PAIR} FROM l {kind} r FOR SYSTEM_TIME AS OF l.ts AS r ON {on}");
        let hit = if inner { "WHERE rid IS NOT NULL" } else { "" };
        let expected = format!("SELECT lid, lv, lts, rid, rv, rts FROM {} {hit}", newest(on));
        prop_assert_eq!(streamed(&query, key, &case), batch(&expected, &case));
    }

    #[test]
    fn conditions_are_looked_at_behind_the_version(case in cases(), inner in any::<bool>()) {
        let kind = if inner { "JOIN" } else { "LEFT JOIN" };
        let query = format!(
            "SELECT l.id AS lid, r.id AS rid FROM l {kind} r FOR SYSTEM_TIME AS OF l.ts AS r
             ON l.k = r.k AND l.v + r.v > 0 AND l.v < 4 WHERE l.id % 5 <> 3"
        );
        let hit = if inner { "AND rid IS NOT NULL AND lv + rv > 0 AND lv < 4" } else { "" };
        let expected = format!(
            "SELECT lid, CASE WHEN lv + rv > 0 AND lv < 4 THEN rid END AS rid FROM {} WHERE lid % 5 <> 3 {hit}",
            newest("l.k = r.k")
        );
        prop_assert_eq!(streamed(&query, "k", &case), batch(&expected, &case));
    }

    #[test]
    fn a_row_meets_the_last_row_of_a_whole_table(case in cases(), inner in any::<bool>(), filtered in any::<bool>()) {
        let kind = if inner { "JOIN" } else { "LEFT JOIN" };
        let filter = if filtered { "AND l.v + r.v > 0" } else { "" };
        let joined = |table: &str| format!(
            "SELECT l.id AS lid, l.ts AS lts, r.id AS rid, r.v AS rv FROM l {kind} {table} r ON l.k = r.k {filter}
             WHERE l.id % 5 <> 3"
        );
        let last = "(SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS n FROM r) WHERE n = 1)";
        prop_assert_eq!(looked_up(&joined("r AS"), &case), batch(&joined(last), &case));
    }

    #[test]
    fn rows_keep_their_time_behind_a_whole_table(case in cases(), size in 1..15_i64) {
        let counted = |table: &str, window: &str| format!(
            "SELECT p, count(*) AS n, sum(rv) AS total
             FROM (SELECT l.p, l.ts, r.v AS rv FROM l LEFT JOIN {table} r ON l.k = r.k) GROUP BY p, {window}"
        );
        let last = "(SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS n FROM r) WHERE n = 1)";
        let streamed = looked_up(&counted("r AS", &format!("tumble(INTERVAL '{size} seconds')")), &case);
        let expected = batch(&counted(last, &format!("date_bin(INTERVAL '{size} seconds', ts)")), &case);
        prop_assert_eq!(streamed, expected);
    }

    #[test]
    fn rows_keep_their_time(case in cases(), size in 1..15_i64) {
        let streamed = streamed(&format!(
            "SELECT k, count(*) AS n, sum(rv) AS total
             FROM (SELECT l.k, r.v AS rv FROM l JOIN r FOR SYSTEM_TIME AS OF l.ts AS r ON l.k = r.k)
             GROUP BY k, tumble(INTERVAL '{size} seconds')"
        ), "k", &case);
        let expected = batch(&format!(
            "SELECT k, count(*) AS n, sum(rv) AS total FROM {} JOIN l ON l.id = lid WHERE rid IS NOT NULL
             GROUP BY k, date_bin(INTERVAL '{size} seconds', lts)",
            newest("l.k = r.k")
        ), &case);
        prop_assert_eq!(streamed, expected);
    }
}
