//! What holds for every command: help, exit codes, one process a state.

use crate::{
    mailbox::outbox,
    process::{Running, Signal, postrider, root, run, run_pipeline, write},
};

const COMMANDS: [&str; 12] = [
    "demo", "run", "check", "errors", "explain", "query", "test", "outbox", "state", "log",
    "mailbox", "bench",
];

#[test]
fn every_command_shows_an_example_in_its_help() {
    let all = run(postrider(["--help"])).ok();
    for name in COMMANDS {
        let out = run(postrider([name, "--help"])).ok();
        let (_, examples) = out.split_once("Example").unwrap_or_else(|| panic!("{out}"));
        assert!(examples.contains(&format!("postrider {name}")), "{out}");
        assert!(all.contains(&format!("\n  {name} ")), "{name} in {all}");
    }
    for name in ["list", "show", "verify", "export", "diff", "save", "forget", "gc"] {
        let out = run(postrider(["state", name, "--help"])).ok();
        let (_, examples) = out.split_once("Example").unwrap_or_else(|| panic!("{out}"));
        assert!(examples.contains(&format!("state {name} ")), "{out}");
    }
    for name in ["verify", "repair"] {
        let out = run(postrider(["log", name, "--help"])).ok();
        let (_, examples) = out.split_once("Example").unwrap_or_else(|| panic!("{out}"));
        assert!(examples.contains(&format!("log {name} ")), "{out}");
    }
    assert!(all.contains("Exit codes: 0 ok, 1 the work failed"), "{all}");
}

#[test]
fn the_gallery_passes_its_check_and_explains_itself() {
    let gallery = std::fs::read_dir(root().join("pipelines")).unwrap();
    let names = gallery.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Who wants to know the hundredth order has to remember every customer; its README says so.
    let (lasting, others): (Vec<_>, Vec<_>) = names.partition(|name| name == "milestone");
    let check = |names: &[String]| {
        let files: Vec<_> =
            names.iter().map(|name| format!("pipelines/{name}/pipeline.sql")).collect();
        let found =
            run(postrider(std::iter::once("check").chain(files.iter().map(String::as_str))));
        let (out, err) = (found.out.clone(), found.err.clone());
        found.ok();
        assert_eq!(out.lines().filter(|line| line.starts_with("ok ")).count(), files.len());
        err
    };
    assert_eq!(check(&others), "", "what people copy gives no warning");
    let warnings = check(&lasting);
    assert_eq!(warnings.matches("warning[").count(), 1, "{warnings}");
    assert!(warnings.starts_with("warning[PR0418]: every `user_id` is remembered"), "{warnings}");
    let out = run(postrider(["explain", "pipelines/abandoned_cart/pipeline.sql"])).ok();
    for words in
        ["source events (collector)", "gap of 1 hour", "keyed by", "sink reminders (email)"]
    {
        assert!(out.contains(words), "{words} in {out}");
    }
    let out = run(postrider(["explain", "pipelines/winback/pipeline.sql", "--mermaid"])).ok();
    assert!(out.starts_with("flowchart LR"), "{out}");
}

#[test]
fn bad_usage_is_2() {
    for args in [
        &["bogus"][..],
        &["run"],
        &["check"],
        &["query"],
        &["query", "SELECT 1", "--format", "xml"],
        &["demo", "--speed", "0"],
        &["run", "no_such.sql"],
        &["check", "no_such.sql"],
        &["explain", "no_such.sql"],
        &["query", "SELECT 1", "--file", "no_such.sql"],
        &["outbox", "--state-dir", "no_such_dir"],
    ] {
        let err = run(postrider(args)).fails_with(2);
        assert!(err.starts_with("error: "), "{args:?}: {err}");
    }
    let err = run(postrider(["outbox", "--state-dir", "no_such_dir"])).fails_with(2);
    assert!(err.contains("no_such_dir") && err.contains("--state-dir of a run"), "{err}");
    let err = run(outbox(&root(), &["--state", "lost"])).fails_with(2);
    assert!(err.contains("in_doubt"), "the states are named: {err}");
}

#[test]
fn what_a_run_lacks_is_said_before_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let cart = root().join("pipelines/abandoned_cart/pipeline.sql");
    let winback = root().join("pipelines/winback/pipeline.sql");
    let cases: [(_, &[&str], &str); 5] = [
        (&cart, &["--write-key", "server:k"], "--smtp smtp://host:port, or --mail-dir DIR"),
        (&cart, &["--mail-dir", "mails"], "--write-key server:sk_live_1"),
        (&cart, &["--mail-dir", "mails", "--write-key", "k"], "`server:KEY` or `browser:KEY`"),
        (&cart, &["--smtp", "relay", "--write-key", "server:k"], "smtp://user:password@host:587"),
        (&winback, &["--mail-dir", "mails"], "environment variable PURCHASES is not set"),
    ];
    for (file, more, words) in cases {
        let mut command = run_pipeline(file, &state);
        command.args(more).current_dir(&dir).env_remove("PURCHASES");
        let err = run(command).fails_with(2);
        assert!(err.contains(words), "{words} in {err}");
    }
    let mut command = run_pipeline(&winback, &state);
    command.args(["--mail-dir", "mails"]).current_dir(&dir).env("PURCHASES", "gone.ndjson");
    let err = run(command).fails_with(2);
    assert!(err.contains("gone.ndjson") && err.contains("pipeline.sql:"), "{err}");
}

#[test]
fn pipelines_that_share_a_run_have_names_and_a_state_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 2);
        CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o SELECT n FROM g;";
    let files = ["a/carts.sql", "b/carts.sql", "carts/pipeline.sql", "c/other.sql"]
        .map(|name| write(dir.path(), name, sql));
    for two in [[0, 1], [1, 2], [3, 3]] {
        let mut command = postrider(["run"]);
        command.args(two.map(|file| &files[file])).current_dir(&dir);
        let err = run(command).fails_with(2);
        assert!(err.contains("are both pipeline `") && err.contains("rename"), "{err}");
    }
    let mut command = postrider(["run"]);
    command.args([&files[0], &files[3]]).current_dir(&dir);
    run(command).ok();

    // Which file comes first, or whether another joins, must not decide where the sends are remembered.
    let pushed = "CREATE TABLE c (n BIGINT) WITH (connector = 'collector'); SELECT n FROM c;";
    let pushed = write(dir.path(), "pushed.sql", pushed);
    for files in [[&pushed, &files[0]], [&files[0], &pushed]] {
        let mut command = postrider(["run", "--write-key", "server:sk", "--listen", "127.0.0.1:0"]);
        command.args(files).current_dir(&dir);
        let err = run(command).fails_with(2);
        assert!(err.contains("--state-dir .postrider/"), "{err}");
    }
    assert!(!dir.path().join(".postrider").exists());
}

#[test]
fn output_that_is_lost_is_a_failure_and_one_that_nobody_wants_is_none() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let closed = || std::io::pipe().unwrap().1;
    let dir = tempfile::tempdir().unwrap();
    let wrong = write(dir.path(), "wrong.slt", "query I\nSELECT 1 + 1\n----\n3\n");
    let bad = write(dir.path(), "bad.sql", "SELECT nope;");
    let good = "pipelines/abandoned_cart/pipeline.sql";
    let code = |args: &[&str], out: std::process::Stdio| {
        let out = postrider(args).stdout(out).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    for args in [&["check", good][..], &["query", "SELECT 1"], &["explain", good]] {
        let (status, err) = code(args, full().into());
        assert_eq!(status, Some(1), "{args:?} {err}");
        assert!(err.contains("the output could not be written: "), "{err}");
        assert_eq!(code(args, closed().into()).0, Some(0), "{args:?}");
    }
    // Whether it is right is asked for even where nobody reads why.
    let (wrong, bad) = (wrong.display().to_string(), bad.display().to_string());
    assert_eq!(code(&["check", good, &bad], closed().into()).0, Some(2));
    assert_eq!(code(&["test", &wrong], closed().into()).0, Some(1));
}

#[test]
fn a_second_process_on_the_same_state_is_refused_with_75() {
    let dir = tempfile::tempdir().unwrap();
    let sql =
        "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', events_per_second = 10);
        CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o SELECT n FROM g;";
    let file = write(dir.path(), "p.sql", sql);
    let state = dir.path().join("state");
    let mut first = Running::start(run_pipeline(&file, &state));
    first.err_after("pipeline p");
    let err = run(run_pipeline(&file, &state)).fails_with(75);
    assert!(err.contains("state"), "{err}");
    first.stop(Signal::TERM);
    // The state is free again.
    let mut third = Running::start(run_pipeline(&file, &state));
    third.err_after("pipeline p");
    third.stop(Signal::TERM);
}

#[test]
fn a_changed_pipeline_goes_on_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let sql = |condition: &str| {
        format!(
            "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 5);
             CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o SELECT n FROM g WHERE {condition};"
        )
    };
    let file = write(dir.path(), "p.sql", &sql("n > 1"));
    let state = dir.path().join("state");
    run(run_pipeline(&file, &state)).ok();
    write(dir.path(), "p.sql", &sql("n > 2"));
    let found = run(run_pipeline(&file, &state));
    for words in ["pipeline p  changed since checkpoint ", "keeps no state", "nothing fires again"]
    {
        assert!(found.err.contains(words), "{words} in {}", found.err);
    }
    found.ok();
}

#[test]
fn fixtures_pass_or_say_what_differs() {
    let out = run(postrider(["test", "sql/windows/session_gap.slt"]));
    assert_eq!(out.code(), 0, "{}\n{}", out.out, out.err);
    let dir = tempfile::tempdir().unwrap();
    let wrong = write(dir.path(), "wrong.slt", "query I\nSELECT 1 + 1\n----\n3\n");
    let mut command = postrider(["test"]);
    command.arg(wrong);
    let found = run(command);
    assert!(found.out.contains("wrong.slt:1: "), "{}", found.out);
    let err = found.fails_with(1);
    assert!(err.contains("1 of 1 fixtures failed"), "{err}");
    run(postrider(["test", "sql/no_such.slt"])).fails_with(2);
}
