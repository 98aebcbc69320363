//! Changelogs against plain DataFusion in batch over the same rows: what is left of the changes is what batch says, through
//! deaths and on another number of shards.
//!
//! `POSTRIDER_CASES` sets how many cases each property runs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampNanosecondArray,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use proptest::{prelude::*, sample::select};

use crate::{
    harness::{Tables, Written, cases_of, texts},
    state::State,
};

#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    value: Option<i64>,
    quarters: i64,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row =
        (prop::option::weighted(0.9, 0..5_u8), prop::option::weighted(0.8, -4..6_i64), -9..9_i64);
    let row = row.prop_map(|(key, value, quarters)| Row { key, value, quarters });
    prop::collection::vec(row, 0..120)
}

/// `k`, `v`, `x` (whose sums are exact in any order), `s` and `ts`.
fn table(rows: &[Row]) -> RecordBatch {
    let of = |row: &Row| row.key.map(|key| format!("k{key}"));
    let texts = rows.iter().map(|row| row.value.map(|v| format!("s{}", v.rem_euclid(4))));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("k", Arc::new(rows.iter().map(of).collect::<StringArray>()), true),
        ("v", Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()), true),
        (
            "x",
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|row| row.quarters as f64 / 4.0),
            )),
            false,
        ),
        ("s", Arc::new(texts.collect::<StringArray>()), true),
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(0..rows.len() as i64)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Aggregates of whole numbers `{i}`, fractions `{f}` and texts `{t}`.
const AGGREGATES: [&str; 18] = [
    "count(*)",
    "count({i})",
    "sum({i})",
    "avg({i})",
    "min({i})",
    "max({f})",
    "max({t})",
    "sum({f})",
    "avg({f})",
    "count(DISTINCT {i})",
    "sum(DISTINCT {i})",
    "count(*) FILTER (WHERE {i} > 1)",
    "sum({i}) FILTER (WHERE {t} <> 's1')",
    "array_sort(array_agg({i}))",
    "bool_or({i} > 3)",
    "median({i})",
    "bit_xor({i})",
    "first_value({t} ORDER BY {i} DESC, {t})",
];

fn aggregates(names: [&'static str; 3]) -> impl Strategy<Value = String> {
    let [i, f, t] = names;
    prop::collection::vec(select(&AGGREGATES[..]), 1..4).prop_map(move |chosen| {
        let named = chosen.iter().enumerate().map(|(at, aggregate)| {
            let filled = aggregate.replace("{i}", i).replace("{f}", f).replace("{t}", t);
            format!("{filled} AS a{at}")
        });
        named.collect::<Vec<_>>().join(", ")
    })
}

const WHERE: [&str; 4] = ["", "WHERE v > 0", "WHERE k <> 'k1'", "WHERE x < 1.5 AND v IS NOT NULL"];

/// The columns `g`, `n`, `w`, `z`, `m`: results that further aggregates are computed of.
fn totals() -> impl Strategy<Value = String> {
    const HAVING: [&str; 3] = ["", "HAVING count(*) > 2", "HAVING sum(v) BETWEEN 2 AND 9"];
    const KEYS: [&str; 4] = ["k", "s", "v % 3", "coalesce(k, s)"];
    (select(&KEYS[..]), select(&WHERE[..]), select(&HAVING[..])).prop_map(
        |(key, filter, having)| {
            format!(
            "SELECT CAST({key} AS TEXT) AS g, count(*) AS n, sum(v) AS w, sum(x) AS z, max(s) AS m
             FROM t {filter} GROUP BY {key} {having}"
        )
        },
    )
}

fn several_totals() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => totals(),
        1 => (totals(), totals()).prop_map(|(a, b)| format!("({a}) UNION ALL ({b})")),
        1 => (totals(), totals()).prop_map(|(a, b)| format!("({a}) UNION ({b})")),
        1 => totals().prop_map(|a| {
            format!("({a}) UNION ALL (SELECT k AS g, v AS n, v AS w, x AS z, s AS m FROM t)")
        }),
    ]
}

fn queries() -> impl Strategy<Value = String> {
    let grouped = (
        select(&["k", "s", "v", "k, s", "x > 0"][..]),
        select(&WHERE[..]),
        aggregates(["v", "x", "s"]),
    );
    let grouped = grouped
        .prop_map(|(key, filter, of)| format!("SELECT {key}, {of} FROM t {filter} GROUP BY {key}"));
    let global = (select(&WHERE[..]), aggregates(["v", "x", "s"])).prop_map(|(filter, of)| {
        // A stream has no row of an aggregate over nothing.
        format!("SELECT {of} FROM t {filter} HAVING count(*) > 0")
    });
    let twice = (
        several_totals(),
        select(&["n", "m", "n % 2, m"][..]),
        aggregates(["w", "z", "m"]),
        select(&["", "WHERE n > 1", "WHERE w < 4"][..]),
    );
    let twice = twice.prop_map(|(input, key, of, filter)| {
        format!("SELECT {key}, {of} FROM ({input}) {filter} GROUP BY {key}")
    });
    let over_all = (several_totals(), aggregates(["n", "z", "m"]))
        .prop_map(|(input, of)| format!("SELECT {of} FROM ({input}) HAVING count(*) > 0"));
    let thrice = (several_totals(), aggregates(["c", "d", "e"])).prop_map(|(input, of)| {
        format!(
            "SELECT c, {of} FROM (SELECT n, count(*) AS c, sum(z) AS d, max(m) AS e FROM ({input}) GROUP BY n) GROUP BY c"
        )
    });
    let distinct = (several_totals(), select(&["n, m", "g", "w + 1 AS u", "z, n"][..]))
        .prop_map(|(input, columns)| format!("SELECT DISTINCT {columns} FROM ({input})"));
    let projected = (
        several_totals(),
        select(&["n + 1 AS a, m", "w, z * 2 AS b"][..]),
        select(&["", "WHERE n % 2 = 0", "WHERE w > 1 OR m = 's2'"][..]),
    )
        .prop_map(|(input, columns, filter)| format!("SELECT {columns} FROM ({input}) {filter}"));
    prop_oneof![2 => grouped, 1 => global, 3 => twice, 1 => over_all, 2 => thrice, 2 => distinct, 2 => projected]
}

#[derive(Debug, Clone)]
struct Case {
    rows: Vec<Row>,
    chunk_rows: u64,
    /// For each life how many shards it has, and behind which epoch it ends.
    lives: Vec<(usize, u64)>,
    /// Whether a life goes on from a checkpoint, or replays the log.
    checkpoints: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let lives = prop::collection::vec((1..5_usize, 1..5_u64), 0..3);
    (rows(), 1..4_u64, lives, any::<bool>()).prop_map(|(rows, chunk_rows, lives, checkpoints)| {
        Case { rows, chunk_rows, lives, checkpoints }
    })
}

/// What a pipeline wrote, all its lives together.
fn streamed(query: &str, case: &Case) -> Vec<RecordBatch> {
    let sql = format!(
        "CREATE TABLE t (k TEXT, v BIGINT, x DOUBLE NOT NULL, s TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
           WITH (connector = 'generator', rows = 1);
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
    let sources = BTreeMap::from([("t".to_owned(), table(&case.rows))]);
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

/// What is left of changes, as sorted texts. Nothing is taken back that is not there, and halves of updates stand together.
pub(crate) fn collapsed(batches: &[RecordBatch]) -> Vec<String> {
    let mut left: HashMap<String, i64> = HashMap::new();
    for batch in batches {
        let Some((0, _)) = batch.schema().column_with_name("op") else {
            // Rows that stay.
            texts(std::slice::from_ref(batch))
                .into_iter()
                .for_each(|row| *left.entry(row).or_default() += 1);
            continue;
        };
        let kinds = batch.column(0).as_string::<i32>();
        let options = FormatOptions::default().with_null("NULL");
        let columns: Vec<_> = batch.columns()[1..]
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            let count = left.entry(cells.join(" | ")).or_default();
            match kinds.value(row) {
                "+I" => *count += 1,
                "+U" => {
                    assert_eq!(kinds.value(row - 1), "-U");
                    *count += 1;
                }
                "-U" => {
                    assert_eq!(kinds.value(row + 1), "+U");
                    *count -= 1;
                }
                "-D" => *count -= 1,
                other => panic!("{other}"),
            }
            assert!(*count >= 0, "{cells:?} is taken back and was not there");
        }
    }
    let mut rows: Vec<_> = left
        .into_iter()
        .flat_map(|(row, count)| std::iter::repeat_n(row, count as usize))
        .collect();
    rows.sort();
    rows
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

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn what_is_left_of_changes_is_what_batch_says(query in queries(), case in cases()) {
        let changes = streamed(&query, &case);
        prop_assert_eq!(collapsed(&changes), batch(&query, &case), "{}", query);
        // The changes are a function of the log: lives and shards don't show in them.
        let once = Case { lives: Vec::new(), ..case };
        let whole = streamed(&query, &once);
        prop_assert_eq!(texts(&changes), texts(&whole), "{}", query);
    }
}
