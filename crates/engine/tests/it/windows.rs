//! Windows against plain DataFusion in batch over the same rows, as multisets: with NULLs and equal rows, at the ends of time and where
//! clocks are changed, in any order within the delay, cut into batches anyhow, on any number of shards, and with a death in between.
//!
//! `POSTRIDER_WINDOW_CASES` says how many cases each kind of window gets.

mod combined;
mod oracle;
mod revised;

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use proptest::prelude::*;

use crate::{
    harness::{Tables, run},
    state::State,
};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
/// How far rows may arrive out of order, and by how much the watermark lags.
const DELAY: i64 = 8 * SECOND;
/// Seconds at which there are rows: 1970, the ends of what an event time can be, and where clocks are changed.
const PLACES: [i64; 3] = [0, -9_214_559_940, 9_214_646_300];
/// 2026-03-29 01:00 and 2026-10-25 01:00 UTC, when the clocks of Berlin are put forward and back, and 2018-02-18, when those of Brazil
/// were put back at midnight.
const CHANGES: [i64; 3] = [1_774_746_000, 1_792_890_000, 1_518_920_000];
const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "UTC",
];

#[derive(Debug, Clone)]
struct Row {
    key: Option<u8>,
    ts: i64,
    value: Option<i64>,
    word: u8,
    jitter: i64,
    zone: &'static str,
}

fn row(time: impl Strategy<Value = i64>) -> impl Strategy<Value = Row> {
    let zone = prop::sample::select(ZONES.to_vec());
    let value = prop::option::weighted(0.9, -5..5_i64);
    let row = (prop::option::weighted(0.9, 0..4_u8), time, value, 0..3_u8, 0..DELAY, zone);
    row.prop_map(|(key, ts, value, word, jitter, zone)| Row { key, ts, value, word, jitter, zone })
}

/// Rows, a few of them twice, in an order of arrival that keeps every one in front of the watermark.
fn arriving(time: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<Row>> {
    let row = (row(time), prop::bool::weighted(0.1));
    prop::collection::vec(row, 0..100).prop_map(|rows| {
        let twice = |(row, twice): (Row, bool)| vec![row; if twice { 2 } else { 1 }];
        let mut rows: Vec<Row> = rows.into_iter().flat_map(twice).collect();
        rows.sort_by_key(|row| row.ts + row.jitter);
        rows
    })
}

/// Whole seconds make sessions exactly one gap apart and rows on window borders likely.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let within = prop_oneof![(0..90_i64).prop_map(|s| s * SECOND), 0..90 * SECOND];
    let early = prop_oneof![3 => Just(0), 1 => -40 * SECOND..0];
    let place = prop_oneof![4 => Just(PLACES[0]), 1 => Just(PLACES[1]), 1 => Just(PLACES[2])];
    arriving(
        (place, within, early).prop_map(|(place, within, early)| place * SECOND + within + early),
    )
}

/// Rows of a few days around a change of clocks, often on the hour.
fn rows_of_days() -> impl Strategy<Value = Vec<Row>> {
    let within = prop_oneof![(-40..40_i64).prop_map(|h| h * HOUR), -40 * HOUR..40 * HOUR];
    let place = prop::sample::select(CHANGES.to_vec());
    arriving((place, within).prop_map(|(place, within)| place * SECOND + within))
}

fn table(rows: &[Row]) -> RecordBatch {
    let texts = |of: &dyn Fn(&Row) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("k", texts(&|row| row.key.map(|k| format!("k{k}"))), true),
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.ts))),
            false,
        ),
        ("v", Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()), true),
        ("s", texts(&|row| Some(format!("w{}", row.word))), false),
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)), false),
        ("zone", texts(&|row| Some(row.zone.to_owned())), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

const AGGREGATES: &str = "count(*) AS n, sum(v) AS total, avg(v) AS mean, min(s) AS low, \
    max(v) FILTER (WHERE v % 2 = 0) AS even, count(DISTINCT s) AS words, \
    first_value(s ORDER BY ts, id) AS first, last_value(id ORDER BY ts, id) AS last";
const COLUMNS: &str = "k, w_start, w_end, n, total, mean, low, even, words, first, last";

const SOURCE: &str = "CREATE TABLE t (k TEXT, ts TIMESTAMP NOT NULL, v BIGINT, s TEXT NOT NULL, id BIGINT NOT NULL,
       zone TEXT NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '8 seconds') WITH (connector = 'generator', rows = 1);";

/// The aggregates of each key and window in `GROUP BY`.
fn grouped(window: &str) -> String {
    format!(
        "SELECT k, w.start AS w_start, w.end AS w_end, n, total, mean, low, even, words, first, last
         FROM (SELECT k, {window} AS w, {AGGREGATES} FROM t GROUP BY k, w) WHERE n <> 3"
    )
}

/// The same by a window table function.
fn from_table(window: &str) -> String {
    format!(
        "SELECT k, window_start AS w_start, window_end AS w_end, {AGGREGATES} FROM TABLE({window})
         GROUP BY k, window_start, window_end HAVING count(*) <> 3"
    )
}

/// The same in batch. `windows` yields the rows of `t` with `w_start` and `w_end`.
fn in_batch(windows: &str) -> String {
    format!(
        "WITH windows AS ({windows})
         SELECT k, w_start, w_end, {AGGREGATES} FROM windows
         GROUP BY k, w_start, w_end HAVING count(*) <> 3"
    )
}

fn tables(rows: &RecordBatch, chunk_rows: u64) -> Tables {
    Tables {
        sources: BTreeMap::from([("t".to_owned(), rows.clone())]),
        chunk_rows,
        ..Tables::default()
    }
}

fn streaming(window: &str, tables: &Tables, parallelism: usize) -> Vec<String> {
    let query = grouped(window);
    let sql =
        format!("{SOURCE} CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};");
    let (summary, mut written) = run(&sql, tables.clone(), parallelism);
    assert_eq!(summary.late_rows, 0);
    written.remove("o").unwrap_or_default()
}

/// How the rows are taken: in what batches, on how many shards, and where the first process dies.
#[derive(Debug, Clone)]
struct Way {
    chunk_rows: u64,
    shards: [usize; 2],
    dies_behind: u64,
    /// Whether there is a checkpoint behind each epoch, or none to go on from.
    checkpoints: bool,
}

fn way() -> impl Strategy<Value = Way> {
    let parts = (1..20_u64, [1..5_usize, 1..5_usize], 1..12_u64, any::<bool>());
    parts.prop_map(|(chunk_rows, shards, dies_behind, checkpoints)| Way {
        chunk_rows,
        shards,
        dies_behind,
        checkpoints,
    })
}

/// What a query gives as trigger rows, by a process that dies and another that goes on.
fn triggered(query: &str, rows: &RecordBatch, way: &Way) -> Vec<String> {
    let sql = format!(
        "{SOURCE} CREATE TABLE o WITH (connector = 'email', template = 't.mjml', at_end = 'fire');
         INSERT INTO o SELECT 'r' AS recipient_key, 'd' AS dedupe_key, {COLUMNS} FROM ({query});"
    );
    let dir = tempfile::tempdir().unwrap();
    let every_ns = if way.checkpoints { 0 } else { i64::MAX };
    let state = State {
        dir: dir.path(),
        sql: &sql,
        every_ns,
        accept_gap: false,
        refire: false,
        restore: None,
    };
    let [before, after] = way.shards;
    for (shards, dies) in [(before, way.dies_behind), (after, 0)] {
        let (ended, _) = state.run(tables(rows, way.chunk_rows), shards, dies);
        if let Some(ended) = ended {
            assert_eq!(ended.unwrap().late_rows, 0);
        }
    }
    state.trigger_rows()
}

fn check(query: &str, rows: &RecordBatch, way: &Way, batch: &RecordBatch, expected: &str) {
    let expected =
        format!("SELECT 'r' AS recipient_key, 'd' AS dedupe_key, {COLUMNS} FROM ({expected})");
    pretty(&triggered(query, rows, way), &oracle::answer(batch, &expected), query);
}

fn pretty(found: &[String], expected: &[String], query: &str) {
    assert!(found == expected, "{query}\nfound    {found:#?}\nexpected {expected:#?}");
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("POSTRIDER_WINDOW_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(100), ..ProptestConfig::default() }
}

/// Rows of one key, this far apart.
fn spread(rows: i64, distance: i64) -> RecordBatch {
    let row =
        |n| Row { key: Some(0), ts: n * distance, value: None, word: 0, jitter: 0, zone: "UTC" };
    table(&(0..rows).map(row).collect::<Vec<_>>())
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
    #![proptest_config(cases())]

    #[test]
    fn tumbling_windows_are_what_batch_says(
        rows in rows(), size in 1..20_i64, offset in -19..20_i64, function in any::<bool>(), way in way(),
    ) {
        let (rows, offset) = (table(&rows), offset % size);
        let query = if function {
            from_table(&format!("TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '{size}' SECOND, INTERVAL '{offset}' SECOND)"))
        } else {
            grouped(&format!("tumble(INTERVAL '{size} seconds', INTERVAL '{offset} seconds')"))
        };
        check(&query, &rows, &way, &rows, &in_batch(&oracle::hops(size, size, offset)));
    }

    #[test]
    fn hopping_windows_are_what_batch_says(
        rows in rows(), slide in 1..9_i64, more in 0..20_i64, offset in -8..9_i64, function in any::<bool>(), way in way(),
    ) {
        let (rows, size, offset) = (table(&rows), slide + more, offset % slide);
        let query = if function {
            from_table(&format!(
                "HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND, INTERVAL '{offset}' SECOND)"
            ))
        } else {
            grouped(&format!("hop(INTERVAL '{slide} seconds', INTERVAL '{size} seconds', INTERVAL '{offset} seconds')"))
        };
        check(&query, &rows, &way, &rows, &in_batch(&oracle::hops(slide, size, offset)));
    }

    #[test]
    fn cumulating_windows_are_what_batch_says(
        rows in rows(), step in 1..9_i64, steps in 1..6_i64, offset in -8..9_i64, function in any::<bool>(), way in way(),
    ) {
        let (rows, size, offset) = (table(&rows), step * steps, offset % step);
        let query = if function {
            from_table(&format!(
                "CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '{step}' SECOND, INTERVAL '{size}' SECOND, INTERVAL '{offset}' SECOND)"
            ))
        } else {
            grouped(&format!("cumulate(INTERVAL '{step} seconds', INTERVAL '{size} seconds', INTERVAL '{offset} seconds')"))
        };
        check(&query, &rows, &way, &rows, &in_batch(&oracle::cumulates(step, size, offset)));
    }

    #[test]
    fn sessions_are_what_batch_says(
        rows in rows(), gap in 1..12_i64, function in any::<bool>(), way in way(),
    ) {
        let rows = table(&rows);
        let query = if function {
            from_table(&format!("SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '{gap}' SECOND)"))
        } else {
            grouped(&format!("session(INTERVAL '{gap} seconds')"))
        };
        check(&query, &rows, &way, &rows, &in_batch(&oracle::sessions(gap)));
    }

    #[test]
    fn days_and_months_of_a_zone_are_what_its_clocks_show(
        all in rows_of_days(), zone in prop::sample::select(ZONES.to_vec()), month in any::<bool>(), way in way(),
    ) {
        let rows = table(&all);
        let (period, shown): (_, oracle::Shown) =
            if month { ("1 month", oracle::month) } else { ("1 day", oracle::day) };
        let query = grouped(&format!("tumble(INTERVAL '{period}', '{zone}')"));
        let batch = oracle::in_zones(&rows, &all, shown, Some(zone));
        check(&query, &rows, &way, &batch, &in_batch("SELECT * FROM t"));
    }

    #[test]
    fn days_of_each_row_are_what_the_clocks_of_its_zone_show(all in rows_of_days(), way in way()) {
        let rows = table(&all);
        let query = grouped("tumble(INTERVAL '1 day', zone)");
        let batch = oracle::in_zones(&rows, &all, oracle::day, None);
        check(&query, &rows, &way, &batch, &in_batch("SELECT * FROM t"));
    }

    #[test]
    fn windows_that_are_grouped_by_again_are_what_batch_says(
        rows in rows(), slide in 1..9_i64, more in 0..20_i64, gap in 1..12_i64, session in any::<bool>(), way in way(),
    ) {
        let (rows, size) = (table(&rows), slide + more);
        let (window, windows) = if session {
            (format!("session(INTERVAL '{gap} seconds')"), oracle::sessions(gap))
        } else {
            let window = format!("hop(INTERVAL '{slide} seconds', INTERVAL '{size} seconds')");
            (window, oracle::hops(slide, size, 0))
        };
        let again = "low AS k, w_start, w_end, count(*) AS n, sum(total) AS total, avg(n) AS mean, min(first) AS low,
            max(even) AS even, count(DISTINCT k) AS words, min(first) AS first, max(last) AS last";
        let query = format!(
            "SELECT low AS k, w.start AS w_start, w.end AS w_end, n, total, mean, low2 AS low, even, words, first, last FROM (
               SELECT low, w, count(*) AS n, sum(total) AS total, avg(n) AS mean, min(first) AS low2, max(even) AS even,
                 count(DISTINCT k) AS words, min(first) AS first, max(last) AS last
               FROM (SELECT k, {window} AS w, {AGGREGATES} FROM t GROUP BY k, w) GROUP BY low, w)"
        );
        let expected = format!(
            "SELECT {again} FROM (WITH windows AS ({windows})
               SELECT k, w_start, w_end, {AGGREGATES} FROM windows GROUP BY k, w_start, w_end)
             GROUP BY low, w_start, w_end"
        );
        check(&query, &rows, &way, &rows, &expected);
    }

    #[test]
    fn ranks_of_rows_in_their_windows_are_what_batch_says(
        rows in rows(), slide in 1..9_i64, more in 0..20_i64, limit in 1..4_u64, way in way(),
    ) {
        let (rows, size) = (table(&rows), slide + more);
        let ranked = |start: &str, end: &str, rows: &str| format!(
            "SELECT k, {start} AS w_start, {end} AS w_end, r AS n, v AS total, id AS mean, s AS low, v AS even, id AS words, s AS first, id AS last
             FROM (SELECT *, row_number() OVER (PARTITION BY {start}, {end}, k ORDER BY ts DESC, id) AS r FROM {rows}) WHERE r <= {limit}"
        );
        let function = format!("HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)");
        let query = ranked("window_start", "window_end", &function);
        let expected = ranked("w_start", "w_end", &format!("({})", oracle::hops(slide, size, 0)));
        check(&query, &rows, &way, &rows, &expected);
    }

    #[test]
    fn ranks_within_windows_are_what_batch_says(
        rows in rows(), size in 1..40_i64, limit in 1..4_u64, by_word in any::<bool>(),
        function in prop::sample::select(vec!["row_number", "rank", "dense_rank"]), way in way(),
    ) {
        let rows = table(&rows);
        let order = if function == "row_number" { "n DESC, k" } else { "n DESC" };
        let key = if by_word { ", low" } else { "" };
        let columns = "k, w_start, w_end, n, total, mean, low, even, r AS words, first, last";
        let ranked = |inner: &str| format!(
            "SELECT {columns} FROM (SELECT *, {function}() OVER (PARTITION BY w_start, w_end{key} ORDER BY {order}) AS r FROM ({inner}))
             WHERE r <= {limit}"
        );
        let inner = format!(
            "SELECT k, w.start AS w_start, w.end AS w_end, n, total, mean, low, even, first, last
             FROM (SELECT k, tumble(INTERVAL '{size} seconds') AS w, {AGGREGATES} FROM t GROUP BY k, w)"
        );
        let windows = oracle::hops(size, size, 0);
        let expected = format!(
            "WITH windows AS ({windows}) SELECT k, w_start, w_end, {AGGREGATES} FROM windows GROUP BY k, w_start, w_end"
        );
        check(&ranked(&inner), &rows, &way, &rows, &ranked(&expected));
    }
}
