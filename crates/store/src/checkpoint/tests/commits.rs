//! Commits, conflicts and fencing.

use object_store::path::Path;
use postrider_core::ErrorKind;

use super::{
    Checkpoint, CheckpointContents, CheckpointError, CheckpointStore, Manifest, Process, World,
    checkpoint,
};
use crate::{
    LogIdentity,
    checkpoint::faulty::{Fault, Operation},
    limits::COMMIT_IDS_MAX,
};

#[tokio::test]
async fn manifests_are_numbered_and_know_where_they_come_from() {
    let world = World::default();
    let mut process = world.start(1).await;
    let first = process.checkpoint(&[1, 2]).await.unwrap();
    let second = process.checkpoint(&[1]).await.unwrap();
    assert_eq!((first.id, first.parent), (1, None));
    assert_eq!((second.id, second.parent), (2, Some(1)));
    let (mut next, recovery) = Process::start(world.checkpoints(2)).await.unwrap();
    let third = recovery.recovered.unwrap().manifest;
    assert_eq!((third.id, third.parent, third.generation), (3, Some(2), 2));
    assert_eq!(third.checkpoint, second.checkpoint, "taking over changes nothing else");
    let fourth = next.checkpoint(&[]).await.unwrap();
    assert_eq!((fourth.id, fourth.parent, fourth.generation), (4, Some(3), 2));
    assert_eq!(world.checkpoints(3).manifests().await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(world.checkpoints(3).load(4).await.unwrap(), fourth);
}

#[tokio::test]
async fn a_manifest_whose_write_was_repeated_is_known_again() {
    let world = World::default();
    let mut process = world.start(1).await;
    process.checkpoint(&[1]).await.unwrap();
    world.store.plan(Operation::Write, Fault::RetriedWrite);
    world.store.plan(Operation::Write, Fault::RetriedWrite);
    let manifest = process.checkpoint(&[1]).await.unwrap();
    assert_eq!(manifest.id, 2);
    assert_eq!(process.store.manifests().await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_commit_whose_outcome_is_unknown_is_made_again() {
    let world = World::default();
    let process = world.start(1).await;
    let checkpoint = checkpoint(1, std::iter::empty());
    world.store.plan(Operation::Write, Fault::ErrorAfter);
    let error = process.store.commit(checkpoint.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(process.store.commit(checkpoint.clone()).await.unwrap().id, 2);
    world.store.plan(Operation::List, Fault::Error);
    let error = process.store.commit(checkpoint.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "the boundary is not known");
    assert_eq!(process.store.commit(checkpoint).await.unwrap().id, 4);
}

#[tokio::test]
async fn a_process_is_fenced_by_its_successor() {
    let world = World::default();
    let mut old = world.start(1).await;
    old.checkpoint(&[1]).await.unwrap();
    let mut new = world.start(2).await;
    let error = old.checkpoint(&[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.to_string(),
        "another process took over the checkpoints of pipeline `carts`: it is of generation 2, this one \
         of 1; stop this process"
    );
    new.checkpoint(&[1]).await.unwrap();
    let error = old.checkpoint(&[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let error = world.checkpoints(1).take_over(&|_| Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "nor may it start anew");
    let error =
        world.checkpoints(1).take_over(&|_| Err("other SQL".to_owned().into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(world.checkpoints(1).newest_valid(&|_| Ok(())).await.is_ok(), "it may look");
}

#[tokio::test]
async fn nobody_commits_before_taking_over() {
    let world = World::default();
    let store = world.checkpoints(1);
    store.newest_valid(&|_| Ok(())).await.unwrap();
    let error = store.commit(checkpoint(1, std::iter::empty())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[tokio::test]
async fn a_checkpoint_that_comes_just_before_a_takeover_is_the_one_that_is_taken_over() {
    let world = World::default();
    let mut old = world.start(1).await;
    old.checkpoint(&[1]).await.unwrap();
    old.checkpoint(&[1]).await.unwrap();
    old.collect(1).await.unwrap();
    // As if it came behind the listing. The boundaries are listed first.
    world.store.plan(Operation::List, Fault::None);
    world.store.plan(Operation::List, Fault::StaleList);
    old.checkpoint(&[1]).await.unwrap();
    let new = world.start(2).await;
    assert_eq!(new.parts, old.parts);
    assert_eq!(new.store.manifests().await.unwrap(), [2, 3, 4]);
}

#[tokio::test]
async fn the_boundary_fences_a_process_that_slept_through_garbage_collection() {
    let world = World::default();
    let mut old = world.start(1).await;
    old.checkpoint(&[1]).await.unwrap();
    let mut new = world.start(2).await;
    for _ in 0..5 {
        new.checkpoint(&[1]).await.unwrap();
    }
    new.collect(1).await.unwrap();
    assert_eq!(new.store.manifests().await.unwrap(), [7]);

    let error = old.checkpoint(&[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("manifests up to 6 were collected"), "{error}");
    let name = "carts/manifest/00000000000000000002.json".to_owned();
    assert!(world.store.names().await.contains(&name), "its manifest is there");
    assert_eq!(new.store.manifests().await.unwrap(), [7], "and counts for nobody");
    new.collect(1).await.unwrap();
    assert!(!world.store.names().await.contains(&name));
}

#[tokio::test]
async fn a_damaged_manifest_keeps_its_number() {
    let world = World::default();
    let mut process = world.start(1).await;
    process.checkpoint(&[1]).await.unwrap();
    process.checkpoint(&[1]).await.unwrap();
    let path = Path::from("carts/manifest/00000000000000000002.json");
    world.store.change(&path, |bytes| bytes.truncate(10)).await.unwrap();
    let (_, recovery) = Process::start(world.checkpoints(2)).await.unwrap();
    let manifest = recovery.recovered.unwrap().manifest;
    assert_eq!((manifest.id, manifest.parent), (3, Some(1)));
    world
        .store
        .change(&Path::from("carts/manifest/00000000000000000003.json"), Vec::clear)
        .await
        .unwrap();
    assert_eq!(process.checkpoint(&[1]).await.unwrap().id, 4, "a damaged one fences nobody");
}

#[tokio::test]
async fn a_commit_gives_up_after_many_ids() {
    let world = World::default();
    let mut slow = world.start(1).await;
    let mut fast = world.start(1).await;
    for _ in 0..COMMIT_IDS_MAX + 1 {
        fast.checkpoint(&[]).await.unwrap();
    }
    let error = slow.checkpoint(&[]).await.unwrap_err();
    assert!(matches!(error, CheckpointError::Contended { tried: COMMIT_IDS_MAX, .. }));
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(slow.checkpoint(&[]).await.unwrap().id, COMMIT_IDS_MAX + 2);
}

#[tokio::test]
async fn another_pipelines_checkpoint_is_refused() {
    let world = World::default();
    let mut contents = checkpoint(1, std::iter::empty()).into_contents();
    contents.pipeline = "orders".to_owned();
    let other = Checkpoint::new(&["clicks".to_owned()], contents).unwrap();
    let error = world.start(1).await.store.commit(other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(world.store.names().await.is_empty());
}

#[tokio::test]
async fn a_store_without_put_if_absent_is_refused() {
    let world = World::default();
    world.checkpoints(1).self_test().await.unwrap();
    world.store.plan(Operation::Write, Fault::RetriedWrite);
    world.checkpoints(1).self_test().await.unwrap();
    world.store.ignore_create();
    let error = world.checkpoints(1).self_test().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "the checkpoint store FaultyStore does not honour put-if-absent: it created the same object \
         twice; use a store that does, such as a local directory, S3, Google Cloud Storage or Azure, and \
         leave conditional puts on"
    );
    assert!(world.store.names().await.is_empty(), "the probes are gone");
}

/// The world with one checkpoint of another log.
async fn of_another_log(world: &World) -> CheckpointStore {
    let theirs = world.start(5).await.store;
    theirs.commit(of_log(1, LogIdentity(0xbad))).await.unwrap();
    theirs.save("early").await.unwrap();
    world.checkpoints(9)
}

fn of_log(epoch: u64, log: LogIdentity) -> Checkpoint {
    let contents = checkpoint(epoch, std::iter::empty()).into_contents();
    let contents = CheckpointContents { log_identity: Some(log), ..contents };
    Checkpoint::new(&["clicks".to_owned()], contents).unwrap()
}

#[tokio::test]
async fn a_checkpoint_of_another_log_ends_the_search_and_nothing_is_written() {
    let world = World::default();
    let ours = of_another_log(&world).await;
    let log = Some(LogIdentity(0xfeed));
    let check = |manifest: &Manifest| manifest.checkpoint.is_of(log);
    let before = world.store.names().await;
    let errors = [
        (ours.newest_valid(&check).await.unwrap_err(), "checkpoint 1 of"),
        (ours.take_over(&check).await.unwrap_err(), "checkpoint 1 of"),
        (ours.take_over_savepoint("early", &check).await.unwrap_err(), "savepoint `early` of"),
    ];
    for (error, name) in errors {
        assert_eq!(error.kind(), ErrorKind::Fenced);
        let text = error.to_string();
        assert!(
            matches!(error, CheckpointError::ForeignLog { .. }) && text.contains(name),
            "{text}"
        );
        for words in [
            "of log 00000000000000000000000000000bad, and this is log 0000000000000000000000000000feed",
            "Give the --state-dir of that log",
            "with checkpoints at another place",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
    assert_eq!(world.store.names().await, before);
    // Its own log, a log without an identity, and a checkpoint that names none: all as before.
    for log in [Some(LogIdentity(0xbad)), None] {
        let check = |manifest: &Manifest| manifest.checkpoint.is_of(log);
        ours.newest_valid(&check).await.unwrap().recovered.unwrap();
    }
    let check = |manifest: &Manifest| manifest.checkpoint.is_of(log);
    let world = World::default();
    world.start(1).await.checkpoint(&[1]).await.unwrap();
    world.checkpoints(2).take_over(&check).await.unwrap().recovered.unwrap();
}

#[tokio::test]
async fn of_two_logs_that_began_with_one_empty_place_only_the_first_commits() {
    let world = World::default();
    let (first, second) = (world.start(1).await.store, world.start(2).await.store);
    first.commit(of_log(1, LogIdentity(1))).await.unwrap();
    let error = second.commit(of_log(1, LogIdentity(2))).await.unwrap_err();
    assert!(matches!(error, CheckpointError::ForeignLog { .. }), "{error}");
    first.commit(of_log(2, LogIdentity(1))).await.unwrap();
}
