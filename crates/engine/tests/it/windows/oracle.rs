//! The windows of rows by other means: plain DataFusion in batch, and time zones a quarter of an hour at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use chrono::{DateTime, Datelike, TimeZone};
use chrono_tz::Tz;
use datafusion::{datasource::MemTable, execution::context::SessionContext};

use super::{Row, SECOND};
use crate::harness::texts;

/// What a query over `t` says, as sorted texts.
pub(super) fn answer(rows: &RecordBatch, query: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        texts(&context.sql(query).await.unwrap().collect().await.unwrap())
    })
}

/// A row in each of its windows `[n * slide + offset, n * slide + offset + size)`, by plain arithmetic.
pub(super) fn hops(slide: i64, size: i64, offset: i64) -> String {
    let branch = |back: i64| {
        let start = format!("{} - INTERVAL '{} seconds'", bin(slide, offset), back * slide);
        format!(
            "SELECT *, {start} AS w_start, {start} + INTERVAL '{size} seconds' AS w_end FROM t \
             WHERE ts < {start} + INTERVAL '{size} seconds'"
        )
    };
    let branches = (0..=(size - 1) / slide).map(branch).collect::<Vec<_>>();
    branches.join(" UNION ALL ")
}

/// A row in each window of its bucket that ends behind it.
pub(super) fn cumulates(step: i64, size: i64, offset: i64) -> String {
    let start = bin(size, offset);
    let branch = |end: i64| {
        let end = format!("{start} + INTERVAL '{} seconds'", end * step);
        format!("SELECT *, {start} AS w_start, {end} AS w_end FROM t WHERE ts < {end}")
    };
    (1..=size / step).map(branch).collect::<Vec<_>>().join(" UNION ALL ")
}

fn bin(length: i64, offset: i64) -> String {
    let origin = DateTime::from_timestamp(offset, 0).unwrap().naive_utc();
    format!("date_bin(INTERVAL '{length} seconds', ts, TIMESTAMP '{origin}')")
}

/// A row in its session: a new one starts where the row before is more than a gap away.
pub(super) fn sessions(gap: i64) -> String {
    format!(
        "SELECT *, min(ts) OVER (PARTITION BY k, number) AS w_start,
                max(ts) OVER (PARTITION BY k, number) + INTERVAL '{gap} seconds' AS w_end
         FROM (SELECT *, sum(opens) OVER (PARTITION BY k ORDER BY ts, id) AS number
               FROM (SELECT *, CASE WHEN ts <= lag(ts) OVER (PARTITION BY k ORDER BY ts, id) + INTERVAL '{gap} seconds'
                                    THEN 0 ELSE 1 END AS opens FROM t))"
    )
}

/// How clocks name a day or a month: what is equal is one window.
pub(super) type Shown = fn(DateTime<Tz>) -> (i32, u32);

pub(super) fn day(shown: DateTime<Tz>) -> (i32, u32) {
    (shown.year(), shown.ordinal())
}

pub(super) fn month(shown: DateTime<Tz>) -> (i32, u32) {
    (shown.year(), shown.month())
}

/// The rows with the day or month that each is in: from a quarter of an hour to the next, for as long as clocks show the same.
pub(super) fn in_zones(
    rows: &RecordBatch,
    all: &[Row],
    shown: Shown,
    zone: Option<&str>,
) -> RecordBatch {
    const QUARTER: i64 = 900;
    let around = all.iter().map(|row| {
        let zone: Tz = zone.unwrap_or(row.zone).parse().unwrap();
        let shown = |second: i64| shown(zone.timestamp_opt(second, 0).unwrap());
        let at = row.ts.div_euclid(SECOND);
        let own = shown(at);
        let mut start = at.div_euclid(QUARTER) * QUARTER;
        while shown(start - 1) >= own {
            start -= QUARTER;
        }
        let mut end = at.div_euclid(QUARTER) * QUARTER + QUARTER;
        while shown(end) <= own {
            end += QUARTER;
        }
        (start * SECOND, end * SECOND)
    });
    let (starts, ends): (Vec<i64>, Vec<i64>) = around.unzip();
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        columns.push((field.name().clone(), Arc::clone(column)));
    }
    columns.push(("w_start".to_owned(), Arc::new(TimestampNanosecondArray::from(starts))));
    columns.push(("w_end".to_owned(), Arc::new(TimestampNanosecondArray::from(ends))));
    RecordBatch::try_from_iter(columns).unwrap()
}
