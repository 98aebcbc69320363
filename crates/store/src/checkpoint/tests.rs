//! A pipeline that takes checkpoints, in a store that fails.

mod commits;
mod format;
mod garbage;
mod local;
mod model;
mod recovery;
mod savepoints;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use object_store::{ObjectStore, path::Path};
use postrider_core::{Clock, ClockTime, Generation, PipelineName, Sleep};

use super::{
    BlobRef, Checkpoint, CheckpointContents, CheckpointError, CheckpointStore, Manifest,
    NonceSource, OperatorState, PartState, Recovery, Retention, SinkState, SourceState,
    VerifiedBytes, faulty::FaultyStore,
};
use crate::SourceStatus;

#[derive(Debug, Default)]
struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn now(&self) -> ClockTime {
        ClockTime(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _: ClockTime) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

/// A store, and what its processes share.
#[derive(Clone, Default)]
struct World {
    store: FaultyStore,
    clock: Arc<StoppedClock>,
    nonces: Arc<AtomicU64>,
}

impl World {
    /// The checkpoints of pipeline `carts`.
    fn checkpoints(&self, generation: u64) -> CheckpointStore {
        self.checkpoints_in(Arc::new(self.store.clone()), generation)
    }

    fn checkpoints_in(&self, store: Arc<dyn ObjectStore>, generation: u64) -> CheckpointStore {
        let counter = Arc::clone(&self.nonces);
        let nonces: NonceSource = Arc::new(move || counter.fetch_add(1, Ordering::SeqCst).into());
        let (pipeline, clock) = (PipelineName("carts".to_owned()), Arc::clone(&self.clock));
        CheckpointStore::new(store, &pipeline, Generation(generation), clock, nonces)
    }

    /// A process that takes over.
    async fn start(&self, generation: u64) -> Process {
        Process::start(self.checkpoints(generation)).await.unwrap().0
    }

    fn advance(&self, ns: i64) {
        self.clock.0.fetch_add(ns, Ordering::SeqCst);
    }
}

/// A process with one operator, whose parts are `part -> (where, bytes)`.
struct Process {
    store: CheckpointStore,
    epoch: u64,
    parts: BTreeMap<u64, (BlobRef, Bytes)>,
    /// The last checkpoint that a commit was tried with, and the bytes of its blobs.
    tried: Mutex<Option<(Checkpoint, HashMap<BlobRef, Bytes>)>>,
}

impl Process {
    async fn start(store: CheckpointStore) -> Result<(Self, Recovery), CheckpointError> {
        let recovery = store.take_over(&|_| Ok(())).await?;
        let mut process = Self { store, epoch: 0, parts: BTreeMap::new(), tried: Mutex::default() };
        if let Some(recovered) = &recovery.recovered {
            process.epoch = recovered.manifest.checkpoint.epoch;
            for part in &recovered.manifest.checkpoint.operators[0].parts {
                let bytes = recovered.blobs.get(&part.blob).unwrap();
                process.parts.insert(part.id, (part.blob.clone(), bytes));
            }
        }
        Ok((process, recovery))
    }

    /// Changes some parts, an epoch later, and takes a checkpoint.
    async fn checkpoint(&mut self, changed: &[u64]) -> Result<Manifest, CheckpointError> {
        self.epoch += 1;
        let mut parts = self.parts.clone();
        let mut writer = self.store.writer(self.epoch);
        for part in changed {
            let bytes = Bytes::from(format!("part {part} of epoch {}", self.epoch));
            parts.insert(*part, (writer.add(bytes.clone()), bytes));
        }
        writer.finish().await?;
        let checkpoint = checkpoint(self.epoch, parts.iter().map(|(id, (blob, _))| (*id, blob)));
        *self.tried.lock().unwrap() = Some((checkpoint.clone(), parts.values().cloned().collect()));
        let manifest = self.store.commit(checkpoint).await?;
        self.parts = parts;
        Ok(manifest)
    }

    async fn collect(&self, manifests: usize) -> Result<(), CheckpointError> {
        self.store.collect_garbage(&keep(manifests)).await.map(drop)
    }
}

fn keep(manifests: usize) -> Retention {
    Retention { manifests, age_ns: 0 }
}

fn contents(epoch: u64) -> CheckpointContents {
    CheckpointContents {
        pipeline: "carts".to_owned(),
        fingerprint: "c0ffee".to_owned(),
        number: epoch + 100,
        fire_series: 2,
        epoch,
        clock: 1_700_000_000_000_000_000,
        log_position: 4096 * epoch,
        log_identity: None,
        watermark: i64::MIN,
        sources: vec![source("clicks")],
        sinks: vec![SinkState {
            sink: "history".to_owned(),
            watermark: 1_699_999_998_000_000_000,
            position: Some(77),
        }],
        operators: Vec::new(),
    }
}

fn source(table: &str) -> SourceState {
    SourceState {
        table: table.to_owned(),
        part: "0001.jsonl".to_owned(),
        offset: 9_007_199_254_740_993,
        watermark: 1_699_999_999_000_000_000,
        status: SourceStatus::Idle,
        last_event_time: Some(1_699_999_999_999_999_999),
        ended: false,
    }
}

/// A checkpoint of an operator with these parts.
fn checkpoint<'a>(epoch: u64, parts: impl Iterator<Item = (u64, &'a BlobRef)>) -> Checkpoint {
    let part = |(id, blob): (u64, &BlobRef)| PartState {
        id,
        shard: 0,
        rows: 1,
        dead: None,
        blob: blob.clone(),
    };
    let operator = OperatorState {
        identity: "tumble(1 hour) by user_id".to_owned(),
        name: "window 1".to_owned(),
        watermark: 0,
        shards: 2,
        parts: parts.map(part).collect(),
    };
    let contents = CheckpointContents { operators: vec![operator], ..contents(epoch) };
    Checkpoint::new(&["clicks".to_owned()], contents).unwrap()
}

/// The full name of a state file.
fn state_path(blob: &BlobRef) -> Path {
    Path::from(format!("carts/state/{}", blob.file))
}

fn bytes_of(blobs: &VerifiedBytes, manifest: &Manifest) -> HashMap<BlobRef, Bytes> {
    let blobs = manifest.checkpoint.blobs().map(|blob| (blob.clone(), blobs.get(blob).unwrap()));
    blobs.collect()
}
