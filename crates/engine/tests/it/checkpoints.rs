//! Checkpoints: restarts from them, crashes around them, damage to them.

use std::{fs, path::Path};

use postrider_core::{ErrorKind, Generation};
use postrider_engine::{EngineError, RestoreFrom};
use postrider_store::{CheckpointError, Lsn, Outbox};

use crate::{harness::Tables, state::State};

pub(crate) const SQL: &str = "
CREATE TABLE t (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT NOT NULL, x DOUBLE NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'generator', rows = 1);
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml');
CREATE TABLE hops WITH (connector = 'email', template = 't.mjml');
INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, CAST(round(sum(x) * 1000) AS BIGINT) AS total, count(*) AS n,
    session(INTERVAL '40 seconds') AS w FROM t GROUP BY k, w;
INSERT INTO hops SELECT k AS recipient_key, k AS dedupe_key, CAST(round(stddev(x) * 1000) AS BIGINT) AS spread, max(v) AS most,
    hop(INTERVAL '20 seconds', INTERVAL '150 seconds') AS w FROM t GROUP BY k, w;";

/// One row a chunk, so that there are many epochs. A fifth of the rows is out of order, some of them late; sessions of a key are sometimes broken by a pause.
pub(crate) fn tables(count: i64) -> Tables {
    let tables = crate::lifecycle::tables_of(count, |n| {
        let pause = (n / 150) * 60;
        let behind = if n % 5 == 0 { n % 37 } else { 0 };
        n + pause - behind
    });
    Tables { chunk_rows: 1, ..tables }
}

fn state<'a>(dir: &'a tempfile::TempDir, every_ns: i64) -> State<'a> {
    State { dir: dir.path(), sql: SQL, every_ns, accept_gap: false, refire: false, restore: None }
}

/// What processes without a checkpoint make of so many rows, one after the other.
fn expected(counts: &[i64]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, i64::MAX);
    for &count in counts {
        state.run(tables(count), 1, 0).0.unwrap().unwrap();
        // The last one is taken at the end.
        fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    }
    state.trigger_rows()
}

#[test]
fn a_restart_goes_on_from_the_newest_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, 0);
    let (ended, watch) = state.run(tables(900), 2, 0);
    assert_eq!(ended.unwrap().unwrap().rows, 900);
    let checkpoints = watch.checkpoints.lock().unwrap().clone();
    assert!(checkpoints.len() > 3 && checkpoints.iter().any(|c| c.state_rows > 0));
    for shards in [2, 3, 1] {
        let (ended, watch) = state.run(tables(900), shards, 0);
        let summary = ended.unwrap().unwrap();
        let facts = watch.recovered.lock().unwrap().clone().unwrap();
        assert!(facts.restored.manifest.is_some() && facts.restored.rows > 0, "{facts:?}");
        // The end of the input comes behind the last checkpoint.
        assert!(facts.epochs <= 2, "{facts:?}");
        assert_eq!((summary.rows, summary.trigger_rows), (0, 0));
    }
    state.run(tables(1_500), 3, 0).0.unwrap().unwrap();
    assert!(state.trigger_rows() == expected(&[900, 1_500]));
}

#[test]
fn a_crash_behind_any_epoch_loses_and_repeats_nothing() {
    let expected = expected(&[1_200]);
    assert!(expected.len() > 50);
    for crash in (0..6).map(|n| 9 * n + 1) {
        for every_ns in [0, i64::MAX] {
            let dir = tempfile::tempdir().unwrap();
            let state = state(&dir, every_ns);
            let mut shards = (1..=3).cycle().skip(crash as usize);
            let mut next = || shards.next().unwrap();
            for _ in 0..3 {
                let (ended, _) = state.run(tables(1_200), next(), crash);
                assert!(ended.is_none_or(|ended| ended.is_ok()));
            }
            let (ended, _) = state.run(tables(1_200), next(), 0);
            ended.unwrap().unwrap();
            assert!(state.trigger_rows() == expected, "crash {crash} every {every_ns}");
        }
    }
}

/// The state files, newest first.
fn state_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(dir.join("checkpoints/test/state")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.reverse();
    files
}

/// The newest file that the newest manifest refers to: the crash may have left a newer one that nobody does.
fn newest_state_file(dir: &Path) -> std::path::PathBuf {
    let manifests = fs::read_dir(dir.join("checkpoints/test/manifest")).unwrap();
    let newest = manifests.map(|entry| entry.unwrap().path()).max().unwrap();
    let manifest = fs::read_to_string(newest).unwrap();
    let is_named = |file: &std::path::PathBuf| {
        file.file_name().is_some_and(|name| manifest.contains(&*name.to_string_lossy()))
    };
    state_files(dir).into_iter().find(is_named).unwrap()
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, 0);
    state.run(tables(1_200), 2, 50);
    let newest = &newest_state_file(dir.path());
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(newest, bytes).unwrap();
    let (ended, watch) = state.run(tables(1_200), 3, 0);
    ended.unwrap().unwrap();
    let facts = watch.recovered.lock().unwrap().clone().unwrap();
    assert!(facts.restored.manifest.is_some(), "{facts:?}");
    assert!(!facts.restored.skipped.is_empty() && facts.epochs > 0, "{facts:?}");
    assert!(facts.restored.skipped[0].1.contains("damaged"), "{facts:?}");
    assert!(state.trigger_rows() == expected(&[1_200]));
}

#[test]
fn without_any_whole_checkpoint_the_log_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, 0);
    state.run(tables(1_200), 2, 50);
    fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    let (ended, watch) = state.run(tables(1_200), 1, 0);
    ended.unwrap().unwrap();
    let facts = watch.recovered.lock().unwrap().clone().unwrap();
    assert!(facts.restored.manifest.is_none() && facts.epochs >= 50, "{facts:?}");
    assert!(state.trigger_rows() == expected(&[1_200]));
}

/// Deletes the log before a position, as housekeeping does.
fn cut(state: &State<'_>, before: u64) {
    let log = state.log();
    let outbox = Outbox::read(&log.reader(log.start())).unwrap();
    outbox.save(&log.views()).unwrap();
    let kept = log.truncate_before(Lsn(before)).unwrap();
    assert!(kept.segments > 0, "{kept:?}");
}

#[test]
fn a_restart_needs_nothing_of_the_log_before_the_oldest_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, 0);
    let (_, watch) = state.run(tables(1_200), 2, 50);
    let before = state.trigger_rows();
    let newest = watch.checkpoints.lock().unwrap().last().cloned().unwrap();
    cut(&state, newest.oldest.unwrap().log_position);
    let left = state.trigger_rows();
    assert!(left.len() < before.len());

    let (ended, watch) = state.run(tables(1_200), 3, 0);
    ended.unwrap().unwrap();
    let facts = watch.recovered.lock().unwrap().clone().unwrap();
    assert!(facts.restored.manifest.is_some(), "{facts:?}");
    let mut all = before;
    let mut new = state.trigger_rows();
    for row in left {
        new.remove(new.iter().position(|other| *other == row).unwrap());
    }
    all.append(&mut new);
    all.sort();
    assert!(all == expected(&[1_200]));

    // Without its checkpoints, what is left of the log is not taken for all there was.
    fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    let error = state.run(tables(1_200), 1, 0).0.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::NoCheckpoint { .. }), "{error}");
}

/// A store call, without a pipeline.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_savepoint_whose_log_was_cut_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, 0);
    let (_, watch) = state.run(tables(1_200), 2, 20);
    let early = watch.checkpoints.lock().unwrap().last().cloned().unwrap();
    let saved = wait(state.checkpoints(Generation(0)).save("early")).unwrap();
    assert!(saved.checkpoint.log_position >= early.log_position);
    let (_, watch) = state.run(tables(1_200), 2, 60);
    let newest = watch.checkpoints.lock().unwrap().last().cloned().unwrap();
    assert!(newest.oldest.unwrap().log_position <= saved.checkpoint.log_position, "it is needed");
    // Housekeeping keeps what a savepoint needs. A log that was shortened on other grounds may begin later.
    cut(&state, newest.log_position);
    let before = state.trigger_rows();

    let restore = Some(RestoreFrom::Savepoint("early".to_owned()));
    let from_savepoint = State { restore, ..self::state(&dir, 0) };
    let error = from_savepoint.run(tables(1_200), 2, 0).0.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::NoSuchCheckpoint { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let (position, begins) = (saved.checkpoint.log_position, state.log().start().0);
    assert_eq!(
        error.to_string(),
        format!(
            "savepoint `early` of pipeline `test` can't be restored: it goes on at {position} of the log, which begins at \
             {begins}; `postrider state list` shows what is there"
        )
    );
    assert!(state.trigger_rows() == before, "nothing happened");
    // It was not made the newest one.
    state.run(tables(1_200), 2, 0).0.unwrap().unwrap();
}

#[test]
fn checkpoints_of_another_log_are_refused_although_that_is_long_enough() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (state, foreign) = (state(&own, 0), state(&other, 0));
    // This log is longer, of a later generation, and of the same program and input: only its identity differs.
    let (_, watch) = foreign.run(tables(1_200), 2, 20);
    let checkpoint = watch.checkpoints.lock().unwrap().last().cloned().unwrap();
    state.run(tables(1_200), 2, 50);
    state.run(tables(1_200), 2, 20);
    let before = state.trigger_rows();
    assert!(state.log().durable().borrow().0 > checkpoint.log_position);
    let place = own.path().join("checkpoints");
    fs::rename(&place, own.path().join("own")).unwrap();
    crate::golden::copy(&other.path().join("checkpoints"), &place);
    let names = || wait(state.checkpoints(Generation(0)).manifests()).unwrap();
    let theirs = names();

    for restore in [None, Some(RestoreFrom::Number(theirs[0]))] {
        let asked = State { restore, ..self::state(&own, 0) };
        let error = asked.run(tables(1_200), 2, 0).0.unwrap().unwrap_err();
        let EngineError::Checkpoint(CheckpointError::ForeignLog { ours, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(Some(*ours), state.log().identity());
        let text = error.to_string();
        let newest = theirs.last().unwrap();
        assert!(
            text.starts_with(&format!("checkpoint {newest} of pipeline `test` was taken of log ")),
            "{text}"
        );
        assert!(text.contains("Give the --state-dir of that log"), "{text}");
    }
    assert_eq!(names(), theirs, "nothing was committed in a place that is another log's");
    assert!(state.trigger_rows() == before, "nothing happened");

    fs::remove_dir_all(&place).unwrap();
    fs::rename(own.path().join("own"), &place).unwrap();
    let (ended, watch) = state.run(tables(1_200), 3, 0);
    ended.unwrap().unwrap();
    assert!(watch.recovered.lock().unwrap().clone().unwrap().restored.manifest.is_some());
    assert!(state.trigger_rows() == expected(&[1_200]));
}

#[test]
fn a_log_that_lost_its_end_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(&dir, 0);
    state.run(tables(1_200), 2, 60);
    let segments = || {
        let files =
            fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|e| e == "log")).collect();
        files.sort();
        files
    };
    let first = segments()[0].clone();
    let whole = segments().len();
    assert!(whole > 2);
    for lost in &segments()[2..] {
        fs::remove_file(lost).unwrap();
    }
    let before = state.trigger_rows();
    let error = state.run(tables(1_200), 2, 0).0.unwrap().unwrap_err();
    let EngineError::LostLog { pipeline, position, end } = &error else { panic!("{error}") };
    assert_eq!((pipeline.as_str(), error.kind()), ("test", ErrorKind::Data));
    assert!(position > end);
    let text = error.to_string();
    for words in [
        format!("go on at {position} of its log, and this log ends at {end}"),
        "Going on would send mails a second time".to_owned(),
        "bring the state directory back".to_owned(),
        "a new prefix for --checkpoints".to_owned(),
    ] {
        assert!(text.contains(&words), "{words} in {text}");
    }
    assert!(first.exists() && state.trigger_rows() == before, "nothing happened");
    // Starting anew from what is left is for a person to decide.
    fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    state.run(tables(1_200), 2, 0).0.unwrap().unwrap();
    assert!(state.trigger_rows() == expected(&[1_200]));
}
