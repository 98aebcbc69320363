//! Checkpoints in a directory.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use object_store::local::LocalFileSystem;
use postrider_core::{ErrorKind, Generation, PipelineName};

use super::{Process, World, bytes_of};
use crate::checkpoint::{CheckpointStore, local_checkpoints};

#[tokio::test]
async fn a_directory_holds_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state/checkpoints");
    let world = World::default();
    let open = |generation| world.checkpoints_in(local_checkpoints(&dir).unwrap(), generation);
    open(1).self_test().await.unwrap();
    let (mut process, _) = Process::start(open(1)).await.unwrap();
    process.checkpoint(&[1, 2]).await.unwrap();
    for _ in 0..4 {
        process.checkpoint(&[2]).await.unwrap();
    }
    process.collect(2).await.unwrap();
    assert_eq!(process.store.manifests().await.unwrap(), [4, 5]);

    let (mut next, recovery) = Process::start(open(2)).await.unwrap();
    assert!(recovery.skipped.is_empty());
    let recovered = recovery.recovered.unwrap();
    assert_eq!((recovered.manifest.id, recovered.manifest.parent), (6, Some(5)));
    let bytes = bytes_of(&recovered.blobs, &recovered.manifest);
    assert_eq!(bytes, process.parts.values().cloned().collect());
    next.checkpoint(&[1]).await.unwrap();
    let error = process.checkpoint(&[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);

    let blob = &next.parts[&1].0;
    let file = dir.join("carts/state").join(&blob.file);
    let damage = fs::read(&file).unwrap();
    fs::write(&file, &damage[..damage.len() - 1]).unwrap();
    let (_, recovery) = Process::start(open(3)).await.unwrap();
    assert_eq!(recovery.recovered.unwrap().manifest.parent, Some(6));
    assert_eq!(recovery.skipped.len(), 1);
}

/// All files below a directory, by their path in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["carts/manifest", "carts/state"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

/// What is on the disk at each moment of a commit, as the module says; a file under its other name with some of its bytes.
#[tokio::test]
async fn a_commit_that_a_power_loss_ends_leaves_the_checkpoint_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    let store = |dir: &Path| world.checkpoints_in(local_checkpoints(dir).unwrap(), 1);
    let (mut process, _) = Process::start(store(dir.path())).await.unwrap();
    process.checkpoint(&[1, 2]).await.unwrap();
    let before = files(dir.path());
    process.checkpoint(&[2, 3]).await.unwrap();
    let after = files(dir.path());
    let new = |folder: &str| {
        let mut new = after.iter().filter(|(path, _)| !before.contains_key(*path));
        new.find(|(path, _)| path.starts_with(folder)).unwrap()
    };
    let ((state, state_bytes), (manifest, text)) = (new("carts/state"), new("carts/manifest"));
    assert_eq!(after.len(), before.len() + 2);

    let staged = |of: &Path| PathBuf::from(format!("{}#1", of.display()));
    // Each directory more costs fsyncs, so not every length is tried.
    let parts = |bytes: &[u8]| {
        let ends = (0..bytes.len()).step_by(41).chain([bytes.len()]);
        ends.map(|end| bytes[..end].to_vec()).collect::<Vec<_>>()
    };
    let mut moments = vec![(1, vec![(state.clone(), state_bytes.clone())])];
    moments.extend(parts(state_bytes).into_iter().map(|part| (1, vec![(staged(state), part)])));
    moments.extend(
        parts(text)
            .into_iter()
            .map(|part| (1, vec![(state.clone(), state_bytes.clone()), (staged(manifest), part)])),
    );
    let whole = vec![(state.clone(), state_bytes.clone()), (manifest.clone(), text.clone())];
    moments.push((2, whole));
    for (expected, left) in moments {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in
            before.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).chain(left)
        {
            fs::create_dir_all(dir.path().join(&path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), bytes).unwrap();
        }
        let recovery = store(dir.path()).newest_valid(&|_| Ok(())).await.unwrap();
        assert!(recovery.skipped.is_empty(), "{:?}", recovery.skipped);
        assert_eq!(recovery.recovered.unwrap().manifest.id, expected);
        assert!(files(dir.path()).keys().all(|path| !path.to_string_lossy().contains('#')));
    }
}

#[tokio::test]
async fn half_written_files_are_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("carts/state");
    fs::create_dir_all(&state).unwrap();
    let kept = ["a.state", "b#c", "b#", "#x1"];
    for name in kept.iter().chain(&["a.state#1", "a.state#22"]) {
        fs::write(state.join(name), "x").unwrap();
    }
    local_checkpoints(dir.path()).unwrap();
    let mut left: Vec<_> = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["#x1", "a.state", "b#", "b#c"]);
}

#[tokio::test]
async fn any_pipeline_name_is_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    let store = local_checkpoints(dir.path()).unwrap();
    for name in ["..", "a/b", "%2E%2E", "Grüße #1", "a?*b\\c"] {
        let (clock, nonces) = (Arc::clone(&world.clock), Arc::new(|| 7));
        let name = PipelineName(name.to_owned());
        let store = CheckpointStore::new(Arc::clone(&store), &name, Generation(1), clock, nonces);
        store.take_over(&|_| Ok(())).await.unwrap();
        let mut contents = super::contents(1);
        contents.pipeline = name.0;
        let checkpoint = super::Checkpoint::new(&["clicks".to_owned()], contents).unwrap();
        assert_eq!(store.commit(checkpoint).await.unwrap().id, 1);
        assert_eq!(store.manifests().await.unwrap(), [1]);
        store.load(1).await.unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[tokio::test]
async fn a_directory_that_cant_be_made_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = local_checkpoints(&file.join("checkpoints")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("check the directory, its permissions and the disk"));
    assert!(LocalFileSystem::new_with_prefix(&file).is_ok(), "the store would not notice");
}
