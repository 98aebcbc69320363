//! Restarts, unions, rows that can't be computed, and the end of input.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use postrider_core::ErrorKind;
use postrider_engine::Pipeline;
use postrider_store::{Log, LogOptions};

use crate::harness::{Tables, options, plan, run};

const SECOND: i64 = 1_000_000_000;

fn rows(count: i64) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "k",
            Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("k{}", n % 7)))),
            false,
        ),
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from_iter_values((0..count).map(|n| n * SECOND))),
            false,
        ),
        ("v", Arc::new(Int64Array::from_iter_values(0..count)), false),
        ("x", Arc::new(Float64Array::from_iter_values((0..count).map(|n| 0.1 * n as f64))), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn tables(count: i64) -> Tables {
    Tables { sources: BTreeMap::from([("t".to_owned(), rows(count))]), chunk_rows: 5 }
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

#[test]
fn another_program_does_not_take_over_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let start = |sql: String| {
        runtime.block_on(async {
            let log = Log::open(LogOptions::new(dir.path())).unwrap().log;
            let (options, _) = options(plan(&sql), tables(10), 1, &log);
            let ended = Pipeline::start(options).await.unwrap().join().await;
            log.close().await;
            ended
        })
    };
    start(format!("{SOURCE} SELECT k FROM t WHERE v > 1;")).unwrap();
    start(format!("{SOURCE} -- a comment changes nothing\n SELECT k FROM t WHERE v > 1;")).unwrap();
    let error = start(format!("{SOURCE} SELECT k FROM t WHERE v > 2;")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
