//! Checkpoints in a directory.

use std::{fs, sync::Arc};

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
