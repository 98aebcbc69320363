//! Every command: help, exit codes, what it prints.

use std::{path::Path, time::Instant};

use crate::process::{Finished, Running, postrider, run};

fn check(text: &str) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.sql");
    std::fs::write(&file, text).unwrap();
    let mut command = postrider(["check"]);
    command.arg(&file);
    run(command)
}

#[test]
fn every_command_shows_an_example_in_its_help() {
    for name in ["demo", "run", "check", "explain", "query", "test", "outbox", "mailbox", "bench"] {
        let out = run(postrider([name, "--help"])).ok();
        assert!(
            out.contains(&format!("  postrider {name}")) || out.contains("postrider run"),
            "{out}"
        );
        assert!(out.contains("Example"), "{out}");
    }
}

#[test]
fn the_gallery_passes_its_check_and_explains_itself() {
    let files = ["pipelines/abandoned_cart/pipeline.sql", "pipelines/winback/pipeline.sql"];
    let out = run(postrider([&["check"], &files[..]].concat())).ok();
    assert_eq!(out.lines().filter(|line| line.starts_with("ok ")).count(), 2);
    let out = run(postrider(["explain", files[0]])).ok();
    for words in
        ["source events (collector)", "gap of 1 hour", "keyed by", "sink reminders (email)"]
    {
        assert!(out.contains(words), "{words} in {out}");
    }
    let out = run(postrider(["explain", files[1], "--mermaid"])).ok();
    assert!(out.starts_with("flowchart LR"), "{out}");
}

#[test]
fn a_mistake_shows_code_line_caret_and_hint() {
    let found = check(
        "CREATE TABLE events (a BIGINT) WITH (connector = 'generator', rows = 1);\nSELECT b\nFROM evnts;",
    );
    assert_eq!(found.code(), 2);
    for part in ["error[PR0201]", "a.sql:3:6", "^^^^^", "help: ", "events"] {
        assert!(found.err.contains(part), "{part} in {}", found.err);
    }
}

#[test]
fn texts_that_are_no_sql_are_errors_and_never_crash() {
    let nested = format!("SELECT {}1{};", "(".repeat(10_000), ")".repeat(10_000));
    let chain = format!("SELECT 1{};", "+1".repeat(20_000));
    for text in ["hello, is this thing on?", "\u{0}\u{1}", "'", &nested, &chain, ""] {
        let started = Instant::now();
        let found = check(text);
        assert_eq!(found.code(), 2, "{}", found.err);
        assert!(found.err.contains("error[PR"), "{}", found.err);
        assert!(started.elapsed().as_secs() < 10);
    }
}

fn write_events(dir: &Path) {
    let events = "{\"k\":\"a\",\"ts\":\"2026-01-01T00:00:01Z\",\"v\":1}\n\
        {\"k\":\"b\",\"ts\":\"2026-01-01T00:00:02Z\",\"v\":2}\nnot json\n\
        {\"k\":\"a\",\"ts\":\"2026-01-01T00:01:03Z\",\"v\":\"three\"}\n\
        {\"k\":\"a\",\"ts\":\"2026-01-01T00:01:04Z\",\"v\":40}\n";
    std::fs::write(dir.join("events.ndjson"), events).unwrap();
}

const EVENTS: &str = "CREATE TABLE events (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT,
    WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'single_file', path = 'events.ndjson'";

#[test]
fn a_query_answers_over_files_and_windows() {
    let dir = tempfile::tempdir().unwrap();
    write_events(dir.path());
    let file = dir.path().join("p.sql");
    let view = "CREATE VIEW minutes AS SELECT k, tumble(INTERVAL '1 minute') AS w, sum(v) AS total FROM events GROUP BY k, w;";
    std::fs::write(&file, format!("{EVENTS}); {view} SELECT * FROM minutes;")).unwrap();
    let query = |sql: &str, format: &str| {
        let mut command = postrider(["query", sql, "--format", format, "--file"]);
        command.arg(&file);
        run(command).ok()
    };
    assert_eq!(
        query("SELECT k, total FROM minutes ORDER BY total DESC LIMIT 2", "csv"),
        "k,total\na,40\nb,2\n"
    );
    assert_eq!(
        query("SELECT count(*) AS n, sum(v) AS s FROM events", "json"),
        "{\"n\":3,\"s\":43}\n"
    );
    assert!(
        query("SELECT w.start FROM minutes WHERE k = 'b'", "table").contains("2026-01-01T00:00:00")
    );
    assert_eq!(
        run(postrider(["query", "SELECT 1 + 1 AS two", "--format", "csv"])).ok(),
        "two\n2\n"
    );
    assert_eq!(run(postrider(["query", "SELECT nope"])).code(), 2);
}

#[test]
fn bad_rows_are_kept_with_reason_and_position_and_the_good_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    write_events(dir.path());
    let pipeline = |name: &str, options: &str| {
        let file = dir.path().join(name);
        let sink = "CREATE TABLE o WITH (connector = 'single_file', path = 'out.ndjson');";
        std::fs::write(
            &file,
            format!("{EVENTS}{options}); {sink} INSERT INTO o SELECT k, v FROM events;"),
        )
        .unwrap();
        let mut command = postrider(["run"]);
        command.arg(&file).arg("--state-dir").arg(dir.path().join(format!("{name}.state")));
        run(command)
    };
    let ran = pipeline("good.sql", "");
    assert!(ran.err.contains("3 rows") && ran.err.contains("2 rejected"), "{}", ran.err);
    ran.ok();
    let written = std::fs::read_to_string(dir.path().join("out.ndjson")).unwrap();
    assert_eq!(written, "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":2}\n{\"k\":\"a\",\"v\":40}\n");
    let letters = dir.path().join("good.sql.state/dead_letters/good.dead-letters.ndjson");
    let letters = std::fs::read_to_string(letters).unwrap();
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    assert_eq!(
        (&letters[0]["reason"], &letters[0]["raw"]),
        (&"bad_json".into(), &"not json".into())
    );
    assert_eq!(letters[0]["position"], "88");
    assert_eq!(letters[1]["reason"], "wrong_type");
    let ran = pipeline("strict.sql", ", bad_data = 'fail'");
    assert_eq!(ran.code(), 1);
    assert!(ran.err.contains("88"), "{}", ran.err);
}

#[test]
fn a_bare_select_prints_rows_and_a_closed_pipe_is_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.sql");
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 5);
        SELECT n * 10 AS tens FROM g WHERE n % 2 = 0;";
    std::fs::write(&file, sql).unwrap();
    let mut command = postrider(["run"]);
    command.arg(&file);
    assert_eq!(run(command).ok(), "{\"tens\":0}\n{\"tens\":20}\n{\"tens\":40}\n");
}

#[test]
fn a_second_process_on_the_same_state_is_refused_with_75() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.sql");
    let sql =
        "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', events_per_second = 10);
        CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o SELECT n FROM g;";
    std::fs::write(&file, sql).unwrap();
    let command = || {
        let mut command = postrider(["run"]);
        command.arg(&file).arg("--state-dir").arg(dir.path().join("state"));
        command
    };
    let mut first = Running::start(command());
    first.err_after("pipeline p");
    let second = run(command());
    assert_eq!(second.code(), 75, "{}", second.err);
    first.signal("TERM");
    assert!(first.wait().success(), "{}", first.rest_of_err());
}
