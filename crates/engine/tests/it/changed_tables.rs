//! Tables that are read as changes against plain DataFusion in batch over what the tables are in the end: what is left of the changes of a
//! query is what batch says, through deaths and on another number of shards.
//!
//! `POSTRIDER_CASES` sets how many cases each property runs.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray};
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use postrider_core::changes::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};
use proptest::{prelude::*, sample::select};

use crate::{
    changes::collapsed,
    harness::{Tables, Written, cases_of, texts},
    state::State,
};

/// What a row of a key becomes; `None`: it is gone.
type Write = (u8, Option<(Option<i64>, u8)>);

#[derive(Debug, Clone, PartialEq)]
struct Row {
    key: u8,
    value: Option<i64>,
    group: u8,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let row = (prop::option::weighted(0.8, -3..4_i64), 0..3_u8);
    prop::collection::vec((0..6_u8, prop::option::weighted(0.7, row)), 0..80)
}

/// The changes with their kinds, and what is left.
fn applied(writes: &[Write]) -> (Vec<(Row, i8)>, Vec<Row>) {
    let mut table: BTreeMap<u8, Row> = BTreeMap::new();
    let mut changes = Vec::new();
    for (key, write) in writes {
        let after = write.map(|(value, group)| Row { key: *key, value, group });
        let before = match &after {
            Some(after) => table.insert(*key, after.clone()),
            None => table.remove(key),
        };
        match (before, after) {
            (Some(before), Some(after)) => {
                changes.extend([(before, UPDATE_BEFORE), (after, UPDATE_AFTER)]);
            }
            (None, Some(after)) => changes.push((after, INSERT)),
            (Some(before), None) => changes.push((before, DELETE)),
            (None, None) => {}
        }
    }
    (changes, table.into_values().collect())
}

fn columns<'r>(rows: impl Iterator<Item = &'r Row> + Clone) -> Vec<(&'static str, ArrayRef, bool)> {
    let keys = rows.clone().map(|row| Some(format!("k{}", row.key)));
    let groups = rows.clone().map(|row| Some(format!("g{}", row.group)));
    vec![
        ("k", Arc::new(keys.collect::<StringArray>()), false),
        ("v", Arc::new(rows.map(|row| row.value).collect::<Int64Array>()), true),
        ("s", Arc::new(groups.collect::<StringArray>()), false),
    ]
}

fn changes(changes: &[(Row, i8)]) -> RecordBatch {
    let mut columns = columns(changes.iter().map(|(row, _)| row));
    let kinds = changes.iter().map(|(_, kind)| *kind);
    columns.push(("op", Arc::new(Int8Array::from_iter_values(kinds)), false));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

const QUERIES: [&str; 9] = [
    "SELECT k, v, s FROM t WHERE v > 0 OR s = 'g1'",
    "SELECT s, count(*) AS n, sum(v) AS w, max(v) AS m, avg(v) AS a, count(DISTINCT v) AS d FROM t GROUP BY s",
    "SELECT n, count(*) AS c, sum(w) AS w FROM (SELECT s, count(*) AS n, sum(v) AS w FROM t GROUP BY s) GROUP BY n",
    "SELECT DISTINCT s, v % 2 AS odd FROM t",
    "SELECT count(*) AS n, min(v) AS m FROM t HAVING count(*) > 0",
    "SELECT unnest([k, s]) AS x, v FROM t",
    "SELECT x, count(*) AS n FROM (SELECT unnest([k, s, 'all']) AS x FROM t WHERE v IS NOT NULL) GROUP BY x",
    "SELECT k AS x, v FROM t WHERE v <> 1 UNION ALL SELECT s, count(*) FROM t GROUP BY s",
    "SELECT count(*) FILTER (WHERE v > 1) AS n, array_sort(array_agg(k)) AS ks, s FROM t GROUP BY s",
];

#[derive(Debug, Clone)]
struct Case {
    writes: Vec<Write>,
    chunk_rows: u64,
    /// For each life how many shards it has, and behind which epoch it ends.
    lives: Vec<(usize, u64)>,
    /// Whether a life goes on from a checkpoint, or replays the log.
    checkpoints: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let lives = prop::collection::vec((1..4_usize, 1..4_u64), 0..3);
    (writes(), 1..6_u64, lives, any::<bool>()).prop_map(
        |(writes, chunk_rows, lives, checkpoints)| Case { writes, chunk_rows, lives, checkpoints },
    )
}

fn streamed(query: &str, case: &Case) -> Vec<RecordBatch> {
    let sql = format!(
        "CREATE TABLE t (k TEXT PRIMARY KEY, v BIGINT, s TEXT NOT NULL, twice BIGINT GENERATED ALWAYS AS (2 * v))
           WITH (connector = 'single_file', path = 't', format = 'debezium_json');
         CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};"
    );
    let dir = tempfile::tempdir().unwrap();
    let every_ns = if case.checkpoints { 0 } else { i64::MAX };
    let state = State {
        dir: dir.path(),
        sql: &sql,
        every_ns,
        accept_gap: false,
        refire: false,
        restore: None,
    };
    let sources = BTreeMap::from([("t".to_owned(), changes(&applied(&case.writes).0))]);
    let tables = Tables { sources, chunk_rows: case.chunk_rows, ..Tables::default() };
    let written = Written::default();
    for (shards, die_at) in case.lives.iter().copied().chain([(2, 0)]) {
        let (ended, _) = state.run_into(tables.clone(), shards, die_at, &written);
        if let Some(ended) = ended {
            ended.unwrap();
        }
    }
    let mut written = written.lock().unwrap();
    written.remove("o").unwrap_or_default()
}

fn batch(query: &str, case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let rows = applied(&case.writes).1;
        let rows = RecordBatch::try_from_iter_with_nullable(columns(rows.iter())).unwrap();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        texts(&context.sql(query).await.unwrap().collect().await.unwrap())
    })
}

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn what_is_left_of_a_changed_table_is_what_batch_says(query in select(&QUERIES[..]), case in cases()) {
        let found = streamed(query, &case);
        prop_assert_eq!(collapsed(&found), batch(query, &case), "{}", query);
        // The changes are a function of the log: lives and shards don't show in them.
        let once = Case { lives: Vec::new(), ..case.clone() };
        prop_assert_eq!(texts(&found), texts(&streamed(query, &once)), "{}", query);
        let generated = streamed("SELECT k, twice FROM t", &case);
        prop_assert_eq!(collapsed(&generated), batch("SELECT k, 2 * v AS twice FROM t", &case));
    }
}
