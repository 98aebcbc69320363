//! Savepoints: what they keep, and what becomes of one that is made while garbage is collected.

use std::sync::Arc;

use object_store::path::Path;
use postrider_core::ErrorKind;

use super::{Process, World, bytes_of};
use crate::checkpoint::{
    CheckpointError,
    faulty::{Fault, Operation},
};

/// A process with three checkpoints, the third of which is saved; four more follow.
async fn saved(world: &World) -> Process {
    let mut process = world.start(1).await;
    for _ in 0..3 {
        process.checkpoint(&[1, 2]).await.unwrap();
    }
    // Beside the process, as another one.
    assert_eq!(world.checkpoints(0).save("sale").await.unwrap().id, 3);
    for _ in 0..4 {
        process.checkpoint(&[1, 2]).await.unwrap();
    }
    process
}

#[tokio::test]
async fn a_savepoint_outlives_its_checkpoint_until_it_is_forgotten() {
    let world = World::default();
    let process = saved(&world).await;
    for _ in 0..2 {
        let collected = process.store.collect_garbage(&super::keep(1)).await.unwrap();
        assert_eq!(collected.savepoints.len(), 1);
        assert_eq!(collected.savepoints[0].log_position, 3 * 4096);
        assert_eq!(collected.savepoints[0].sources[0].0, "clicks");
    }
    let other = world.checkpoints(0);
    assert_eq!(other.manifests().await.unwrap(), [7]);
    assert_eq!(other.savepoints().await.unwrap(), ["sale"]);
    let savepoint = other.savepoint("sale").await.unwrap();
    assert_eq!(other.verify(&savepoint).await.unwrap().len(), 2);

    let files = world.store.names().await.len();
    assert!(other.forget_savepoint("sale").await.unwrap());
    assert!(!other.forget_savepoint("sale").await.unwrap());
    let collected = process.store.collect_garbage(&super::keep(1)).await.unwrap();
    assert_eq!((collected.files, collected.savepoints.len()), (1, 0));
    assert_eq!(world.store.names().await.len(), files - 2);
}

#[tokio::test]
async fn a_name_that_is_given_again_pins_the_new_checkpoint() {
    let world = World::default();
    let mut process = saved(&world).await;
    process.collect(1).await.unwrap();
    let other = world.checkpoints(0);
    assert!(other.forget_savepoint("sale").await.unwrap());
    assert_eq!(other.save("sale").await.unwrap().id, 7);
    for _ in 0..3 {
        process.checkpoint(&[1, 2]).await.unwrap();
        process.collect(1).await.unwrap();
    }
    other.verify(&other.savepoint("sale").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_process_goes_on_from_a_savepoint() {
    let world = World::default();
    let process = saved(&world).await;
    process.collect(1).await.unwrap();
    let next = world.checkpoints(2);
    let savepoint = next.savepoint("sale").await.unwrap();
    let refused =
        next.take_over_savepoint("sale", &|_| Err("no log".to_owned().into())).await.unwrap();
    assert!(matches!(refused.skipped[..], [(3, CheckpointError::Unfit { .. })]));
    let recovered = next.take_over_savepoint("sale", &|_| Ok(())).await.unwrap().recovered.unwrap();
    assert_eq!((recovered.manifest.id, recovered.manifest.parent), (8, Some(3)));
    assert_eq!(recovered.manifest.checkpoint, savepoint.checkpoint);
    assert_eq!(bytes_of(&recovered.blobs, &recovered.manifest).len(), 2);
    // It stands on its own manifest, not on the name.
    next.forget_savepoint("sale").await.unwrap();
    next.collect_garbage(&super::keep(1)).await.unwrap();
    next.verify(&next.load(8).await.unwrap()).await.unwrap();
    let old = next.take_over_savepoint("sale", &|_| Ok(())).await.unwrap_err();
    assert!(old.to_string().contains("there is none of that name"), "{old}");
}

#[tokio::test]
async fn an_earlier_generation_does_not_take_a_savepoint_over() {
    let world = World::default();
    saved(&world).await;
    world.start(3).await;
    let error = world.checkpoints(2).take_over_savepoint("sale", &|_| Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn names_that_are_taken_or_none_are_refused() {
    let world = World::default();
    let other = world.checkpoints(0);
    let refused = |error: CheckpointError| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    assert!(refused(other.save("a").await.unwrap_err()).contains("no checkpoint yet"));
    saved(&world).await;
    assert!(refused(other.save("sale").await.unwrap_err()).contains("the name is taken"));
    assert!(refused(other.save("12").await.unwrap_err()).contains("begins with a letter"));
    assert!(refused(other.savepoint("b").await.unwrap_err()).contains("none of that name"));
}

/// Every order of two halves each: a savepoint is begun and stopped, a collection that gives its checkpoint up is begun and
/// stopped, the savepoint ends, the collection ends.
#[tokio::test]
async fn a_savepoint_that_is_made_while_garbage_is_collected_fails_or_holds() {
    let (mut of_old, mut of_new) = (0, 0);
    for saver_step in 1.. {
        let mut collector_step = 1;
        loop {
            let world = World::default();
            let mut process = world.start(1).await;
            process.checkpoint(&[1, 2]).await.unwrap();
            let slow = world.store.for_another();
            let (paused, go) = slow.pause_at(saver_step);
            let saver = world.checkpoints_in(Arc::new(slow), 0);
            let saving = tokio::spawn(async move { saver.save("a").await });
            if paused.await.is_err() {
                saving.await.unwrap().unwrap();
                assert!(of_old > 5 && of_new > 5, "{of_old} {of_new}");
                return;
            }
            process.checkpoint(&[1, 2]).await.unwrap();
            let (paused, go_on) = world.store.pause_at(collector_step);
            let collecting = tokio::spawn(async move {
                process.collect(1).await.unwrap();
                process
            });
            let reached = tokio::select! { reached = paused => reached.is_ok(), () = ended(&collecting) => false };
            go.send(()).unwrap();
            let saved = saving.await.unwrap();
            go_on.send(()).ok();
            let process = collecting.await.unwrap();
            process.collect(1).await.unwrap();
            let other = world.checkpoints(0);
            match saved {
                Ok(manifest) => {
                    other.verify(&other.savepoint("a").await.unwrap()).await.unwrap();
                    *(if manifest.id == 1 { &mut of_old } else { &mut of_new }) += 1;
                }
                Err(error) => panic!("{saver_step} {collector_step} {error}"),
            }
            if !reached {
                break;
            }
            collector_step += 1;
        }
    }
}

async fn ended<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_damaged_savepoint_is_told_and_blocks_nothing() {
    let world = World::default();
    let process = saved(&world).await;
    world.store.plan(Operation::Read, Fault::Error);
    process.store.collect_garbage(&super::keep(1)).await.unwrap_err();
    world
        .store
        .change(&Path::from("carts/savepoint/sale.json"), |text| text[30] ^= 1)
        .await
        .unwrap();
    let collected = process.store.collect_garbage(&super::keep(1)).await.unwrap();
    assert_eq!(collected.damaged_savepoints[0].0, "sale");
    assert!(collected.savepoints.is_empty() && collected.files > 0);
}
