//! State directories that earlier versions wrote: log, checkpoints, snapshots. Each is restored here for ever.
//!
//! A new version that writes something else adds a directory `golden/<number>` by
//! `POSTRIDER_NEW_GOLDEN=<number> cargo test -p postrider-engine --test it golden`, and never changes an old one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use postrider_core::Generation;
use postrider_store::{Manifest, Outbox};

use crate::{checkpoints::tables, state::State};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn state<'a>(dir: &'a Path, sql: &'a str) -> State<'a> {
    State { dir, sql, every_ns: 0, accept_gap: false, refire: false, restore: None }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
}

/// The process dies in the middle of windows and sessions.
fn write(dir: &Path) {
    let sql = crate::checkpoints::SQL;
    fs::create_dir_all(dir.join("state")).unwrap();
    let state = state(&dir.join("state"), sql).run(tables(700), 2, 30);
    assert!(state.0.is_none(), "it should have died");
    let kept = dir.join("state");
    let state = self::state(&kept, sql);
    let log = state.log();
    Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
    drop(log);
    fs::write(dir.join("pipeline.sql"), sql).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    copy(&kept, temporary.path());
    let state = self::state(temporary.path(), sql);
    state.run(tables(1_200), 1, 0).0.unwrap().unwrap();
    fs::write(dir.join("rows.txt"), state.trigger_rows().join("\n")).unwrap();
}

fn newest_manifest(state: &State<'_>) -> Manifest {
    let store = state.checkpoints(Generation(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let newest = store.manifests().await.unwrap().pop().unwrap();
        store.load(newest).await.unwrap()
    })
}

#[test]
fn what_earlier_versions_wrote_is_restored() {
    if let Ok(number) = std::env::var("POSTRIDER_NEW_GOLDEN") {
        let dir = golden().join(number);
        assert!(!dir.exists(), "an old one is never changed");
        write(&dir);
    }
    let mut found = 0;
    for entry in fs::read_dir(golden()).unwrap() {
        let dir = entry.unwrap().path();
        let sql = fs::read_to_string(dir.join("pipeline.sql")).unwrap();
        let rows = fs::read_to_string(dir.join("rows.txt")).unwrap();
        for shards in 1..=3 {
            let temporary = tempfile::tempdir().unwrap();
            copy(&dir.join("state"), temporary.path());
            let state = state(temporary.path(), &sql);
            let log = state.log();
            let outbox = Outbox::restore(&log.reader(log.start())).unwrap();
            assert!(outbox.found.is_some(), "the snapshot of the outbox is used");
            let identity = log.identity();
            assert!(identity.is_some(), "a log from before identities gets one");
            drop(log);
            let (ended, watch) = state.run(tables(1_200), shards, 0);
            ended.unwrap().unwrap();
            let facts = watch.recovered.lock().unwrap().clone().unwrap();
            assert!(facts.restored.manifest.is_some() && facts.restored.rows > 0, "{facts:?}");
            assert!(watch.upgrade.lock().unwrap().is_none(), "the program is the same");
            let written = newest_manifest(&state);
            assert_eq!(written.checkpoint.log_identity, identity, "and its checkpoints say so");
            assert!(state.trigger_rows().join("\n") == rows, "{} on {shards}", dir.display());
        }
        found += 1;
    }
    assert!(found > 0);
}
