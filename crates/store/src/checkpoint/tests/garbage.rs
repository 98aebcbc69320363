//! What is collected, what is kept, and what a crash in between leaves.

use bytes::Bytes;
use object_store::{ObjectStoreExt, path::Path};

use super::{Manifest, Process, Retention, World, bytes_of, keep, state_path};
use crate::checkpoint::faulty::{Fault, Operation};

/// Six checkpoints: part 1 is of the first, part 2 of each anew.
async fn six(world: &World) -> (Process, Vec<Manifest>) {
    let mut process = world.start(1).await;
    let mut manifests = vec![process.checkpoint(&[1, 2]).await.unwrap()];
    for _ in 1..6 {
        world.advance(1_000);
        manifests.push(process.checkpoint(&[2]).await.unwrap());
    }
    (process, manifests)
}

/// Checks that these manifests are there, that all they refer to is intact, and that nothing else is left.
async fn only_these_are_left(world: &World, ids: &[u64]) {
    let store = world.checkpoints(9);
    assert_eq!(store.manifests().await.unwrap(), ids);
    let mut names: Vec<_> = ids.iter().map(|id| format!("carts/manifest/{id:020}.json")).collect();
    names.push(format!("carts/gc/{:020}", ids[0] - 1));
    for id in ids {
        let manifest = store.load(*id).await.unwrap();
        store.verify(&manifest).await.unwrap();
        names.extend(manifest.checkpoint.blobs().map(|blob| format!("carts/state/{}", blob.file)));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(world.store.names().await, names);
}

#[tokio::test]
async fn what_no_retained_manifest_needs_is_collected() {
    let world = World::default();
    let (process, _) = six(&world).await;
    let collected = process.store.collect_garbage(&keep(2)).await.unwrap();
    assert_eq!((collected.manifests, collected.files), (4, 3));
    assert_eq!(collected.bytes, 17 * 3);
    only_these_are_left(&world, &[5, 6]).await;

    let again = process.store.collect_garbage(&keep(2)).await.unwrap();
    assert_eq!((again.manifests, again.files, again.bytes), (0, 0, 0));
    process.collect(0).await.unwrap();
    only_these_are_left(&world, &[6]).await;
}

#[tokio::test]
async fn young_manifests_are_kept_beside_the_newest() {
    let world = World::default();
    let (process, _) = six(&world).await;
    let retention = Retention { manifests: 1, age_ns: 3_000 };
    let collected = process.store.collect_garbage(&retention).await.unwrap();
    assert_eq!(collected.manifests, 3);
    assert_eq!(process.store.manifests().await.unwrap(), [4, 5, 6]);
    let collected = process.store.collect_garbage(&Retention::default()).await.unwrap();
    assert_eq!(collected.manifests, 0);
}

#[tokio::test]
async fn an_upload_in_progress_is_kept() {
    let world = World::default();
    let (mut process, _) = six(&world).await;
    // A process that recovered the same checkpoint writes its first one, at the same epoch at the least.
    let mut early = world.checkpoints(2).writer(process.epoch);
    let mut late = world.checkpoints(2).writer(process.epoch + 1);
    let blobs = [early.add(Bytes::from_static(b"a")), late.add(Bytes::from_static(b"b"))];
    early.finish().await.unwrap();
    late.finish().await.unwrap();
    process.collect(1).await.unwrap();
    for blob in &blobs {
        process.store.read(blob).await.unwrap();
    }
    // It came to nothing.
    for _ in 0..2 {
        process.checkpoint(&[2]).await.unwrap();
    }
    process.collect(1).await.unwrap();
    only_these_are_left(&world, &[8]).await;
}

#[tokio::test]
async fn objects_of_others_are_left_alone() {
    let world = World::default();
    let (process, _) = six(&world).await;
    let others = ["carts/state/notes.txt", "carts/manifest/1.json", "carts/gc/x", "carts2/state/y"];
    for name in others {
        world.store.objects.put(&Path::from(name), "x".into()).await.unwrap();
    }
    process.collect(1).await.unwrap();
    let left = world.store.names().await;
    assert!(others.iter().all(|name| left.contains(&(*name).to_owned())));
}

#[tokio::test]
async fn the_checkpoint_a_process_stands_on_is_kept() {
    let world = World::default();
    let (_, manifests) = six(&world).await;
    for manifest in &manifests[4..] {
        let newest = state_path(&manifest.checkpoint.operators[0].parts[1].blob);
        world.store.change(&newest, |bytes| bytes[0] ^= 1).await.unwrap();
    }
    let mut process = world.start(2).await;
    // Neither does a listing show it yet, nor is the epoch of its first upload a new one.
    let mut upload = process.store.writer(5);
    let blob = upload.add(Bytes::from_static(b"a"));
    upload.finish().await.unwrap();
    world.store.hide("carts/manifest/00000000000000000007.json");
    process.collect(1).await.unwrap();
    world.store.heal();
    process.store.verify(&process.store.load(7).await.unwrap()).await.unwrap();
    process.store.read(&blob).await.unwrap();

    process.collect(1).await.unwrap();
    assert_eq!(process.store.manifests().await.unwrap(), [7]);
    let own = process.store.load(7).await.unwrap();
    assert_eq!(own.checkpoint, manifests[3].checkpoint);
    process.store.verify(&own).await.unwrap();

    // What the damaged ones left goes once it is older than the newest.
    for _ in 0..3 {
        process.checkpoint(&[3]).await.unwrap();
    }
    process.collect(1).await.unwrap();
    only_these_are_left(&world, &[10]).await;
}

#[tokio::test]
async fn a_damaged_manifest_blocks_nothing() {
    let world = World::default();
    six(&world).await;
    for id in [2, 5] {
        let path = Path::from(format!("carts/manifest/{id:020}.json"));
        world.store.change(&path, |bytes| bytes.truncate(9)).await.unwrap();
    }
    let process = world.start(2).await;
    let collected = process.store.collect_garbage(&keep(2)).await.unwrap();
    assert_eq!(collected.damaged.len(), 1, "an old one is not looked at");
    assert_eq!(collected.damaged[0].0, 5);
    assert_eq!(collected.manifests, 3);
    assert_eq!(process.store.manifests().await.unwrap(), [4, 5, 6, 7]);
    process.store.verify(&process.store.load(4).await.unwrap()).await.unwrap();
    process.collect(1).await.unwrap();
    only_these_are_left(&world, &[6, 7]).await;
}

#[tokio::test]
async fn a_commit_whose_outcome_is_unknown_takes_the_place_of_nothing() {
    let world = World::default();
    let (mut process, _) = six(&world).await;
    world.store.plan(Operation::Write, Fault::None);
    world.store.plan(Operation::Write, Fault::ErrorAfter);
    process.checkpoint(&[2]).await.unwrap_err();
    process.collect(1).await.unwrap();
    assert_eq!(process.store.manifests().await.unwrap(), [6, 7]);
    process.store.verify(&process.store.load(6).await.unwrap()).await.unwrap();
    let next = process.checkpoint(&[2]).await.unwrap();
    assert_eq!((next.id, next.parent), (8, Some(6)));
    process.collect(1).await.unwrap();
    only_these_are_left(&world, &[8]).await;
}

#[tokio::test]
async fn a_process_that_restarts_often_pushes_nothing_out() {
    let world = World::default();
    let (_, manifests) = six(&world).await;
    for generation in 2..6 {
        world.start(generation).await.collect(2).await.unwrap();
    }
    let store = world.checkpoints(6);
    assert_eq!(store.manifests().await.unwrap(), [5, 6, 7, 8, 9, 10]);
    store.verify(&manifests[4]).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_store_loses_nothing() {
    let world = World::default();
    six(&world).await;
    let process = world.start(2).await;
    let before = world.store.names().await;
    world.store.plan(Operation::Read, Fault::Error);
    process.collect(1).await.unwrap_err();
    for _ in 0..3 {
        world.store.plan(Operation::List, Fault::Error);
        process.collect(1).await.unwrap_err();
    }
    assert_eq!(world.store.names().await, before);
}

#[tokio::test]
async fn a_crash_after_any_operation_loses_nothing_and_is_made_good() {
    let mut died = 0;
    for done in [false, true] {
        for operation in 1.. {
            let world = World::default();
            let (process, manifests) = six(&world).await;
            // There is an older boundary to replace.
            process.collect(5).await.unwrap();
            world.store.die_at(operation, done);
            let outcome = process.collect(2).await;
            if !world.store.heal() {
                outcome.unwrap();
                break;
            }
            outcome.unwrap_err();
            died += 1;
            let store = world.checkpoints(2);
            let left = store.listed().await.unwrap();
            assert_eq!(left, (left[0]..=6).collect::<Vec<_>>(), "the oldest went first");
            for manifest in &manifests[4..] {
                assert_eq!(store.load(manifest.id).await.unwrap(), *manifest);
                store.verify(manifest).await.unwrap();
            }
            let mut next = world.start(2).await;
            assert_eq!(next.parts, process.parts);
            next.checkpoint(&[2]).await.unwrap();
            next.collect(3).await.unwrap();
            only_these_are_left(&world, &[5, 6, 7, 8]).await;
        }
    }
    // Four listings, two or three files, a boundary, three manifests, and the old boundary.
    assert_eq!(died, 24);
}

#[tokio::test]
async fn a_crash_within_a_commit_leaves_the_one_before_or_the_new_one() {
    for done in [false, true] {
        for operation in 1.. {
            let world = World::default();
            let (mut process, manifests) = six(&world).await;
            world.store.die_at(operation, done);
            let outcome = process.checkpoint(&[1]).await;
            if !world.store.heal() {
                outcome.unwrap();
                break;
            }
            outcome.unwrap_err();
            let store = world.checkpoints(2);
            let recovery = store.newest_valid(&|_| Ok(())).await.unwrap();
            assert!(recovery.skipped.is_empty());
            let found = recovery.recovered.unwrap();
            let (tried, bytes) = process.tried.lock().unwrap().take().unwrap();
            if found.manifest.id == 6 {
                assert_eq!(found.manifest, manifests[5]);
            } else {
                assert_eq!(found.manifest.checkpoint, tried);
                assert_eq!(bytes_of(&found.blobs, &found.manifest), bytes);
            }
        }
    }
}
