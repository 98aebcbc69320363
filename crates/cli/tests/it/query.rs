//! `postrider query`: SELECTs over files, plain and windowed, as a table, JSON and CSV.

use std::path::{Path, PathBuf};

use crate::process::{postrider, run, write};

const EVENTS: &str = "
CREATE TABLE events (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1 second')
WITH (connector = 'single_file', path = 'events.ndjson', format = 'json');
CREATE VIEW minutes AS
SELECT k, tumble(INTERVAL '1 minute') AS w, sum(v) AS total, count(*) AS n FROM events GROUP BY k, w;
";

const ROWS: &str = r#"{"k":"a","ts":"2026-01-01T00:00:01Z","v":1}
{"k":"b","ts":"2026-01-01T00:00:02.5Z","v":2}
{"k":"a","ts":"2026-01-01T00:00:03Z","v":4}
{"k":"c","ts":"2026-01-01T00:01:00Z"}
{"k":"a","ts":"2026-01-01T00:01:04Z","v":40}
"#;

fn tables(dir: &Path) -> PathBuf {
    write(dir, "events.ndjson", ROWS);
    write(dir, "p.sql", EVENTS)
}

fn answer(file: &Path, format: &str, sql: &str) -> String {
    let mut command = postrider(["query", sql, "--format", format, "--file"]);
    command.arg(file);
    run(command).ok()
}

#[test]
fn windowed_views_are_ordered_and_limited() {
    let dir = tempfile::tempdir().unwrap();
    let file = tables(dir.path());
    let csv = |sql| answer(&file, "csv", sql);
    assert_eq!(
        csv("SELECT k, total FROM minutes ORDER BY total DESC NULLS LAST LIMIT 2"),
        "k,total\na,40\na,5\n"
    );
    assert_eq!(
        csv("SELECT k, w.start AS at, n FROM minutes ORDER BY at DESC, k LIMIT 2 OFFSET 1"),
        "k,at,n\nc,2026-01-01T00:01:00Z,1\na,2026-01-01T00:00:00Z,2\n"
    );
    assert_eq!(
        csv("SELECT count(*) AS windows, sum(n) AS events FROM minutes"),
        "windows,events\n4,5\n"
    );
    assert_eq!(
        csv(
            "SELECT m.k, e.n AS of FROM minutes m JOIN (SELECT k, count(*) AS n FROM events GROUP BY k) e \
             ON m.k = e.k WHERE m.total > 1 ORDER BY m.total"
        ),
        "k,of\nb,1\na,3\na,3\n"
    );
}

#[test]
fn aggregates_without_a_window_take_the_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = tables(dir.path());
    let json = |sql| answer(&file, "json", sql);
    assert_eq!(json("SELECT count(*) AS n, sum(v) AS s FROM events"), "{\"n\":5,\"s\":47}\n");
    assert_eq!(
        json("SELECT k, count(v) AS n, max(ts) AS last FROM events GROUP BY k HAVING count(*) > 1"),
        "{\"k\":\"a\",\"n\":3,\"last\":\"2026-01-01T00:01:04Z\"}\n"
    );
    assert_eq!(json("SELECT count(*) AS n FROM events WHERE v > 1000"), "{\"n\":0}\n");
    assert_eq!(json("SELECT DISTINCT k FROM events ORDER BY k DESC LIMIT 1"), "{\"k\":\"c\"}\n");
    assert_eq!(json("SELECT k FROM events WHERE v > 1000"), "");
}

#[test]
fn the_time_of_the_query_is_one_for_all_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let file = tables(dir.path());
    let csv = |sql| answer(&file, "csv", sql);
    assert_eq!(csv("SELECT k FROM events WHERE ts < now() AND v > 2"), "k\na\na\n");
    assert_eq!(
        csv("SELECT count(*) AS n FROM events WHERE CAST(ts AS DATE) < current_date"),
        "n\n5\n"
    );
    assert_eq!(csv("SELECT k FROM minutes WHERE w.start < now() AND total > 5"), "k\na\n");
    assert_eq!(
        csv("SELECT count(*) AS n FROM events WHERE ts < now() AND random() < 2 \
             GROUP BY tumble(INTERVAL '1 minute') ORDER BY n"),
        "n\n2\n3\n"
    );
    assert_eq!(csv("SELECT DISTINCT now() = (SELECT now()) AS same FROM events"), "same\ntrue\n");
}

#[test]
fn a_step_that_looks_like_the_one_before_is_done_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let file = tables(dir.path());
    let steps = |step: &str, from: &str| {
        format!("{}{from}{}", format!("SELECT {step} FROM (").repeat(3), ")".repeat(3))
    };
    for (step, from, rows) in [
        ("v + 10 AS v", "SELECT v FROM events WHERE k = 'b'", "v\n32\n"),
        ("v + 10 AS v", "SELECT 1 AS v", "v\n31\n"),
        ("k, v * 2 AS v", "SELECT k, v FROM events WHERE k = 'b'", "k,v\nb,16\n"),
        ("v, 'x' || k AS k", "SELECT k, v FROM events WHERE k = 'b'", "v,k\n2,xxxb\n"),
        ("total + 10 AS total", "SELECT sum(v) AS total FROM events", "total\n77\n"),
    ] {
        assert_eq!(answer(&file, "csv", &steps(step, from)), rows, "{step} of {from}");
    }
    let filtered = "SELECT v + 10 AS v FROM (SELECT v + 10 AS v FROM (SELECT v + 10 AS v FROM (SELECT v FROM events)) \
                    WHERE v > 13) WHERE v > 30 ORDER BY v DESC LIMIT 1";
    assert_eq!(answer(&file, "csv", filtered), "v\n70\n");
}

#[test]
fn queries_in_expressions_read_tables_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = tables(dir.path());
    let csv = |sql| answer(&file, "csv", sql);
    assert_eq!(csv("SELECT k FROM events WHERE v > (SELECT avg(v) FROM events)"), "k\na\n");
    assert_eq!(csv("SELECT (SELECT max(total) FROM minutes) AS most"), "most\n40\n");
    assert_eq!(
        csv("SELECT k FROM minutes WHERE total = (SELECT max(total) FROM minutes)"),
        "k\na\n"
    );
    assert_eq!(
        csv(
            "SELECT DISTINCT k FROM events WHERE k IN (SELECT k FROM minutes WHERE total > 1) ORDER BY k"
        ),
        "k\na\nb\n"
    );
    assert_eq!(csv("SELECT k FROM events WHERE EXISTS (SELECT 1 FROM minutes WHERE n > 9)"), "k\n");
    assert_eq!(
        csv(
            "SELECT DISTINCT k, (SELECT max(v) FROM events e WHERE e.k = o.k) AS most FROM events o ORDER BY k"
        ),
        "k,most\na,40\nb,2\nc,\n"
    );
}

#[test]
fn a_query_may_start_with_a_comment() {
    let sql = "-- the answer\nSELECT 41 + 1 AS n";
    assert_eq!(run(postrider(["query", sql, "--format", "csv"])).ok(), "n\n42\n");
    assert_eq!(run(postrider(["query", "--format", "csv", sql])).ok(), "n\n42\n");
    assert_eq!(run(postrider(["query", "-v", "--format=csv", "--", sql])).ok(), "n\n42\n");
    let err = run(postrider(["query", "-- nothing"])).fails_with(2);
    assert!(err.starts_with("error[PR0107]"), "{err}");
}

#[test]
fn each_format_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = tables(dir.path());
    let sql = "SELECT k, ts, v FROM events WHERE k <> 'a' ORDER BY k";
    let table = "\
+---+--------------------------+---+
| k | ts                       | v |
+---+--------------------------+---+
| b | 2026-01-01T00:00:02.500Z | 2 |
| c | 2026-01-01T00:01:00Z     |   |
+---+--------------------------+---+
";
    assert_eq!(answer(&file, "table", sql), table);
    assert_eq!(
        answer(&file, "json", sql),
        "{\"k\":\"b\",\"ts\":\"2026-01-01T00:00:02.500Z\",\"v\":2}\n{\"k\":\"c\",\"ts\":\"2026-01-01T00:01:00Z\"}\n"
    );
    assert_eq!(
        answer(&file, "csv", sql),
        "k,ts,v\nb,2026-01-01T00:00:02.500Z,2\nc,2026-01-01T00:01:00Z,\n"
    );
    let quoted = "SELECT 'a,b' AS x, 'say \"hi\"' AS \"y,z\"";
    assert_eq!(answer(&file, "csv", quoted), "x,\"y,z\"\n\"a,b\",\"say \"\"hi\"\"\"\n");
}

#[test]
fn rows_come_in_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 100000);";
    let file = write(dir.path(), "p.sql", sql);
    let out = answer(&file, "csv", "SELECT n FROM g WHERE n % 2 = 0");
    let numbers = out.lines().skip(1).map(|line| line.parse::<usize>().unwrap());
    assert!(numbers.eq((0..100_000).step_by(2)));
    assert_eq!(
        answer(&file, "csv", "SELECT n FROM g LIMIT 3 OFFSET 9000"),
        "n\n9000\n9001\n9002\n"
    );
}

#[test]
fn a_query_needs_no_file_and_one_bounded_select() {
    assert_eq!(
        run(postrider(["query", "SELECT 1 + 1 AS two", "--format", "csv"])).ok(),
        "two\n2\n"
    );
    let found = run(postrider(["query", "SELECT 1 AS one WHERE false"]));
    assert!(found.err.contains("0 rows"), "{}", found.err);
    assert!(found.ok().contains("| one |"));
    let dir = tempfile::tempdir().unwrap();
    let endless = "CREATE TABLE g (n BIGINT) WITH (connector = 'generator');
        CREATE TABLE c (n BIGINT) WITH (connector = 'collector');";
    let file = write(dir.path(), "p.sql", endless);
    for (sql, code) in [
        ("SELECT n FROM g LIMIT 1", "PR0423"),
        ("SELECT count(*) FROM c", "PR0423"),
        ("SELECT nope FROM g", "PR02"),
        ("SELECT 1; SELECT 2", "PR0107"),
        ("INSERT INTO g SELECT 1", "PR0107"),
        ("", "PR0107"),
    ] {
        let mut command = postrider(["query", sql, "--file"]);
        command.arg(&file);
        let err = run(command).fails_with(2);
        assert!(err.starts_with(&format!("error[{code}")), "{sql}: {err}");
        assert!(sql.is_empty() || err.contains('^'), "{sql}: {err}");
    }
}
