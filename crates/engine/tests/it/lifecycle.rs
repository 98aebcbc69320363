//! Restarts, unions, rows that can't be computed, and the end of input.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use postrider_core::ErrorKind;
use postrider_engine::{EngineError, Pipeline, PipelineSummary};
use postrider_store::{Log, LogOptions};

use crate::harness::{Tables, options, plan, run, texts};

const SECOND: i64 = 1_000_000_000;

/// Rows whose times are so many seconds behind 1970.
fn rows_at(count: i64, second: impl Fn(i64) -> i64) -> RecordBatch {
    let times = (0..count).map(|n| second(n) * SECOND);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "k",
            Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("k{}", n % 7)))),
            false,
        ),
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(times)), false),
        ("v", Arc::new(Int64Array::from_iter_values(0..count)), false),
        ("x", Arc::new(Float64Array::from_iter_values((0..count).map(|n| 0.1 * n as f64))), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn tables(count: i64) -> Tables {
    tables_of(count, |n| n)
}

/// Tables of one source whose rows are at these seconds.
pub(crate) fn tables_of(count: i64, second: impl Fn(i64) -> i64) -> Tables {
    Tables {
        sources: BTreeMap::from([("t".to_owned(), rows_at(count, second))]),
        chunk_rows: 5,
        ..Tables::default()
    }
}

const SOURCE: &str =
    "CREATE TABLE t (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT NOT NULL, x DOUBLE NOT NULL,
     WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'generator', rows = 1);";

#[test]
fn branches_of_one_source_meet_again_in_a_union() {
    let sql = format!(
        "{SOURCE} SELECT k, tumble(INTERVAL '1 hour') AS w, sum(v) AS total FROM (
           SELECT k, v FROM t WHERE v < 10 UNION ALL SELECT k, v * 100 AS v FROM t WHERE v >= 10)
         GROUP BY k, w;"
    );
    let (_, mut written) = run(&sql, tables(14), 2);
    let rows = written.remove("stdout").unwrap();
    assert_eq!(rows.len(), 7);
    assert!(rows[3].starts_with("k3 ") && rows[3].ends_with("| 1003"), "{}", rows[3]);
}

#[test]
fn a_window_over_a_window_takes_the_end_of_the_first_as_its_time() {
    let sql = format!(
        "{SOURCE} SELECT tumble(INTERVAL '20 seconds') AS w, count(*) AS windows, sum(n) AS events FROM (
           SELECT k, tumble(INTERVAL '10 seconds') AS inner_window, count(*) AS n FROM t GROUP BY k, inner_window)
         GROUP BY w;"
    );
    let (_, mut written) = run(&sql, tables(40), 3);
    let rows = written.remove("stdout").unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row.ends_with("| 14 | 20")), "{rows:?}");
}

#[test]
fn a_restart_replays_and_writes_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let sql = format!(
        "{SOURCE} CREATE TABLE mails WITH (connector = 'email', template = 't.mjml');
         INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, sum(x) AS total,
           session(INTERVAL '2 minutes') AS w FROM t GROUP BY k, w;"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let mut trigger_rows = Vec::new();
    // The input grows between the runs, and the shards change.
    for (run, (count, shards)) in [(400, 1), (900, 3), (900, 2)].into_iter().enumerate() {
        runtime.block_on(async {
            let log = Log::open(LogOptions::new(dir.path())).unwrap().log;
            let (options, _) = options(plan(&sql), tables(count), shards, &log);
            let summary = Pipeline::start(options).await.unwrap().join().await.unwrap();
            assert_eq!(summary.replayed_epochs > 0, run > 0);
            trigger_rows.push((summary.rows, summary.trigger_rows));
            log.close().await;
        });
    }
    // Nothing is 2 minutes old but the silence after the last event, which nobody observed.
    assert_eq!(trigger_rows, [(400, 0), (500, 0), (0, 0)]);
}

const EMAIL: &str = "CREATE TABLE mails WITH (connector = 'email', template = 't.mjml');";

/// Runs a program over a log directory; what the run says, and what its sinks took.
fn run_on(
    dir: &std::path::Path,
    sql: &str,
    tables: Tables,
    shards: usize,
) -> (Result<PipelineSummary, EngineError>, BTreeMap<String, Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let log = Log::open(LogOptions::new(dir)).unwrap().log;
        let (options, written) = options(plan(sql), tables, shards, &log);
        let ended = match Pipeline::start(options).await {
            Ok(pipeline) => pipeline.join().await,
            Err(error) => Err(error),
        };
        log.close().await;
        let written = written.lock().unwrap();
        let written = written.iter().map(|(name, batches)| (name.clone(), texts(batches)));
        (ended, written.collect())
    })
}

#[test]
fn a_window_over_a_window_replays_the_same_on_any_number_of_shards() {
    let dir = tempfile::tempdir().unwrap();
    // The order of rows shows in the list, and in the last bits of the sum.
    let sql = format!(
        "{SOURCE} {EMAIL} INSERT INTO mails
         SELECT 'all' AS recipient_key, cast(w.start AS TEXT) AS dedupe_key, products, total, w FROM (
           SELECT array_agg(k) AS products, sum(x) AS total, tumble(INTERVAL '1 minute') AS w FROM (
             SELECT k, sum(x) AS x, tumble(INTERVAL '10 seconds') AS inner_window FROM t GROUP BY k, inner_window)
           GROUP BY w);"
    );
    let mut trigger_rows = Vec::new();
    for (count, shards) in [(400, 1), (900, 3), (900, 2)] {
        let (ended, _) = run_on(dir.path(), &sql, tables(count), shards);
        trigger_rows.push(ended.unwrap().trigger_rows);
    }
    assert_eq!(trigger_rows, [6, 8, 0]);
}

#[test]
fn a_result_that_cannot_be_computed_becomes_a_dead_letter() {
    let sql = format!(
        "{SOURCE} SELECT k, 100 / (sum(v) - 3) AS share, tumble(INTERVAL '1 hour') AS w FROM t GROUP BY k, w;"
    );
    let (summary, written) = run(&sql, tables(7), 2);
    assert_eq!(written["stdout"].len(), 6);
    assert_eq!(written["dead letters"], ["compute_error"]);
    assert_eq!(summary.rejects, 1);
}

#[test]
fn two_selects_keep_their_own_columns() {
    let sql = format!("{SOURCE} SELECT k, v FROM t WHERE v < 3; SELECT x FROM t WHERE v < 2;");
    let (summary, mut written) = run(&sql, tables(5), 2);
    assert_eq!(summary.rejects, 0);
    let rows = written.remove("stdout").unwrap();
    assert_eq!(rows, ["0.0", "0.1", "k0 | 0", "k1 | 1", "k2 | 2"]);
}

#[test]
fn input_that_shrank_is_not_replayed_as_if_it_were_all() {
    let dir = tempfile::tempdir().unwrap();
    let sql = format!("{SOURCE} {EMAIL} INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, count(*) AS n,
        tumble(INTERVAL '1 hour') AS w FROM t GROUP BY k, w;");
    run_on(dir.path(), &sql, tables(100), 1).0.unwrap();
    let error = run_on(dir.path(), &sql, tables(50), 1).0.unwrap_err();
    assert!(error.to_string().contains("put the old content back"), "{error}");
    run_on(dir.path(), &sql, tables(100), 1).0.unwrap();
}

#[test]
fn an_epoch_may_have_more_trigger_rows_than_one_append_holds() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..20_000).map(|n| format!("{n:0>4000}")).collect();
    let mut tables = tables(20_000);
    let rows = tables.sources["t"].clone();
    let mut columns = rows.columns().to_vec();
    columns[0] = Arc::new(StringArray::from(names));
    columns[1] = Arc::new(TimestampNanosecondArray::from_value(0, 20_000));
    tables.sources.insert("t".to_owned(), RecordBatch::try_new(rows.schema(), columns).unwrap());
    tables.chunk_rows = 5_000;
    let sql = format!("{SOURCE} CREATE TABLE mails WITH (connector = 'email', template = 't.mjml', at_end = 'fire');
        INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, tumble(INTERVAL '1 hour') AS w FROM t GROUP BY k, w;");
    let (first, _) = run_on(dir.path(), &sql, tables.clone(), 2);
    assert_eq!(first.unwrap().trigger_rows, 20_000);
    let (again, _) = run_on(dir.path(), &sql, tables, 1);
    assert_eq!(again.unwrap().trigger_rows, 0);
}

#[test]
fn another_program_does_not_touch_what_the_first_one_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let sql = |name: &str| {
        format!(
            "{SOURCE} CREATE TABLE {name} WITH (connector = 'blackhole'); INSERT INTO {name} SELECT k FROM t;"
        )
    };
    run_on(dir.path(), &sql("one"), tables(10), 1).0.unwrap();
    let (ended, touched) = run_on(dir.path(), &sql("two"), tables(10), 1);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(touched, BTreeMap::new());
}

#[test]
fn another_program_does_not_take_over_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let start = |sql: String| run_on(dir.path(), &sql, tables(10), 1).0;
    start(format!("{SOURCE} SELECT k FROM t WHERE v > 1;")).unwrap();
    start(format!("{SOURCE} -- a comment changes nothing\n SELECT k FROM t WHERE v > 1;")).unwrap();
    let error = start(format!("{SOURCE} SELECT k FROM t WHERE v > 2;")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn a_column_computed_otherwise_is_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let start = |by: u8| {
        let generated = format!("y BIGINT GENERATED ALWAYS AS (v + {by}) STORED, WATERMARK");
        let source = SOURCE.replace("WATERMARK", &generated);
        run_on(dir.path(), &format!("{source} SELECT k, y FROM t;"), tables(10), 1).0
    };
    start(1).unwrap();
    start(1).unwrap();
    assert_eq!(start(2).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_panic_ends_the_pipeline_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables { decoder_panics: true, ..tables(10) };
    let error = run_on(dir.path(), &format!("{SOURCE} SELECT k FROM t;"), tables, 1).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(error.to_string().contains("panicked"), "{error}");
}
