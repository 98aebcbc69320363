//! A state directory, and processes that run on it and die.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use postrider_core::{ClockTime, Generation, PipelineName};
use postrider_engine::{
    CheckpointFacts, Checkpoints, EngineError, EngineObserver, ManualClock, Pipeline,
    PipelineOptions, PipelineSummary, RecoveryFacts, RestoreFrom, SealFacts, UpgradePlan,
};
use postrider_store::{
    CheckpointStore, EpochSealed, FrameKind, Log, LogIdentity, LogOptions, Retention,
    TriggersRecord, local_checkpoints,
};
use tokio::sync::Notify;

use crate::harness::{Tables, Written, options_into, plan, texts};

/// What a pipeline told, and when to let it die.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) recovered: Mutex<Option<RecoveryFacts>>,
    pub(crate) checkpoints: Mutex<Vec<CheckpointFacts>>,
    pub(crate) upgrade: Mutex<Option<UpgradePlan>>,
    seals: AtomicU64,
    die_at: u64,
    dies: Notify,
}

impl EngineObserver for Watch {
    fn sealed(&self, _facts: &SealFacts<'_>) {
        if self.seals.fetch_add(1, Ordering::Relaxed) + 1 == self.die_at {
            self.dies.notify_one();
        }
    }

    fn recovered(&self, _pipeline: &str, facts: &RecoveryFacts) {
        *self.recovered.lock().unwrap() = Some(facts.clone());
    }

    fn upgrading(&self, _pipeline: &str, plan: &UpgradePlan) {
        *self.upgrade.lock().unwrap() = Some(plan.clone());
    }

    fn checkpointed(&self, _pipeline: &str, facts: &CheckpointFacts) {
        self.checkpoints.lock().unwrap().push(facts.clone());
    }
}

/// A state directory: its log, and its checkpoints beside it.
pub(crate) struct State<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) sql: &'a str,
    /// A checkpoint at least so often, in nanoseconds of a clock that stands still: 0 is every epoch.
    pub(crate) every_ns: i64,
    pub(crate) accept_gap: bool,
    pub(crate) refire: bool,
    /// What to go on from, instead of the newest checkpoint.
    pub(crate) restore: Option<RestoreFrom>,
}

impl State<'_> {
    /// Runs a process: to its end, or until it has sealed so many epochs and dies.
    pub(crate) fn run(
        &self,
        tables: Tables,
        shards: usize,
        die_at: u64,
    ) -> (Option<Result<PipelineSummary, EngineError>>, Arc<Watch>) {
        self.run_into(tables, shards, die_at, &Written::default())
    }

    /// The same, with data sinks that outlive it.
    pub(crate) fn run_into(
        &self,
        tables: Tables,
        shards: usize,
        die_at: u64,
        written: &Written,
    ) -> (Option<Result<PipelineSummary, EngineError>>, Arc<Watch>) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
        let runtime = runtime.unwrap();
        let watch = Arc::new(Watch { die_at, ..Watch::default() });
        let ended = runtime.block_on(async {
            let log = self.log();
            let options = self.options(tables, shards, &log, &watch, written);
            match Pipeline::start(options).await {
                Err(error) => Some(Err(error)),
                Ok(mut pipeline) => tokio::select! {
                    biased;
                    () = watch.dies.notified() => None,
                    ended = pipeline.finished() => Some(ended),
                },
            }
        });
        (ended, watch)
    }

    fn options(
        &self,
        tables: Tables,
        shards: usize,
        log: &Log,
        watch: &Arc<Watch>,
        written: &Written,
    ) -> PipelineOptions {
        let mut options = options_into(plan(self.sql), tables, shards, log, written);
        options.checkpoints = Some(Checkpoints {
            store: self.checkpoints(log.generation()),
            every_ns: self.every_ns,
            log_bytes: u64::MAX,
            compress: shards.is_multiple_of(2),
            retention: Retention { manifests: 2, age_ns: 0 },
            restore: self.restore.clone(),
            accept_gap: self.accept_gap,
            refire: self.refire,
        });
        options.observer = Arc::clone(watch) as _;
        options
    }

    /// Its checkpoints, as a process of a generation has them.
    pub(crate) fn checkpoints(&self, generation: Generation) -> CheckpointStore {
        let name = PipelineName("test".to_owned());
        let objects = local_checkpoints(&self.dir.join("checkpoints")).unwrap();
        let clock = Arc::new(ManualClock::new(ClockTime(0)));
        CheckpointStore::new(objects, &name, generation, clock, Arc::new(rand_nonce))
    }

    /// Its log, with many segments.
    pub(crate) fn log(&self) -> Log {
        let options = LogOptions::new(self.dir.join("log"));
        let identity = Some(LogIdentity(rand_nonce()));
        Log::open(LogOptions { segment_bytes: 20_000, identity, ..options }).unwrap().log
    }

    /// The series of its trigger rows, each once.
    pub(crate) fn fire_series(&self) -> Vec<u32> {
        let log = self.log();
        let mut reader = log.reader(log.start());
        let mut series = std::collections::BTreeSet::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            if frame.kind == FrameKind::Triggers {
                series.insert(TriggersRecord::decode(&frame.payload).unwrap().fire_series);
            }
        }
        series.into_iter().collect()
    }

    /// All sealed trigger rows, as sorted texts.
    pub(crate) fn trigger_rows(&self) -> Vec<String> {
        let log = self.log();
        let mut reader = log.reader(log.start());
        let (mut sealed, mut open): (Vec<RecordBatch>, Vec<TriggersRecord>) = Default::default();
        let mut generation = None;
        while let Some(frame) = reader.next_frame().unwrap() {
            if generation.replace(frame.generation) != Some(frame.generation) {
                open.clear();
            }
            match frame.kind {
                FrameKind::Triggers => open.push(TriggersRecord::decode(&frame.payload).unwrap()),
                FrameKind::EpochSealed => {
                    let epoch = EpochSealed::decode(&frame.payload).unwrap().epoch;
                    for record in open.drain(..).filter(|record| record.epoch == epoch) {
                        let rows = StreamReader::try_new(record.rows.as_ref(), None).unwrap();
                        sealed.extend(rows.map(Result::unwrap));
                    }
                }
                _ => {}
            }
        }
        texts(&sealed)
    }
}

fn rand_nonce() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(std::process::id())
}
