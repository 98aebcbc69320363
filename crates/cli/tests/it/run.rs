//! `postrider run`: what goes in comes out, bad records are kept, a restart goes on.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use crate::process::{
    Running, Signal, eventually, json_lines, postrider, run, run_pipeline, write,
};

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// `postrider run` of a pipeline that needs no state.
fn run_file(file: &Path) -> Command {
    let mut command = postrider(["run"]);
    command.arg(file);
    command
}

#[test]
fn a_bare_select_prints_rows() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 5);
        SELECT n * 10 AS tens FROM g WHERE n % 2 = 0;";
    let file = write(dir.path(), "p.sql", sql);
    assert_eq!(run(run_file(&file)).ok(), "{\"tens\":0}\n{\"tens\":20}\n{\"tens\":40}\n");
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 2);
        CREATE TABLE shown WITH (connector = 'stdout', format = 'json'); INSERT INTO shown SELECT n FROM g;";
    let file = write(dir.path(), "q.sql", sql);
    assert_eq!(run(run_file(&file)).ok(), "{\"n\":0}\n{\"n\":1}\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', events_per_second = 2000);
        SELECT n FROM g;";
    let endless = write(dir.path(), "p.sql", sql);
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 200000); SELECT n FROM g;";
    let many = write(dir.path(), "q.sql", sql);
    let mut query = postrider(["query", "SELECT n FROM g", "--format", "json", "--file"]);
    query.arg(&many);
    for mut command in [run_file(&endless), run_file(&many), query] {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Reads one row and closes the pipe, as `head -1` does.
        let mut row = [0; 8];
        child.stdout.take().unwrap().read_exact(&mut row).unwrap();
        assert_eq!(&row, b"{\"n\":0}\n");
        eventually("the end of a run that nobody reads", || child.try_wait().unwrap().is_some());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
        assert!(!err.contains("panicked") && !err.contains("error"), "{err}");
    }
}

#[test]
fn rows_pass_through_files_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let columns =
        "(i BIGINT, f DOUBLE, b BOOLEAN, t TEXT, ts TIMESTAMP NOT NULL, d DATE, WATERMARK FOR ts)";
    let rows = r#"{"i":-9007199254740993,"f":0.1,"b":true,"t":"Zoë, \"x\"\n\u0001","ts":"2026-01-01T00:00:00.000000001Z","d":"2026-02-28"}
{"ts":"1969-12-31T23:59:59.999Z"}
"#;
    write(dir.path(), "in.ndjson", rows);
    let step = |name: &str, from: &str, to: &str| {
        let sql = format!(
            "CREATE TABLE source {columns} WITH (connector = 'single_file', path = '{from}', format = 'json');
             CREATE TABLE sink WITH (connector = 'single_file', path = '{to}', format = 'json');
             INSERT INTO sink SELECT * FROM source;"
        );
        run(run_file(&write(dir.path(), name, &sql))).ok();
        fs::read_to_string(dir.path().join(to)).unwrap()
    };
    let once = step("a.sql", "in.ndjson", "once.ndjson");
    let twice = step("b.sql", "once.ndjson", "twice.ndjson");
    assert_eq!(once, twice);
    assert_eq!(json_lines(&once), json_lines(rows));
}

#[test]
fn a_hundred_thousand_generated_rows_fall_into_the_blackhole() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE g (user_id TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
            WITH (connector = 'generator', rows = 100000, keys = 100);
        CREATE TABLE hole WITH (connector = 'blackhole');
        INSERT INTO hole SELECT user_id, count(*) AS n FROM g GROUP BY user_id, tumble(INTERVAL '1 minute');";
    let file = write(dir.path(), "p.sql", sql);
    let found = run(run_file(&file));
    assert!(found.err.contains("100,000 rows, 0 late, 0 rejected"), "{}", found.err);
    assert_eq!(found.ok(), "");
}

const BAD: &[u8] = b"{\"k\":\"a\",\"ts\":\"2026-01-01T00:00:01Z\",\"v\":1}\n\
    {\"k\":\"b\",\"ts\":\"2026-01-01T00:00:02Z\",\"v\":2}\nnot json\n\
    {\"k\":\"a\",\"ts\":\"2026-01-01T00:01:03Z\",\"v\":\"three\"}\n\
    {\"ts\":\"2026-01-01T00:01:03Z\"}\n{\"k\":\"c\",\"ts\":\"soon\"}\n\xff\n\
    {\"k\":\"a\",\"ts\":\"2026-01-01T00:01:04Z\",\"v\":40}\n";

/// Where a line of [`BAD`] starts.
fn position(line: usize) -> usize {
    BAD.split_inclusive(|byte| *byte == b'\n').take(line).map(<[u8]>::len).sum()
}

fn bad_rows(options: &str) -> String {
    format!(
        "CREATE TABLE events (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT, WATERMARK FOR ts)
             WITH (connector = 'single_file', path = 'events.ndjson'{options});
         CREATE TABLE o WITH (connector = 'single_file', path = 'out.ndjson');
         INSERT INTO o SELECT k, v FROM events;"
    )
}

#[test]
fn bad_records_are_kept_with_reason_and_position_and_the_good_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.ndjson"), BAD).unwrap();
    let file = write(dir.path(), "good.sql", &bad_rows(""));
    let state = dir.path().join("state");
    let letters = state.join("dead_letters/good.dead-letters.ndjson");
    let found = run(run_pipeline(&file, &state));
    assert!(found.err.contains("3 rows, 0 late, 5 rejected"), "{}", found.err);
    assert!(found.err.contains(&letters.display().to_string()), "{}", found.err);
    found.ok();
    let written = fs::read_to_string(dir.path().join("out.ndjson")).unwrap();
    assert_eq!(written, "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":2}\n{\"k\":\"a\",\"v\":40}\n");
    let letters = json_lines(&fs::read_to_string(letters).unwrap());
    let short: Vec<_> = letters
        .iter()
        .map(|letter| (letter["position"].as_str().unwrap(), letter["reason"].as_str().unwrap()))
        .collect();
    let reasons = ["bad_json", "wrong_type", "missing_value", "bad_value", "bad_utf8"];
    let positions: Vec<String> = (2..7).map(|line| position(line).to_string()).collect();
    let expected = positions.iter().map(String::as_str).zip(reasons);
    assert!(short.iter().copied().eq(expected), "{short:?}");
    assert_eq!((&letters[0]["table"], &letters[0]["raw"]), (&"events".into(), &"not json".into()));
    assert_eq!(letters[4]["raw_base64"], "/w==");
    assert!(letters[1]["message"].as_str().unwrap().contains("`v`"), "{}", letters[1]);

    // Without a state nothing can be kept, and that is said.
    let found = run(run_file(&file));
    assert!(found.err.contains("5 bad records left out; --state-dir keeps them"), "{}", found.err);
    found.ok();
}

#[test]
fn bad_data_fail_stops_at_the_first_bad_record() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.ndjson"), BAD).unwrap();
    let file = write(dir.path(), "strict.sql", &bad_rows(", bad_data = 'fail'"));
    let err = run(run_file(&file)).fails_with(1);
    let words =
        format!("table `events` has bad_data = 'fail' and its record at {} is bad: ", position(2));
    assert!(err.contains(&words), "{err}");
}

#[test]
fn a_folder_of_files_goes_into_a_folder_of_parts() {
    let dir = tempfile::tempdir().unwrap();
    for (name, row) in [("b", 3), ("a", 1), ("c", 5)] {
        let text = format!("{{\"n\":{row}}}\n{{\"n\":{}}}\n", row + 1);
        write(dir.path(), &format!("in/{name}.ndjson"), &text);
    }
    write(dir.path(), "in/notes.txt", "not for us");
    let sql = "CREATE TABLE source (n BIGINT) WITH (connector = 'filesystem', path = 'in', pattern = '*.ndjson');
        CREATE TABLE sink WITH (connector = 'filesystem', path = 'out');
        INSERT INTO sink SELECT n FROM source;";
    run(run_file(&write(dir.path(), "p.sql", sql))).ok();
    let parts = fs::read_dir(dir.path().join("out")).unwrap().map(|part| part.unwrap().path());
    let text: String = parts.map(|part| fs::read_to_string(part).unwrap()).collect();
    let numbers: Vec<_> = json_lines(&text).iter().map(|row| row["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE g (n BIGINT NOT NULL, user_id TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
            WITH (connector = 'generator', rows = 3000, events_per_second = 1000, keys = 5, interval = INTERVAL '1 second');
        CREATE TABLE o WITH (connector = 'single_file', path = 'out.ndjson'); INSERT INTO o SELECT n FROM g;
        CREATE TABLE counts WITH (connector = 'single_file', path = 'counts.ndjson');
        INSERT INTO counts SELECT user_id, count(*) AS n FROM g GROUP BY user_id, tumble(INTERVAL '10 minutes');";
    let file = write(dir.path(), "p.sql", sql);
    let (state, out) = (dir.path().join("state"), dir.path().join("out.ndjson"));
    for stop in [Signal::TERM, Signal::INT] {
        let before = lines(&out);
        let mut running = Running::start(run_pipeline(&file, &state));
        eventually("rows", || lines(&out) >= before + 200);
        let err = running.stop(stop);
        assert!(err.contains("stopping: finishing what is on its way"), "{err}");
        // It stopped in good order, so it knows what it did.
        assert!(err.contains(" rows, 0 late, 0 rejected"), "{err}");
        assert!(lines(&out) < 3000, "the stop came too late to show anything");
    }
    let found = run(run_pipeline(&file, &state));
    assert!(found.err.contains("restored checkpoint "), "{}", found.err);
    found.ok();
    let written = json_lines(&fs::read_to_string(&out).unwrap());
    let numbers = written.iter().map(|row| row["n"].as_i64().unwrap());
    assert!(numbers.eq(0..3000), "each row once, in order");
    let counts = json_lines(&fs::read_to_string(dir.path().join("counts.ndjson")).unwrap());
    assert_eq!(counts.len(), 25);
    assert_eq!(counts.iter().map(|row| row["n"].as_i64().unwrap()).sum::<i64>(), 3000);
}
