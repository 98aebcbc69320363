//! Joins without a bound of time against plain DataFusion in batch over the same rows: what is left of the changes is what batch says,
//! through deaths and on another number of shards.
//!
//! `POSTRIDER_CASES` sets how many cases each property runs.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use proptest::{prelude::*, sample::select};

use crate::{
    changes::collapsed,
    harness::{Tables, Written, cases_of, texts},
    state::State,
};

#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    value: Option<i64>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (prop::option::weighted(0.9, 0..4_u8), prop::option::weighted(0.8, -3..5_i64));
    prop::collection::vec(row.prop_map(|(key, value)| Row { key, value }), 0..50)
}

/// `k`, `v`, `s` and `ts`.
fn table(rows: &[Row]) -> RecordBatch {
    let keys = rows.iter().map(|row| row.key.map(|key| format!("k{key}")));
    let texts = rows.iter().map(|row| row.value.map(|v| format!("s{}", v.rem_euclid(3))));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("k", Arc::new(keys.collect::<StringArray>()), true),
        ("v", Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()), true),
        ("s", Arc::new(texts.collect::<StringArray>()), true),
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(0..rows.len() as i64)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Rows `k`, `v`, `s` of a table: as they came, or changing, also with equal ones.
pub(crate) fn side(table: &'static str) -> impl Strategy<Value = String> {
    const SIDES: [&str; 8] = [
        "SELECT k, v, s FROM {t}",
        "SELECT k, v, s FROM {t} WHERE v > 0",
        "SELECT DISTINCT k, v, s FROM {t}",
        "SELECT k, count(*) AS v, max(s) AS s FROM {t} GROUP BY k",
        "SELECT max(k) AS k, sum(v) AS v, s FROM {t} GROUP BY s",
        "SELECT k, n % 2 AS v, s FROM (SELECT k, v, count(*) AS n, max(s) AS s FROM {t} GROUP BY k, v)",
        "SELECT k, v, s FROM {t} UNION ALL SELECT min(k), v, s FROM {t} GROUP BY v, s",
        "SELECT k, v, s FROM (SELECT k, max(v) AS v, min(s) AS s FROM {t} GROUP BY k) WHERE v > 1",
    ];
    select(&SIDES[..]).prop_map(move |side| side.replace("{t}", table))
}

const ON: [&str; 4] =
    ["a.k = b.k", "a.k = b.k AND a.v = b.v", "a.v = b.v", "a.k = b.k AND a.s = b.s"];
const ALSO: [&str; 4] = ["", "", "AND a.v + b.v > 1", "AND (a.s <> b.s OR a.v IS NULL)"];

fn condition() -> impl Strategy<Value = String> {
    (select(&ON[..]), select(&ALSO[..])).prop_map(|(on, also)| format!("{on} {also}"))
}

/// The columns `ak`, `av`, `x`, `bk`, `bv`, `y`.
fn joins() -> impl Strategy<Value = String> {
    let kinds = select(&["INNER", "LEFT", "RIGHT", "FULL"][..]);
    (side("l"), kinds, side("r"), condition()).prop_map(|(left, kind, right, on)| {
        format!(
            "SELECT a.k AS ak, a.v AS av, a.s AS x, b.k AS bk, b.v AS bv, b.s AS y
             FROM ({left}) a {kind} JOIN ({right}) b ON {on}"
        )
    })
}

fn queries() -> impl Strategy<Value = String> {
    let filtered = (side("l"), side("r"), condition(), select(&["", "NOT"][..])).prop_map(
        |(left, right, on, not)| {
            format!("SELECT a.k, a.v, a.s FROM ({left}) a WHERE {not} EXISTS (SELECT 1 FROM ({right}) b WHERE {on})")
        },
    );
    let within = (side("l"), side("r")).prop_map(|(left, right)| {
        format!("SELECT a.k, a.v, a.s FROM ({left}) a WHERE a.k IN (SELECT b.k FROM ({right}) b)")
    });
    let set = (side("l"), side("r"), select(&["INTERSECT", "EXCEPT"][..])).prop_map(
        |(left, right, of)| {
            format!(
                "SELECT a.k, a.v, a.s FROM ({left}) a {of} SELECT b.k, b.v, b.s FROM ({right}) b"
            )
        },
    );
    let itself = (side("l"), condition()).prop_map(|(rows, on)| {
        format!("SELECT a.k, a.v, b.s FROM ({rows}) a LEFT JOIN ({rows}) b ON {on}")
    });
    let counted = (joins(), select(&["ak", "bk", "y"][..])).prop_map(|(join, key)| {
        format!(
            "SELECT {key}, count(*) AS n, sum(av) AS a, max(bv) AS b FROM ({join}) GROUP BY {key}"
        )
    });
    let chained = (joins(), side("r"), select(&["INNER", "LEFT", "FULL"][..])).prop_map(
        |(join, right, kind)| {
            format!("SELECT j.ak, j.bv, c.k, c.v FROM ({join}) j {kind} JOIN ({right}) c ON j.ak = c.k AND j.av = c.v")
        },
    );
    prop_oneof![4 => joins(), 3 => filtered, 1 => within, 1 => set, 1 => itself, 2 => counted, 1 => chained]
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    left: Vec<Row>,
    right: Vec<Row>,
    chunk_rows: u64,
    /// For each life how many shards it has, and behind which epoch it ends.
    lives: Vec<(usize, u64)>,
    /// Whether a life goes on from a checkpoint, or replays the log.
    checkpoints: bool,
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let lives = prop::collection::vec((1..5_usize, 1..5_u64), 0..3);
    (rows(), rows(), 1..4_u64, lives, any::<bool>()).prop_map(
        |(left, right, chunk_rows, lives, checkpoints)| Case {
            left,
            right,
            chunk_rows,
            lives,
            checkpoints,
        },
    )
}

impl Case {
    /// The same without deaths.
    pub(crate) fn in_one_life(self) -> Self {
        Self { lives: Vec::new(), ..self }
    }

    fn tables(&self) -> BTreeMap<String, RecordBatch> {
        BTreeMap::from([("l".to_owned(), table(&self.left)), ("r".to_owned(), table(&self.right))])
    }
}

/// What a pipeline wrote, all its lives together.
pub(crate) fn streamed(query: &str, case: &Case) -> Vec<RecordBatch> {
    let declared = |name: &str| {
        format!(
            "CREATE TABLE {name} (k TEXT, v BIGINT, s TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
               WITH (connector = 'generator', rows = 1);"
        )
    };
    let sql = format!(
        "{} {} CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};",
        declared("l"),
        declared("r")
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
    let tables =
        Tables { sources: case.tables(), chunk_rows: case.chunk_rows, ..Tables::default() };
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

pub(crate) fn batch(query: &str, case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, rows) in case.tables() {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            context.register_table(name.as_str(), Arc::new(table)).unwrap();
        }
        texts(&context.sql(query).await.unwrap().collect().await.unwrap())
    })
}

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn what_is_left_of_joins_is_what_batch_says(query in queries(), case in cases()) {
        let changes = streamed(&query, &case);
        prop_assert_eq!(collapsed(&changes), batch(&query, &case), "{}", query);
        // The changes are a function of the log: lives and shards don't show in them.
        let whole = streamed(&query, &case.in_one_life());
        prop_assert_eq!(texts(&changes), texts(&whole), "{}", query);
    }
}
