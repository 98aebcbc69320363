//! Windows beside each other and behind each other: joins of equal ones, ranks in them, and what the ones before said.

use proptest::prelude::*;

use super::{AGGREGATES, Row, cases, check, oracle, rows, rows_of_days, table, way};

/// A kind of window in `GROUP BY`, and the rows of `t` with such windows in batch.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Hop { slide: i64, size: i64 },
    Cumulate { step: i64, steps: i64 },
    Session { gap: i64 },
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (1..9_i64, 0..12_i64).prop_map(|(slide, more)| Kind::Hop { slide, size: slide + more }),
        (1..9_i64, 1..6_i64).prop_map(|(step, steps)| Kind::Cumulate { step, steps }),
        (1..12_i64).prop_map(|gap| Kind::Session { gap }),
    ]
}

impl Kind {
    fn grouped(self) -> String {
        match self {
            Self::Hop { slide, size } => {
                format!("hop(INTERVAL '{slide} seconds', INTERVAL '{size} seconds')")
            }
            Self::Cumulate { step, steps } => {
                format!("cumulate(INTERVAL '{step} seconds', INTERVAL '{} seconds')", step * steps)
            }
            Self::Session { gap } => format!("session(INTERVAL '{gap} seconds')"),
        }
    }

    fn in_batch(self) -> String {
        match self {
            Self::Hop { slide, size } => oracle::hops(slide, size, 0),
            Self::Cumulate { step, steps } => oracle::cumulates(step, step * steps, 0),
            Self::Session { gap } => oracle::sessions(gap),
        }
    }
}

/// Both sides are of the same rows, but for those of one word.
const SIDES: [(&str, &str); 2] = [("a", "s <> 'w0'"), ("b", "s <> 'w1'")];
const JOINS: [&str; 4] = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];

fn joined(join: &str, start: &str, end: &str, sides: [String; 2], on: &str) -> String {
    let [a, b] = sides;
    format!(
        "SELECT coalesce(a.k, b.k) AS k, coalesce(a.{start}, b.{start}) AS w_start, coalesce(a.{end}, b.{end}) AS w_end,
                a.n AS n, a.total AS total, a.mean AS mean, a.low AS low, a.even AS even,
                b.words AS words, b.first AS first, b.last AS last
         FROM ({a}) a {join} ({b}) b ON a.k = b.k AND {on}"
    )
}

/// A join of windows, and the same in batch over rows that have theirs.
fn both_joins(join: &str, window: &str, windows: &str) -> [String; 2] {
    let streams = SIDES.map(|(_, filter)| {
        format!("SELECT k, {window} AS w, {AGGREGATES} FROM t WHERE {filter} GROUP BY k, w")
    });
    let batches = SIDES.map(|(name, filter)| {
        let own = format!("(SELECT * FROM t WHERE {filter})");
        let windows = windows.replace("FROM t ", &format!("FROM {own} "));
        let windows = windows.replace("FROM t)", &format!("FROM {own})"));
        format!("WITH of_{name} AS ({windows}) SELECT k, w_start, w_end, {AGGREGATES} FROM of_{name} GROUP BY k, w_start, w_end")
    });
    let same = "a.w_start = b.w_start AND a.w_end = b.w_end";
    [
        joined(join, "w.start", "w.end", streams, "a.w = b.w"),
        joined(join, "w_start", "w_end", batches, same),
    ]
}

fn counts(rows: &str) -> String {
    format!("SELECT k, w_start, w_end, {AGGREGATES} FROM ({rows}) GROUP BY k, w_start, w_end")
}

fn counted(size: i64) -> [String; 2] {
    let stream = format!(
        "SELECT k, w.start AS w_start, w.end AS w_end, n, total, mean, low, even, words, first, last
         FROM (SELECT k, tumble(INTERVAL '{size} seconds') AS w, {AGGREGATES} FROM t GROUP BY k, w)"
    );
    [stream, counts(&oracle::hops(size, size, 0))]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn joins_of_equal_windows_of_any_kind_are_what_batch_says(
        rows in rows(), kind in kinds(), join in prop::sample::select(JOINS.to_vec()), way in way(),
    ) {
        let rows = table(&rows);
        let [query, expected] = both_joins(join, &kind.grouped(), &kind.in_batch());
        check(&query, &rows, &way, &rows, &expected);
    }

    #[test]
    fn joins_of_equal_days_are_what_batch_says(
        all in rows_of_days(), join in prop::sample::select(JOINS.to_vec()), own in any::<bool>(), way in way(),
    ) {
        let rows = table(&all);
        let zone = if own { None } else { Some("Europe/Berlin") };
        let window = zone.map_or_else(|| "zone".to_owned(), |zone| format!("'{zone}'"));
        let batch = oracle::in_zones(&rows, &all, oracle::day, zone);
        let window = format!("tumble(INTERVAL '1 day', {window})");
        let [query, expected] = both_joins(join, &window, "SELECT * FROM t WHERE true");
        check(&query, &rows, &way, &batch, &expected);
    }

    #[test]
    fn what_the_leaders_before_were_is_what_batch_says(rows in rows(), size in 1..20_i64, way in way()) {
        let rows = table(&rows);
        let query = |inner: &str| format!(
            "SELECT k, w_start, w_end, n, total, mean, low, even, words, first, lag(last) OVER (ORDER BY w_end) AS last
             FROM (SELECT *, row_number() OVER (PARTITION BY w_start, w_end ORDER BY n DESC, k) AS r FROM ({inner})) WHERE r = 1"
        );
        let [stream, batch] = counted(size).map(|inner| query(&inner));
        check(&stream, &rows, &way, &rows, &batch);
    }

    #[test]
    fn ranks_of_what_changed_are_what_batch_says(rows in rows(), size in 1..20_i64, limit in 1..3_u64, way in way()) {
        let rows = table(&rows);
        let query = |inner: &str| format!(
            "SELECT k, w_start, w_end, more AS n, total, mean, low, even, words, first, last
             FROM (SELECT *, n - lag(n, 1, 0) OVER (PARTITION BY k ORDER BY w_end) AS more FROM ({inner}))
             QUALIFY rank() OVER (PARTITION BY w_start, w_end ORDER BY more DESC) <= {limit}"
        );
        let [stream, batch] = counted(size).map(|inner| query(&inner));
        check(&stream, &rows, &way, &rows, &batch);
    }
}

/// Both changes of the clocks in one year, hour by hour.
#[test]
fn days_have_as_many_hours_as_the_clocks_show() {
    const HOUR: i64 = 3_600_000_000_000;
    let hours = |from: i64| {
        let row = move |hour: i64| Row {
            key: Some(0),
            ts: from * 1_000_000_000 + hour * HOUR,
            value: Some(1),
            word: 0,
            jitter: 0,
            zone: "UTC",
        };
        (0..96).map(row)
    };
    // From 2026-03-27 00:00 and 2026-10-23 00:00 UTC on.
    let all: Vec<Row> = hours(1_774_569_600).chain(hours(1_792_713_600)).collect();
    let query = "SELECT tumble(INTERVAL '1 day', 'Europe/Berlin') AS w, w.start, count(*) AS n FROM t GROUP BY w";
    let tables = super::tables(&table(&all), 7);
    let sql = format!(
        "{} CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o SELECT n, start FROM ({query});",
        super::SOURCE
    );
    let (_, mut written) = crate::harness::run(&sql, tables, 2);
    let expected = [
        "23 | 2026-03-26T23:00:00",
        "24 | 2026-03-27T23:00:00",
        "23 | 2026-03-28T23:00:00",
        "24 | 2026-03-29T22:00:00",
        "2 | 2026-03-30T22:00:00",
        "22 | 2026-10-22T22:00:00",
        "24 | 2026-10-23T22:00:00",
        "25 | 2026-10-24T22:00:00",
        "24 | 2026-10-25T23:00:00",
        "1 | 2026-10-26T23:00:00",
    ];
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(written.remove("o").unwrap_or_default(), expected);
}
