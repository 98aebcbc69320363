//! Wrong SQL: a code, a place, a caret, a hint; and whatever the text is, an error and never a crash.

use std::time::Duration;

use crate::process::{Finished, postrider, run, write};

/// How long a hopeless text may take, in a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(2);

fn check(text: &str) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let mut command = postrider(["check"]);
    command.arg(write(dir.path(), "a.sql", text));
    run(command)
}

#[test]
fn a_mistake_shows_code_line_caret_and_hint() {
    let err = check(
        "CREATE TABLE events (a BIGINT) WITH (connector = 'generator', rows = 1);\nSELECT b\nFROM evnts;",
    )
    .fails_with(2);
    assert!(err.starts_with("error[PR0201]: "), "{err}");
    assert!(err.contains(" --> ") && err.contains("a.sql:3:6"), "{err}");
    assert!(err.contains("3 | FROM evnts;\n  |      ^^^^^"), "{err}");
    assert!(err.contains("= help: ") && err.contains("`events`"), "{err}");
    assert!(
        err.trim_end().ends_with("a.sql: 1 error; why, and what passes: postrider errors PR0201"),
        "{err}"
    );
}

#[test]
fn every_mistake_of_every_file_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let two = "CREATE TABLE g (a BIGINT) WITH (connector = 'generatr');
        CREATE TABLE h (a BIGINT) WITH (connector = 'generator', rws = 1);
        SELECT a FROM g; SELECT a FROM h;";
    let mut command = postrider(["check"]);
    command.arg(write(dir.path(), "one.sql", two));
    command.arg("pipelines/winback/pipeline.sql");
    command.arg(write(dir.path(), "two.sql", "SELECT nope;"));
    let found = run(command);
    assert!(found.out.contains("ok  pipelines/winback/pipeline.sql"), "{}", found.out);
    let err = found.fails_with(2);
    for words in [
        "did you mean 'generator'",
        "has no option `rws`",
        "one.sql: 2 errors",
        "two.sql:1:8",
        "two.sql: 1 error",
    ] {
        assert!(err.contains(words), "{words} in {err}");
    }
}

#[test]
fn tables_are_used_as_their_connectors_can_be() {
    let generator = "CREATE TABLE g (a BIGINT) WITH (connector = 'generator', rows = 1);";
    let err = check(&format!(
        "{generator} CREATE TABLE c (a BIGINT) WITH (connector = 'collector'); INSERT INTO c SELECT a FROM g;"
    ))
    .fails_with(2);
    assert!(
        err.starts_with("error[PR0304]: table `c`: a `collector` table can't be written"),
        "{err}"
    );
    assert!(err.contains("single_file, filesystem, stdout"), "{err}");
    let err = check(
        "CREATE TABLE g (a BIGINT) WITH (rows = 1,\n  connector = 'generatr'); SELECT a FROM g;",
    )
    .fails_with(2);
    assert!(err.contains("a.sql:2:15") && err.contains("^^^^^^^^^^"), "{err}");
    // A table that is declared for later is worth a warning.
    let found = check(&format!(
        "{generator} CREATE TABLE later (a BIGINT) WITH (connector = 'blackhole'); SELECT a FROM g;"
    ));
    assert!(found.err.starts_with("warning[PR0209]"), "{}", found.err);
    found.ok();
}

#[test]
fn email_sinks_are_checked_against_their_template() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "t.mjml",
        "<mjml><mj-body><mj-section><mj-column><mj-text>{{ naem }}</mj-text></mj-column></mj-section></mj-body></mjml>",
    );
    let sql = "CREATE TABLE g (user_id TEXT NOT NULL) WITH (connector = 'generator', rows = 1);
        CREATE TABLE m WITH (connector = 'email', template = 't.mjml', subject = 'Hi', from = 'a@b.example');
        INSERT INTO m SELECT user_id AS recipient_key, user_id AS dedupe_key, user_id AS name FROM g;";
    let mut command = postrider(["check"]);
    command.arg(write(dir.path(), "m.sql", sql));
    let err = run(command).fails_with(2);
    assert!(err.contains("error[PR05") && err.contains("naem"), "{err}");
}

#[test]
fn texts_that_are_no_sql_are_errors_and_never_crash() {
    let nested = format!("SELECT {}1{};", "(".repeat(10_000), ")".repeat(10_000));
    let sum = format!("SELECT 1{};", "+1".repeat(20_000));
    let condition = format!("SELECT 1 WHERE true{};", " OR true".repeat(20_000));
    let minus = format!("SELECT {}1;", "- ".repeat(30_000));
    let cases =
        format!("SELECT {}1{};", "CASE WHEN true THEN ".repeat(2_000), " END".repeat(2_000));
    let selects = format!("{}SELECT 1{};", "SELECT * FROM (".repeat(2_000), ") x".repeat(2_000));
    let no_sql =
        ["", " ", ";", "-- nothing", "'", "hello, is this thing on?", "\u{0}\u{1}", "\u{1f48c}"];
    let deep = [&nested, &sum, &condition, &minus, &cases, &selects];
    for text in no_sql.into_iter().chain(deep.map(String::as_str)) {
        let found = check(text);
        let shown = text.chars().take(40).collect::<String>();
        assert!(found.took < SOON, "{shown} took {:?}", found.took);
        let err = found.fails_with(2);
        assert!(err.starts_with("error[PR"), "{shown}: {err}");
        assert!(err.len() < 2_000, "{shown}: {} bytes of error", err.len());
        if text.len() < 100_000 {
            let found = run(postrider(["query", &text.replace('\0', "\u{2}")]));
            assert!(found.took < SOON, "{shown} took {:?}", found.took);
            assert!(found.fails_with(2).starts_with("error[PR"), "{shown}");
        }
    }
}

#[test]
fn a_file_that_is_no_text_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sql");
    std::fs::write(&path, [0xff, 0xfe, 0, 1]).unwrap();
    let mut command = postrider(["check"]);
    command.arg(&path);
    let err = run(command).fails_with(2);
    assert!(err.contains("a.sql") && err.contains("UTF-8"), "{err}");
}
