//! Windows whose results leave early and are corrected: what is left of their changes is what batch says of all rows that were not too late.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use proptest::prelude::*;

use super::{COLUMNS, DELAY, Row, SECOND, SOURCE, Way, cases, grouped, oracle, row, table, way};
use crate::{
    changes::collapsed,
    harness::{Tables, Written},
    state::State,
};

/// Chunks that an epoch takes.
const EPOCH_CHUNKS: usize = 16;

/// Rows in any order, so that many are late.
fn disordered() -> impl Strategy<Value = Vec<Row>> {
    let within = prop_oneof![(0..90_i64).prop_map(|s| s * SECOND), 0..90 * SECOND];
    let grows = (within, 0..20_i64).prop_map(|(time, _)| time);
    prop::collection::vec(row(grows), 0..150).prop_map(|mut rows| {
        // Half of them come roughly in order, or the first epoch would hold the end of time.
        let count = rows.len() as i64;
        for (at, row) in (0_i64..).zip(&mut rows) {
            if row.word > 0 {
                row.ts = at * 90 * SECOND / count + row.jitter;
            }
        }
        rows
    })
}

/// The rows, and what the watermark was when each came; NULL before the first.
fn with_watermarks(rows: &RecordBatch, epoch_rows: usize) -> RecordBatch {
    let times = rows["ts"].as_primitive::<arrow::datatypes::TimestampNanosecondType>().values();
    let (mut newest, mut watermark) = (None, None);
    let watermarks = times.iter().enumerate().map(|(at, &time)| {
        if at % epoch_rows == 0 {
            watermark = newest.map(|newest: i64| newest - DELAY);
        }
        newest = newest.max(Some(time));
        watermark
    });
    let watermarks: ArrayRef =
        std::sync::Arc::new(watermarks.collect::<TimestampNanosecondArray>());
    let columns = rows.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let columns = columns.iter().map(String::as_str).zip(rows.columns().iter().cloned());
    let nullable = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(nullable.chain([("wm", watermarks, true)])).unwrap()
}

/// What a pipeline wrote in two lives, and how many rows it dropped if the first one lasted.
fn changes(query: &str, settings: &str, rows: &RecordBatch, way: &Way) -> Vec<RecordBatch> {
    let sql = format!(
        "{SOURCE} {settings} CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o SELECT {COLUMNS} FROM ({query});"
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
    let sources = BTreeMap::from([("t".to_owned(), rows.clone())]);
    let tables = Tables {
        sources,
        chunk_rows: way.chunk_rows,
        clock_step_ns: SECOND / 3,
        ..Tables::default()
    };
    let written = Written::default();
    for (shards, dies) in [(way.shards[0], way.dies_behind), (way.shards[1], 0)] {
        if let (Some(ended), _) = state.run_into(tables.clone(), shards, dies, &written) {
            ended.unwrap();
        }
    }
    written.lock().unwrap().remove("o").unwrap_or_default()
}

/// No update that changes nothing.
fn says_something(batches: &[RecordBatch]) {
    for batch in batches {
        let kinds = batch.column(0).as_string::<i32>();
        for row in (0..batch.num_rows()).filter(|row| kinds.value(*row) == "-U") {
            let same = |column: &ArrayRef| {
                column.slice(row, 1).to_data() == column.slice(row + 1, 1).to_data()
            };
            assert!(!batch.columns()[1..].iter().all(same), "an update without a change");
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_left_of_early_and_late_results_is_what_batch_says(
        all in disordered(), kind in 0..3_usize, short in 1..9_i64, more in 0..4_i64,
        every in prop::option::of(1..5_i64), lateness in prop_oneof![Just(0), 1..40_i64], way in way(),
    ) {
        let size = short * (1 + more);
        let (window, windows) = match kind {
            0 => (format!("tumble(INTERVAL '{size} seconds')"), oracle::hops(size, size, 0)),
            1 => (format!("hop(INTERVAL '{short} seconds', INTERVAL '{size} seconds')"), oracle::hops(short, size, 0)),
            _ => (format!("cumulate(INTERVAL '{short} seconds', INTERVAL '{size} seconds')"), oracle::cumulates(short, size, 0)),
        };
        prop_assume!(every.is_some() || lateness > 0);
        let settings = format!(
            "SET emit_every = INTERVAL '{} seconds'; SET allowed_lateness = INTERVAL '{lateness} seconds';", every.unwrap_or(0)
        );
        let way = Way { chunk_rows: way.chunk_rows.min(3), ..way };
        let rows = table(&all);
        let changes = changes(&grouped(&window), &settings, &rows, &way);
        says_something(&changes);
        let known = with_watermarks(&rows, EPOCH_CHUNKS * way.chunk_rows as usize);
        let expected = format!(
            "WITH windows AS (SELECT * FROM ({windows}) WHERE wm IS NULL OR wm < w_end + INTERVAL '{lateness} seconds' - INTERVAL '1 nanosecond')
             SELECT k, w_start, w_end, {} FROM windows GROUP BY k, w_start, w_end HAVING count(*) <> 3", super::AGGREGATES
        );
        prop_assert_eq!(collapsed(&changes), oracle::answer(&known, &format!("SELECT {COLUMNS} FROM ({expected})")));
    }
}
