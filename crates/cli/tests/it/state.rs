//! `postrider state` and `run --plan`: what is kept of a pipeline, told, checked, saved and gone back to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use postrider_store::{Log, LogOptions, Lsn, Outbox};

use crate::process::{
    Finished, Running, Signal, eventually, json_lines, postrider, run, run_pipeline, write,
};

/// Two windows, each of which feeds a file.
fn sql(gap: &str, size: &str) -> String {
    format!(
        "CREATE TABLE g (n BIGINT NOT NULL, user_id TEXT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
             WITH (connector = 'generator', rows = 3000, events_per_second = 400, keys = 5, interval = INTERVAL '1 second');
         CREATE TABLE counts WITH (connector = 'single_file', path = 'counts.ndjson');
         INSERT INTO counts SELECT user_id, count(*) AS n FROM g GROUP BY user_id, tumble(INTERVAL '{size}');
         CREATE TABLE visits WITH (connector = 'single_file', path = 'visits.ndjson');
         INSERT INTO visits SELECT user_id, count(*) AS n FROM g GROUP BY user_id, session(INTERVAL '{gap}');"
    )
}

struct Shop {
    dir: tempfile::TempDir,
    file: PathBuf,
    state: PathBuf,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = write(dir.path(), "shop.sql", &sql("1 hour", "10 minutes"));
        let state = dir.path().join("state");
        Self { dir, file, state }
    }

    /// Runs until a checkpoint is there and some rows went out, then stops.
    fn run_partly(&self) -> String {
        let mut command = run_pipeline(&self.file, &self.state);
        command.args(["--checkpoint-every", "1", "--log-segment-bytes", "4096"]);
        let mut running = Running::start(command);
        eventually("a checkpoint", || self.manifests().len() > 1);
        running.stop(Signal::TERM)
    }

    fn manifests(&self) -> Vec<PathBuf> {
        files(&self.state.join("checkpoints/shop/manifest"))
    }

    fn state(&self, args: &[&str]) -> Finished {
        let mut command = postrider(["state"]);
        command.args(args).arg("--state-dir").arg(&self.state);
        run(command)
    }

    fn newest(&self) -> u64 {
        let out = self.state(&["list", "--format", "json"]).ok();
        json_lines(&out)[0]["checkpoint"].as_u64().unwrap()
    }

    /// Deletes the log before the newest checkpoint, as housekeeping does once all others are gone.
    fn cut_log(&self) {
        let log = Log::open(LogOptions::new(&self.state)).unwrap().log;
        Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
        let shown = &json_lines(&self.state(&["show", "shop", "--format", "json"]).ok())[0];
        let newest = Lsn(shown["log_position"].as_u64().unwrap());
        assert!(log.truncate_before(newest).unwrap().segments > 0);
    }

    fn counts(&self) -> (usize, i64) {
        let text = fs::read_to_string(self.dir.path().join("counts.ndjson")).unwrap_or_default();
        let rows = json_lines(&text);
        (rows.len(), rows.iter().map(|row| row["n"].as_i64().unwrap()).sum())
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.to_string_lossy().contains('#'));
    files.sort_unstable();
    files
}

#[test]
fn checkpoints_are_listed_shown_verified_and_exported() {
    let shop = Shop::new();
    shop.run_partly();
    let list = shop.state(&["list"]).ok();
    let heads: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(list.lines().next(), Some("pipeline shop"), "{list}");
    assert_eq!(heads, ["checkpoint", "epoch", "age", "rows", "state", "generation", "savepoint"]);
    let newest = shop.newest();
    assert_eq!(
        json_lines(&shop.state(&["list", "--format", "json"]).ok()).len(),
        shop.manifests().len()
    );

    let show = shop.state(&["show", "shop"]).ok();
    assert!(show.starts_with(&format!("pipeline shop  checkpoint {newest} (epoch ")), "{show}");
    for words in
        ["source", "operator 1", "operator 2", "sink", "counts", "sessions with a gap of 1 hour"]
    {
        assert!(show.contains(words), "{words} in {show}");
    }
    let shown = &json_lines(&shop.state(&["show", "shop", "--format", "json"]).ok())[0];
    assert_eq!(shown["operators"].as_array().unwrap().len(), 2);

    let verified = shop.state(&["verify"]);
    assert!(verified.err.contains(": all intact"), "{}", verified.err);
    let out = verified.ok();
    assert!(out.contains(&format!("checkpoint {newest} ")) && out.contains("state/"), "{out}");

    let rows = shop.dir.path().join("rows");
    let exported = shop.state(&["export", "shop", "--out", rows.to_str().unwrap()]).ok();
    assert_eq!(exported.lines().count(), files(&rows).len());
    assert!(!files(&rows).is_empty());
    for operator in ["1", "2"] {
        let out = shop.state(&["export", "shop", "--operator", operator, "--format", "json"]).ok();
        let rows = json_lines(&out);
        let is_user = |key: &serde_json::Value| key.as_str().unwrap().starts_with("user-");
        assert!(!rows.is_empty() && rows.iter().all(|row| is_user(&row["c0"])), "{out}");
    }
    shop.state(&["export", "shop", "--format", "json"]).fails_with(2);
    shop.state(&["show", "nobody"]).fails_with(2);
    shop.state(&["show", "shop", "999999"]).fails_with(2);
}

#[test]
fn a_damaged_file_is_named() {
    let shop = Shop::new();
    shop.run_partly();
    let file = files(&shop.state.join("checkpoints/shop/state")).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let found = shop.state(&["verify", "shop"]);
    let name = file.file_name().unwrap().to_str().unwrap();
    let line = found.out.lines().find(|line| line.contains(name)).unwrap();
    assert!(line.contains("damaged") && line.contains("checksum"), "{line}");
    let err = found.fails_with(1);
    assert!(err.contains("1 of "), "{err}");
}

#[test]
fn a_plan_says_what_is_kept_and_changes_nothing() {
    let shop = Shop::new();
    let plan = || {
        let mut command = run_pipeline(&shop.file, &shop.state);
        command.arg("--plan");
        let planned = run(command).ok();
        let mut command = postrider(["state", "diff"]);
        command.arg(&shop.file).arg("--state-dir").arg(&shop.state);
        assert_eq!(words(&run(command).ok()), words(&planned));
        planned
    };
    assert!(plan().contains("pipeline shop  no checkpoint yet"));
    assert!(!shop.state.exists());

    let mut command = run_pipeline(&shop.file, &shop.state);
    command.args(["--checkpoint-every", "1"]);
    let mut running = Running::start(command);
    eventually("a checkpoint", || shop.manifests().len() > 1);
    assert!(plan().contains("everything is kept"), "also beside the run");
    running.stop(Signal::TERM);

    let before = shop.manifests();
    write(shop.dir.path(), "shop.sql", &sql("1 hour", "5 minutes"));
    let out = plan();
    let lines: Vec<_> = out.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("pipeline shop  changed since checkpoint "), "{out}");
    let starts = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((starts("keep "), starts("rebuild "), starts("forget ")), (1, 1, 1), "{out}");
    assert!(out.contains("nothing fires again for what was decided; --refire"), "{out}");
    assert_eq!(shop.manifests(), before);

    let found = run(run_pipeline(&shop.file, &shop.state));
    assert!(found.err.contains("pipeline shop  changed since checkpoint "), "{}", found.err);
    assert!(found.err.contains("  rebuild  "), "{}", found.err);
    found.ok();
}

/// A text without numbers: ages and epochs go on.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>().replace("seconds", "second")
}

#[test]
fn a_savepoint_or_a_number_is_gone_back_to_without_a_row_twice() {
    let shop = Shop::new();
    let mut command = run_pipeline(&shop.file, &shop.state);
    command.args(["--checkpoint-every", "1"]);
    let mut running = Running::start(command);
    eventually("a checkpoint", || !shop.manifests().is_empty());
    let saved = shop.state(&["save", "shop", "early"]).ok();
    assert!(saved.contains("is kept as `early`"), "beside the run: {saved}");
    let err = shop.state(&["gc"]).fails_with(75);
    assert!(err.contains("a process that runs collects garbage by itself"), "{err}");
    let number = shop.newest();
    eventually("another checkpoint", || shop.newest() > number);
    running.stop(Signal::TERM);
    shop.state(&["save", "shop", "early"]).fails_with(2);

    for from in [number.to_string(), "early".to_owned()] {
        let mut command = run_pipeline(&shop.file, &shop.state);
        command.args(["--from-checkpoint", &from, "--checkpoint-every", "1"]);
        let found = run(command);
        assert!(found.err.contains("restored checkpoint "), "{from}: {}", found.err);
        found.ok();
        assert_eq!(shop.counts(), (25, 3000), "from {from}");
        let out = shop.state(&["gc", "--keep", "1"]).ok();
        assert!(out.contains("pipeline shop  deleted "), "{out}");
        shop.state(&["verify"]).ok();
    }
    assert!(shop.state(&["list"]).ok().contains("early"));
    shop.state(&["forget", "shop", "early"]).ok();
    shop.state(&["forget", "shop", "early"]).fails_with(2);
    for gone in ["early", "999999"] {
        let mut command = run_pipeline(&shop.file, &shop.state);
        command.args(["--from-checkpoint", gone]);
        let err = run(command).fails_with(2);
        assert!(err.contains(gone), "{err}");
    }
}

#[test]
fn a_plan_says_that_a_rebuild_needs_log_that_is_gone() {
    let shop = Shop::new();
    shop.run_partly();
    shop.cut_log();
    let plan = || {
        let mut command = run_pipeline(&shop.file, &shop.state);
        command.arg("--plan");
        run(command).ok()
    };
    assert!(!plan().contains("--accept-gap"), "nothing is rebuilt");
    write(shop.dir.path(), "shop.sql", &sql("1 hour", "5 minutes"));
    let out = plan();
    assert!(out.contains("  rebuild  "), "{out}");
    assert!(out.contains("the log no longer has its beginning"), "{out}");
    assert!(out.contains("a run is refused without --accept-gap"), "{out}");
}

#[test]
fn checkpoints_of_another_log_are_refused_planned_with_and_verified_as_such() {
    let (shop, other) = (Shop::new(), Shop::new());
    shop.run_partly();
    other.run_partly();
    fs::remove_dir_all(shop.state.join("checkpoints")).unwrap();
    fs::rename(other.state.join("checkpoints"), shop.state.join("checkpoints")).unwrap();
    let before = shop.manifests();
    let named = |err: &str| {
        assert!(err.contains(" of pipeline `shop` was taken of log "), "{err}");
        assert!(err.contains("Give the --state-dir of that log"), "{err}");
    };
    named(&run(run_pipeline(&shop.file, &shop.state)).fails_with(75));
    named(&shop.state(&["gc"]).fails_with(75));
    let planned = |args: &[&str]| {
        let mut command = run_pipeline(&shop.file, &shop.state);
        command.arg("--plan").args(args);
        run(command)
    };
    named(&planned(&[]).fails_with(75));
    let newest = shop.newest().to_string();
    let err = planned(&["--from-checkpoint", &newest]).fails_with(2);
    assert!(err.contains("can't be restored: it was taken of log "), "{err}");

    let verified = shop.state(&["verify"]);
    let line = format!("checkpoint {newest} ");
    let line = verified.out.lines().find(|found| found.contains(&line)).unwrap();
    assert!(line.contains("foreign") && line.contains("it was taken of log "), "{line}");
    let err = verified.fails_with(1);
    assert!(err.contains("of another log: a run refuses them"), "{err}");
    assert_eq!(shop.manifests(), before, "nothing was written");
}
