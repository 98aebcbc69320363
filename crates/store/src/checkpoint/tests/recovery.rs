//! Finding the newest checkpoint that is whole.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use postrider_core::ErrorKind;

use super::{
    BlobRef, CheckpointError, CheckpointStore, Manifest, Process, World, bytes_of, state_path,
};
use crate::{
    checkpoint::faulty::{Fault, FaultyStore, Operation},
    limits::STATE_FILE_BYTES,
};

/// Three checkpoints, of which each refers to a part that is its own and one that all have.
async fn three(world: &World) -> Vec<Manifest> {
    let mut process = world.start(1).await;
    let mut manifests = vec![process.checkpoint(&[1, 2]).await.unwrap()];
    for _ in 0..2 {
        manifests.push(process.checkpoint(&[2]).await.unwrap());
    }
    manifests
}

/// The file that only this manifest refers to.
fn own_file(manifest: &Manifest) -> Path {
    state_path(&manifest.checkpoint.operators[0].parts[1].blob)
}

async fn recovered(store: &CheckpointStore) -> (Option<u64>, Vec<(u64, String)>) {
    let recovery = store.newest_valid(&|_| Ok(())).await.unwrap();
    let skipped = recovery.skipped.iter().map(|(id, error)| (*id, error.to_string()));
    (recovery.recovered.map(|recovered| recovered.manifest.id), skipped.collect())
}

#[tokio::test]
async fn nothing_is_recovered_from_an_empty_store() {
    let recovery = World::default().checkpoints(1).newest_valid(&|_| Ok(())).await.unwrap();
    assert!(recovery.recovered.is_none());
    assert!(recovery.skipped.is_empty());
}

#[tokio::test]
async fn the_newest_checkpoint_comes_with_its_bytes() {
    let world = World::default();
    let manifests = three(&world).await;
    let store = world.checkpoints(2);
    let recovery = store.newest_valid(&|_| Ok(())).await.unwrap();
    let recovered = recovery.recovered.unwrap();
    assert_eq!(recovered.manifest, manifests[2]);
    let parts = &manifests[2].checkpoint.operators[0].parts;
    assert_eq!(recovered.blobs.get(&parts[0].blob).unwrap(), "part 1 of epoch 1");
    assert_eq!(recovered.blobs.get(&parts[1].blob).unwrap(), "part 2 of epoch 3");
    assert_eq!((recovered.blobs.len(), recovered.blobs.bytes()), (2, 34));
    assert_eq!(store.read(&parts[1].blob).await.unwrap(), "part 2 of epoch 3");
    let reads = world.store.operations();
    assert_eq!(store.verify(&manifests[2]).await.unwrap(), recovered.blobs);
    assert_eq!(world.store.operations() - reads, 4, "a size and a read for each file");
}

/// Breaks the newest checkpoint, then sees that the one before it is used, and why.
async fn falls_back(break_it: impl AsyncFnOnce(&FaultyStore, &Path), reason: &str) {
    let world = World::default();
    let manifests = three(&world).await;
    let file = own_file(&manifests[2]);
    break_it(&world.store, &file).await;
    let (id, skipped) = recovered(&world.checkpoints(2)).await;
    assert_eq!(id, Some(2));
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].0, 3);
    assert!(skipped[0].1.contains(reason), "{}", skipped[0].1);
    assert!(skipped[0].1.contains("or go on from the checkpoint before it"));

    let (_, recovery) = Process::start(world.checkpoints(3)).await.unwrap();
    let taken = recovery.recovered.unwrap().manifest;
    assert_eq!((taken.id, taken.parent), (4, Some(2)), "the number is not used again");
    assert_eq!(taken.checkpoint, manifests[1].checkpoint);
}

#[tokio::test]
async fn a_flipped_bit_leads_to_the_checkpoint_before() {
    let flip = async |store: &FaultyStore, file: &Path| {
        store.change(file, |bytes| bytes[3] ^= 1).await.unwrap();
    };
    falls_back(flip, "the checksum of the 17 bytes at 0 does not match").await;
}

#[tokio::test]
async fn a_truncated_file_leads_to_the_checkpoint_before() {
    let cut = async |store: &FaultyStore, file: &Path| {
        store.change(file, |bytes| bytes.truncate(16)).await.unwrap();
    };
    falls_back(cut, "it has 16 bytes, and must have 17 at least").await;
}

#[tokio::test]
async fn a_missing_file_leads_to_the_checkpoint_before() {
    let delete = async |store: &FaultyStore, file: &Path| {
        store.objects.delete(file).await.unwrap();
    };
    falls_back(delete, "it is missing").await;
}

#[tokio::test]
async fn a_damaged_manifest_leads_to_the_checkpoint_before() {
    let flip = async |store: &FaultyStore, _: &Path| {
        let path = Path::from("carts/manifest/00000000000000000003.json");
        store.change(&path, |bytes| bytes[40] ^= 1).await.unwrap();
    };
    falls_back(flip, "its checksum does not match").await;
}

#[tokio::test]
async fn if_all_are_damaged_each_is_reported() {
    let world = World::default();
    let manifests = three(&world).await;
    let shared = state_path(&manifests[0].checkpoint.operators[0].parts[0].blob);
    world.store.objects.delete(&shared).await.unwrap();
    let store = world.checkpoints(2);
    let (id, skipped) = recovered(&store).await;
    assert_eq!(id, None);
    assert_eq!(skipped.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 2, 1]);
    let before = world.store.names().await;
    let mut process = world.start(2).await;
    process.collect(1).await.unwrap();
    assert_eq!(world.store.names().await, before, "no good checkpoint is known");
    assert_eq!(process.checkpoint(&[1]).await.unwrap().id, 4);
}

#[tokio::test]
async fn an_unreachable_store_is_not_taken_for_damage() {
    let world = World::default();
    three(&world).await;
    for operation in [Operation::List, Operation::Size, Operation::Read] {
        world.store.plan(operation, Fault::Error);
        let error = world.checkpoints(2).newest_valid(&|_| Ok(())).await.unwrap_err();
        assert!(matches!(error, CheckpointError::Store { .. }));
        assert_eq!(error.kind(), ErrorKind::Retry);
    }
}

#[tokio::test]
async fn bytes_that_change_on_their_way_are_read_again() {
    let world = World::default();
    let manifests = three(&world).await;
    for fault in [Fault::Truncated, Fault::Flipped] {
        world.store.plan(Operation::Read, fault);
        assert_eq!(recovered(&world.checkpoints(2)).await, (Some(3), Vec::new()));
        world.store.plan(Operation::Read, fault);
        let blob = &manifests[0].checkpoint.operators[0].parts[0].blob;
        assert_eq!(world.checkpoints(2).read(blob).await.unwrap(), "part 1 of epoch 1");
        // Twice is not on the way.
        world.store.plan(Operation::Read, fault);
        world.store.plan(Operation::Read, fault);
        let error = world.checkpoints(2).read(blob).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
    }
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_is_passed_over() {
    let world = World::default();
    three(&world).await;
    let check = |manifest: &Manifest| match manifest.id {
        1 => Ok(()),
        _ => Err("the SQL is another".to_owned().into()),
    };
    let reads = world.store.operations();
    let recovery = world.checkpoints(2).newest_valid(&check).await.unwrap();
    assert_eq!(recovery.recovered.unwrap().manifest.id, 1);
    assert_eq!(recovery.skipped.len(), 2);
    assert_eq!(
        recovery.skipped[0].1.to_string(),
        "checkpoint 3 can't be restored here: the SQL is another; the one before it is tried"
    );
    assert_eq!(world.store.operations() - reads, 2 + 3 + 2, "blobs of refused ones are not read");
}

#[tokio::test]
async fn a_blob_has_to_be_in_a_state_file() {
    let world = World::default();
    let file = "../../secret".to_owned();
    let blob = BlobRef { file, offset: 0, bytes: 1, crc32c: 0 };
    let error = world.checkpoints(1).read(&blob).await.unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged { .. }));
    assert_eq!(world.store.operations(), 0);
}

#[tokio::test]
async fn empty_blobs_and_large_ones_come_back() {
    let world = World::default();
    let store = world.checkpoints(1);
    let size = usize::try_from(STATE_FILE_BYTES).unwrap();
    let blobs = [0, 10, 0, size - 10, 1, size + 1, 7].map(|bytes| Bytes::from(vec![7; bytes]));
    let mut writer = store.writer(5);
    let added: Vec<_> = blobs.iter().map(|blob| writer.add(blob.clone())).collect();
    let bytes = writer.finish().await.unwrap();
    assert_eq!(bytes, blobs.iter().map(|blob| blob.len() as u64).sum::<u64>());
    assert_eq!(world.store.names().await.len(), 4);
    for (blob, bytes) in added.iter().zip(&blobs) {
        assert_eq!(store.read(blob).await.unwrap(), bytes);
    }
    assert_eq!(added[3].file, added[0].file, "64 MiB fit");
    assert_eq!(added[6].offset, 0, "nothing is put behind a blob that is too large");
}

#[tokio::test]
async fn a_state_file_of_somebody_else_is_not_taken_for_ones_own() {
    let world = World::default();
    let mut writer = world.checkpoints(1).writer(5);
    let blob = writer.add(Bytes::from_static(b"mine"));
    let theirs = PutPayload::from_static(b"them");
    world.store.objects.put(&state_path(&blob), theirs).await.unwrap();
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::Data);
}

#[tokio::test]
async fn operations_run_on_any_thread() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let world = World::default();
    let mut process = world.start(1).await;
    let store = world.checkpoints(1);
    let manifest = assert_send(process.checkpoint(&[1])).await.unwrap();
    let bytes = assert_send(store.verify(&manifest)).await.unwrap();
    assert_eq!(bytes_of(&bytes, &manifest), process.parts.values().cloned().collect());
    assert_send(Process::start(world.checkpoints(1))).await.unwrap();
    assert_send(store.collect_garbage(&super::keep(1))).await.unwrap();
    assert_send(store.self_test()).await.unwrap();
}
