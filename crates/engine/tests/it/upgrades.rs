//! Edited programs: what they keep, what they rebuild, and that nobody hears of the same thing twice.

use std::{collections::BTreeMap, fs};

use postrider_engine::{EngineError, Fate};
use postrider_store::{Lsn, Outbox};

use crate::{
    harness::Tables,
    state::{State, Watch},
};

const SOURCE: &str = "
CREATE TABLE t (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT NOT NULL, x DOUBLE NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'generator', rows = 1);";
const SINKS: &str = "
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml');
CREATE TABLE hops WITH (connector = 'email', template = 't.mjml');";
const MAILS: &str = "
INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, sum(v) AS total, count(*) AS n,
    session(INTERVAL '40 seconds') AS w FROM t GROUP BY k, w HAVING count(*) > 3;";
const HOPS: &str = "
INSERT INTO hops SELECT k AS recipient_key, k AS dedupe_key, max(v) AS most,
    hop(INTERVAL '20 seconds', INTERVAL '150 seconds') AS w FROM t WHERE v % 3 > 0 GROUP BY k, w;";

fn base() -> String {
    format!("{SOURCE}{SINKS}{MAILS}{HOPS}")
}

/// What the operators of an edited program keep: `k` or `r` each, in the order of its queries.
struct Edit {
    name: &'static str,
    sql: String,
    fates: &'static str,
}

fn edit(name: &'static str, fates: &'static str, from: &str, to: &str) -> Edit {
    let base = base();
    assert!(base.contains(from), "{name}");
    Edit { name, fates, sql: base.replacen(from, to, 1) }
}

fn whole(name: &'static str, fates: &'static str, sql: String) -> Edit {
    Edit { name, fates, sql }
}

/// Edits that every operator survives.
fn kept() -> Vec<Edit> {
    vec![
        edit("another threshold behind the aggregate", "kk", "count(*) > 3", "count(*) > 9"),
        edit("no filter behind the aggregate", "kk", "HAVING count(*) > 3", ""),
        edit("another name for a column", "kk", "AS total", "AS spent"),
        edit("a computed column", "kk", "sum(v) AS total", "sum(v) * 100 AS cents"),
        edit("a column less", "kk", "sum(v) AS total, count(*) AS n", "sum(v) / count(*) AS mean"),
        edit("another template", "kk", "t.mjml", "other.mjml"),
        edit(
            "another dedupe key",
            "kk",
            "k AS dedupe_key, sum",
            "concat(k, '!') AS dedupe_key, sum",
        ),
        edit("a constant", "kk", "max(v) AS most", "max(v) AS most, 'gold' AS tier"),
        edit("a comment", "kk", "INSERT INTO hops", "-- every 20 seconds\nINSERT INTO hops"),
        edit("layout", "kk", "AS n,", "AS n  ,\n\n"),
        edit("upper case", "kk", "INSERT INTO hops SELECT", "insert into hops select"),
        edit("a subject", "kk", "template = 't.mjml'", "template = 't.mjml', subject = 'Hello'"),
        whole("the queries in another order", "kk", format!("{SOURCE}{SINKS}{HOPS}{MAILS}")),
        whole("a query less", "k", format!("{SOURCE}{SINKS}{MAILS}")),
        whole("another sink", "kk", base().replace("hops", "jumps")),
        whole(
            "a view between",
            "kk",
            format!(
                "{SOURCE}{SINKS}{HOPS} CREATE VIEW s AS SELECT k, sum(v) AS total, count(*) AS n,
             session(INTERVAL '40 seconds') AS w FROM t GROUP BY k, w HAVING count(*) > 3;
             INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, total, n, w FROM s;"
            ),
        ),
    ]
}

/// Edits that an operator does not survive.
fn rebuilt() -> Vec<Edit> {
    vec![
        edit("another gap", "rk", "'40 seconds'", "'25 seconds'"),
        edit("an aggregate more", "rk", "count(*) AS n,", "count(*) AS n, min(v) AS least,"),
        edit("an aggregate less", "rk", "sum(v) AS total, ", ""),
        edit("another aggregate", "rk", "sum(v) AS total", "max(v) AS total"),
        edit("a condition in an aggregate", "rk", "sum(v)", "sum(v) FILTER (WHERE v > 5)"),
        edit("another argument", "rk", "sum(v)", "sum(v + 1)"),
        edit("another condition before the aggregate", "kr", "v % 3 > 0", "v % 3 > 1"),
        edit("no condition before the aggregate", "kr", "WHERE v % 3 > 0", ""),
        edit("longer windows", "kr", "'150 seconds'", "'200 seconds'"),
        edit("a longer slide", "kr", "'20 seconds', ", "'50 seconds', "),
        edit(
            "tumbling windows",
            "kr",
            "hop(INTERVAL '20 seconds', INTERVAL '150 seconds')",
            "tumble(INTERVAL '1 minute')",
        ),
        edit(
            "sessions instead of windows",
            "kr",
            "hop(INTERVAL '20 seconds', INTERVAL '150 seconds')",
            "session(INTERVAL '20 seconds')",
        ),
        whole(
            "another key",
            "rk",
            base()
                .replacen("k AS recipient_key", "kk AS recipient_key", 1)
                .replacen("k AS dedupe_key", "kk AS dedupe_key", 1)
                .replacen(
                    "FROM t GROUP BY k, w",
                    "FROM (SELECT concat(k, '-') AS kk, v FROM t) GROUP BY kk, w",
                    1,
                ),
        ),
        whole(
            "a query more",
            "kkr",
            format!(
                "{} CREATE TABLE days WITH (connector = 'email', template = 't.mjml');
             INSERT INTO days SELECT k AS recipient_key, k AS dedupe_key, count(*) AS n,
             tumble(INTERVAL '90 seconds') AS w FROM t GROUP BY k, w;",
                base()
            ),
        ),
    ]
}

/// Some rows a chunk, so that an epoch or two pass between checkpoints.
fn tables(count: i64) -> Tables {
    Tables { chunk_rows: 3, ..crate::checkpoints::tables(count) }
}

fn state<'a>(dir: &'a tempfile::TempDir, sql: &'a str) -> State<'a> {
    State { dir: dir.path(), sql, every_ns: 0, accept_gap: false, refire: false, restore: None }
}

/// How often each text is there.
fn counted(rows: Vec<String>) -> BTreeMap<String, i64> {
    let mut counted = BTreeMap::new();
    rows.into_iter().for_each(|row| *counted.entry(row).or_default() += 1);
    counted
}

/// All trigger rows of programs that run one after the other, each over so many rows.
fn rows_of(runs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let dir = tempfile::tempdir().unwrap();
    for (sql, count) in runs {
        let state = State { every_ns: i64::MAX, ..state(&dir, sql) };
        state.run(tables(*count), 2, 0).0.unwrap().unwrap();
    }
    counted(state(&dir, "").trigger_rows())
}

fn fates(watch: &Watch) -> String {
    let plan = watch.upgrade.lock().unwrap().clone();
    let operators = plan.into_iter().flat_map(|plan| plan.operators);
    let letter = |fate| if matches!(fate, Fate::Keep { .. }) { 'k' } else { 'r' };
    operators.map(|operator| letter(operator.fate)).collect()
}

#[test]
fn every_edit_goes_on_as_if_it_had_always_been_so_and_repeats_nothing() {
    let edits: Vec<_> = kept().into_iter().chain(rebuilt()).collect();
    assert_eq!(edits.len(), 30);
    let first = base();
    let before = rows_of(&[(&first, 600)]);
    for Edit { name, sql, fates: expected } in &edits {
        let dir = tempfile::tempdir().unwrap();
        state(&dir, &first).run(tables(600), 2, 0).0.unwrap().unwrap();
        let (ended, watch) = state(&dir, sql).run(tables(1_200), 3, 0);
        ended.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
        let same = watch.upgrade.lock().unwrap().is_none();
        assert!(same || fates(&watch) == *expected, "{name}: {}", fates(&watch));
        assert!(!same || !expected.contains('r'), "{name} is another program");
        // What the edited program would have said of the first rows was decided then.
        let mut all = rows_of(&[(sql, 600), (sql, 1_200)]);
        for (row, times) in rows_of(&[(sql, 600)]) {
            *all.get_mut(&row).unwrap() -= times;
        }
        for (row, times) in &before {
            *all.entry(row.clone()).or_default() += times;
        }
        all.retain(|_, times| *times != 0);
        assert!(counted(state(&dir, sql).trigger_rows()) == all, "{name}");
        // And a restart is nothing new.
        let (ended, watch) = state(&dir, sql).run(tables(1_200), 1, 0);
        ended.unwrap().unwrap();
        assert!(watch.upgrade.lock().unwrap().is_none(), "{name}");
        assert!(counted(state(&dir, sql).trigger_rows()) == all, "{name}");
    }
}

#[test]
fn an_upgrade_that_is_broken_off_is_done_by_the_next_start() {
    let (first, second) = (base(), base().replacen("'40 seconds'", "'25 seconds'", 1));
    let dir = tempfile::tempdir().unwrap();
    state(&dir, &first).run(tables(600), 2, 0).0.unwrap().unwrap();
    for die_at in [1, 2, 5] {
        state(&dir, &second).run(tables(1_200), 2, die_at);
    }
    state(&dir, &second).run(tables(1_200), 2, 0).0.unwrap().unwrap();
    let once = tempfile::tempdir().unwrap();
    state(&once, &first).run(tables(600), 2, 0).0.unwrap().unwrap();
    state(&once, &second).run(tables(1_200), 2, 0).0.unwrap().unwrap();
    assert!(state(&dir, &second).trigger_rows() == state(&once, &second).trigger_rows());
}

#[test]
fn back_and_forth_fires_nothing_again() {
    let (first, second) = (base(), base().replacen("'40 seconds'", "'25 seconds'", 1));
    let dir = tempfile::tempdir().unwrap();
    for (count, sql) in [(600, &first), (600, &second), (600, &first), (600, &second)] {
        state(&dir, sql).run(tables(count), 2, 0).0.unwrap().unwrap();
    }
    assert!(counted(state(&dir, &first).trigger_rows()) == rows_of(&[(&first, 600)]));
}

#[test]
fn a_log_that_is_too_short_is_said_before_anything_happens() {
    let (first, second) = (base(), base().replacen("'40 seconds'", "'25 seconds'", 1));
    let dir = tempfile::tempdir().unwrap();
    let old = state(&dir, &first);
    let (_, watch) = old.run(tables(1_200), 2, 20);
    let newest = watch.checkpoints.lock().unwrap().last().cloned().unwrap();
    let log = old.log();
    Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
    log.truncate_before(Lsn(newest.oldest.unwrap().log_position)).unwrap();
    drop(log);
    let before = old.trigger_rows();
    let error = state(&dir, &second).run(tables(1_200), 2, 0).0.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::Gap { .. }), "{error}");
    assert!(error.to_string().contains("--accept-gap"), "{error}");
    assert!(old.trigger_rows() == before, "nothing happened");
    let accepted = State { accept_gap: true, ..state(&dir, &second) };
    accepted.run(tables(1_200), 2, 0).0.unwrap().unwrap();
    assert!(accepted.trigger_rows().len() > before.len());
}

#[test]
fn firing_again_is_a_new_series_over_all_that_the_log_has() {
    let (sql, dir) = (base(), tempfile::tempdir().unwrap());
    state(&dir, &sql).run(tables(600), 2, 0).0.unwrap().unwrap();
    let once = counted(state(&dir, &sql).trigger_rows());
    let again = State { refire: true, ..state(&dir, &sql) };
    again.run(tables(600), 1, 0).0.unwrap().unwrap();
    let twice: BTreeMap<_, _> = once.iter().map(|(row, times)| (row.clone(), 2 * times)).collect();
    assert!(counted(again.trigger_rows()) == twice);
    assert_eq!(again.fire_series(), [0, 1]);
    state(&dir, &sql).run(tables(600), 3, 0).0.unwrap().unwrap();
    assert!(counted(again.trigger_rows()) == twice, "only when it is asked for");
    fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
}

#[test]
fn a_source_that_is_read_for_the_first_time_is_caught_up_with() {
    let (first, dir) = (base(), tempfile::tempdir().unwrap());
    let both = |count: i64| {
        let mut both: Tables = tables(count);
        let rows = both.sources["t"].clone();
        both.sources.insert("u".to_owned(), rows);
        both
    };
    let more = format!(
        "{first}{} CREATE TABLE days WITH (connector = 'email', template = 't.mjml');
         INSERT INTO days SELECT k AS recipient_key, k AS dedupe_key, count(*) AS n,
         tumble(INTERVAL '90 seconds') AS w FROM u GROUP BY k, w;",
        SOURCE.replace(" t ", " u ")
    );
    state(&dir, &first).run(tables(600), 2, 0).0.unwrap().unwrap();
    let (ended, watch) = state(&dir, &more).run(both(1_200), 2, 0);
    ended.unwrap().unwrap();
    assert_eq!(fates(&watch), "kkr");
    let rows = counted(state(&dir, &more).trigger_rows());
    let old = rows_of(&[(&first, 600), (&first, 1_200)]);
    assert!(rows == old, "what happened before the edit is not fired for");
    state(&dir, &more).run(both(1_500), 2, 0).0.unwrap().unwrap();
    let rows = counted(state(&dir, &more).trigger_rows());
    let old = rows_of(&[(&first, 600), (&first, 1_200), (&first, 1_500)]);
    let new: Vec<_> = rows.iter().filter(|(row, _)| !old.contains_key(*row)).collect();
    assert!(new.len() >= 7, "the new trigger fires for what happens: {new:?}");
}

#[test]
fn a_table_that_is_looked_up_for_the_first_time_was_always_there() {
    let (first, dir) = (base(), tempfile::tempdir().unwrap());
    let both = |count: i64| {
        let mut both: Tables = tables(count);
        let rows = both.sources["t"].clone();
        both.sources.insert("u".to_owned(), rows);
        both
    };
    let more = format!(
        "{first} CREATE TEMPORARY TABLE u (k TEXT PRIMARY KEY, v BIGINT NOT NULL) WITH (connector = 'generator', rows = 1);
         CREATE TABLE named WITH (connector = 'email', template = 't.mjml');
         INSERT INTO named SELECT t.k AS recipient_key, CAST(t.v AS TEXT) AS dedupe_key, u.v FROM t LEFT JOIN u ON u.k = t.k;"
    );
    state(&dir, &first).run(tables(600), 2, 0).0.unwrap().unwrap();
    let (ended, watch) = state(&dir, &more).run(both(1_200), 2, 0);
    ended.unwrap().unwrap();
    assert_eq!(fates(&watch), "kkr");
    let named = |more: &str, counts: &[i64]| -> i64 {
        let old: Vec<_> = counts.iter().map(|count| (first.as_str(), *count)).collect();
        let old: i64 = rows_of(&old).values().sum();
        counted(state(&dir, more).trigger_rows()).values().sum::<i64>() - old
    };
    assert_eq!(
        named(&more, &[600, 1_200]),
        600,
        "each new row looks something up, and no old one does"
    );
    state(&dir, &more).run(both(1_500), 3, 0).0.unwrap().unwrap();
    assert_eq!(named(&more, &[600, 1_200, 1_500]), 900);
}
