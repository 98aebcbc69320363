//! The log, its checkpoints, its outbox and the deletion of its beginning together, against a list of frames: random lives of
//! processes that append, seal, crash, are taken over and live on as zombies.

mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use object_store::memory::InMemory;
use postrider_core::{ErrorKind, PipelineName, SendId, SubjectId, WorkspaceId};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use tempfile::TempDir;

use self::steps::{Step, StoppedClock, checkpoint, steps};
use super::{Log, LogError, Lsn, NewFrame, Opened, Tuning, event, read_all};
use crate::{
    CheckpointError, CheckpointStore, DecisionRecord, EpochSealed, FrameKind, Housekeeping,
    KeepLog, Outbox, PipelineNeeds, Retention, RowRef, SealKind, TriggersRecord,
    files::page_cache::CachedFiles, lock::DirectoryLock,
};

const NOTHING: KeepLog = KeepLog { time: Duration::ZERO, bytes: 0 };
const WHO: (WorkspaceId, SubjectId) = (WorkspaceId::DEFAULT, SubjectId::NONE);

struct Process {
    log: Log,
    checkpoints: CheckpointStore,
}

struct Model {
    dir: TempDir,
    disk: CachedFiles,
    objects: Arc<InMemory>,
    nonces: Arc<AtomicU64>,
    process: Option<Process>,
    zombie: Option<Process>,
    /// Every frame that was ever durable, but for those that open the log.
    frames: BTreeMap<u64, (FrameKind, Bytes)>,
    /// Sealed epochs and their rows.
    epochs: BTreeMap<u64, u32>,
    undecided: BTreeSet<(u64, u32)>,
    /// The epoch and the log position of the newest checkpoint.
    committed: Option<(u64, u64)>,
    /// Whether the running process has a manifest of its own, which fences the zombie.
    fences: bool,
    start: Lsn,
}

impl Model {
    async fn new() -> Self {
        let mut model = Self {
            dir: tempfile::tempdir().unwrap(),
            disk: CachedFiles::default(),
            objects: Arc::new(InMemory::new()),
            nonces: Arc::default(),
            process: None,
            zombie: None,
            frames: BTreeMap::new(),
            epochs: BTreeMap::new(),
            undecided: BTreeSet::new(),
            committed: None,
            fences: false,
            start: Lsn::ZERO,
        };
        model.process = Some(model.open().await);
        model
    }

    async fn open(&self) -> Process {
        let lock = DirectoryLock::take(self.dir.path(), Duration::from_secs(3_600), |_| ());
        let tuning = Tuning { segment_bytes: 400, disk_full_pause: Duration::ZERO, identity: None };
        let files = Arc::new(self.disk.clone());
        let Opened { log, .. } = Log::open_files(files, tuning, Some(lock.unwrap())).unwrap();
        let checkpoints = self.checkpoints(log.generation().0);
        let span = crate::LogSpan::of(&log);
        let fits = move |manifest: &crate::Manifest| span.fits(&manifest.checkpoint);
        checkpoints.take_over(&fits).await.unwrap();
        Process { log, checkpoints }
    }

    fn checkpoints(&self, generation: u64) -> CheckpointStore {
        let nonces = Arc::clone(&self.nonces);
        let nonces = Arc::new(move || u128::from(nonces.fetch_add(1, Ordering::SeqCst)));
        let name = PipelineName("shop".to_owned());
        let generation = postrider_core::Generation(generation);
        let objects = Arc::<InMemory>::clone(&self.objects);
        CheckpointStore::new(objects, &name, generation, Arc::new(StoppedClock), nonces)
    }

    fn running(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    fn epoch(&self) -> u64 {
        self.epochs.len() as u64
    }

    fn sealed(&self, rows: u32) -> Vec<NewFrame> {
        let (pipeline, epoch) = ("shop".to_owned(), self.epoch() + 1);
        let triggers = TriggersRecord {
            fire_series: 0,
            pipeline: pipeline.clone(),
            sink: "mails".to_owned(),
            epoch,
            count: rows,
            rows: Bytes::from(vec![b'r'; 90 * rows as usize]),
        };
        let kind = SealKind::Input.into();
        let trigger_rows = u64::from(rows);
        let seal = EpochSealed { pipeline, epoch, kind, trigger_rows, ..EpochSealed::default() };
        vec![triggers.frame(WHO.0, WHO.1), seal.frame(WHO.0, WHO.1)]
    }

    fn note_sealed(&mut self, rows: u32) {
        let epoch = self.epoch() + 1;
        self.epochs.insert(epoch, rows);
        self.undecided.extend((0..rows).map(|row| (epoch, row)));
    }

    async fn happen(&mut self, step: Step) {
        match step {
            Step::Append { bytes } => self.append(vec![event(vec![b'e'; bytes])]).await,
            Step::Seal { rows } => {
                self.append(self.sealed(rows)).await;
                self.note_sealed(rows);
            }
            Step::Decide => self.decide().await,
            Step::Snapshot => {
                let log = &self.running().log;
                let outbox = Outbox::read(&log.reader(log.start())).unwrap();
                outbox.save(&log.views()).unwrap();
            }
            Step::Checkpoint => {
                let at = (self.epoch(), self.running().log.durable().borrow().0);
                self.running().checkpoints.commit(checkpoint(at)).await.unwrap();
                (self.committed, self.fences) = (Some(at), true);
            }
            Step::Collect => drop(self.oldest_position().await),
            Step::Truncate => self.truncate().await,
            Step::Crash { rows, keeps } => self.crash(rows, keeps).await,
            Step::Takeover => {
                let next = self.open().await;
                self.zombie = self.process.replace(next);
                self.fences = self.committed.is_some();
            }
            Step::ZombieAppends => {
                let Some(zombie) = &self.zombie else { return };
                let error = zombie.log.append(self.sealed(1)).await.unwrap_err();
                assert!(matches!(error, LogError::Fenced { .. }), "{error}");
            }
            Step::ZombieCommits => self.zombie_commits().await,
            Step::ZombieTruncates => {
                let Some(zombie) = &self.zombie else { return };
                let end = *zombie.log.durable().borrow();
                if let Ok(shortened) = zombie.log.truncate_before(end) {
                    assert_eq!(shortened.segments, 0);
                }
            }
        }
    }

    async fn append(&mut self, frames: Vec<NewFrame>) {
        self.running().log.append(frames.clone()).await.unwrap();
        assert_eq!(self.adopt(), frames.len(), "not all of it is there");
        let newest = self.frames.values().rev().take(frames.len()).rev();
        let written = frames.iter().map(|frame| (frame.kind, frame.payload.clone()));
        assert!(newest.cloned().eq(written));
    }

    /// Compares the log with the frames, and takes over new ones; how many.
    fn adopt(&mut self) -> usize {
        let log = &self.running().log;
        let found = read_all(log.reader(log.start()));
        let first = found.first().map_or(0, |frame| frame.sequence);
        let found = found.into_iter().filter(|frame| frame.kind != FrameKind::Opened);
        let found: BTreeMap<_, _> =
            found.map(|frame| (frame.sequence, (frame.kind, frame.payload))).collect();
        for (sequence, frame) in self.frames.range(first..) {
            assert_eq!(found.get(sequence), Some(frame), "frame {sequence}");
        }
        let before = self.frames.len();
        self.frames.extend(found);
        self.frames.len() - before
    }

    async fn decide(&mut self) {
        let Some((epoch, row)) = self.undecided.pop_first() else { return };
        let send = SendId((u128::from(epoch) << 64 | u128::from(row)).to_be_bytes());
        let (pipeline, sink) = ("shop".to_owned(), "mails".to_owned());
        let decision = DecisionRecord {
            send_id: DecisionRecord::send_id(send),
            reason: "quiet".to_owned(),
            detail: String::new(),
            row: RowRef { pipeline, sink, epoch, row, ..RowRef::default() },
        };
        self.append(vec![decision.frame(WHO.0, WHO.1)]).await;
    }

    /// Where a restart from the oldest checkpoint begins to read, once garbage was collected.
    async fn oldest_position(&self) -> Option<Lsn> {
        let checkpoints = &self.running().checkpoints;
        let retention = Retention { manifests: 2, age_ns: 0 };
        let oldest = checkpoints.collect_garbage(&retention).await.unwrap().oldest?;
        Some(Lsn(checkpoints.load(oldest).await.unwrap().checkpoint.log_position))
    }

    async fn truncate(&mut self) {
        let positions = self.oldest_position().await.into_iter().collect();
        let needs = PipelineNeeds { pipeline: "shop".to_owned(), positions };
        let housekeeping = Housekeeping {
            pipelines: &[needs],
            views: &[],
            dispatcher_runs: true,
            keep: NOTHING,
            now: 1,
        };
        let tidied = housekeeping.run(&self.running().log).unwrap();
        assert!(tidied.shortened.start >= self.start);
        self.start = tidied.shortened.start;
    }

    async fn crash(&mut self, rows: u32, keeps: Option<u64>) {
        let frames = self.sealed(rows);
        self.disk.set_failing(true);
        self.running().log.append(frames.clone()).await.unwrap_err();
        self.disk.set_failing(false);
        self.process = None;
        if let Some(keeps) = keeps {
            // A zombie is on the same machine.
            self.zombie = None;
            let mut choices = keeps;
            self.disk.lose_power(&mut || {
                choices = choices.rotate_right(1);
                choices & 1 == 1
            });
        }
        self.process = Some(self.open().await);
        self.fences = self.committed.is_some();
        let adopted = self.adopt();
        assert!(adopted <= frames.len());
        if adopted == frames.len() {
            self.note_sealed(rows);
        }
    }

    async fn zombie_commits(&mut self) {
        let Some(zombie) = &self.zombie else { return };
        let at = (self.epoch(), zombie.log.durable().borrow().0);
        match zombie.checkpoints.commit(checkpoint(at)).await {
            // Where there was no checkpoint to take over, and none of the successor's since, its own is as good as any.
            Ok(_) => {
                assert!(!self.fences, "it is fenced");
                self.committed = Some(at);
            }
            Err(error @ CheckpointError::Fenced { .. }) => {
                assert_eq!(error.kind(), ErrorKind::Fenced);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn check(&mut self) {
        assert_eq!(self.adopt(), 0);
        let log = &self.running().log;
        assert_eq!(log.start(), self.start);
        let outbox = Outbox::read(&log.reader(log.start())).unwrap();
        let counts = outbox.counts();
        let rows: u32 = self.epochs.values().sum();
        assert!(counts.conserved());
        assert_eq!(counts.trigger_rows, u64::from(rows));
        assert_eq!(counts.undecided, self.undecided.len() as u64);
        let recovery = self.checkpoints(u64::MAX).newest_valid(&|_| Ok(())).await.unwrap();
        let found = recovery.recovered.map(|recovered| {
            let checkpoint = recovered.manifest.checkpoint;
            (checkpoint.epoch, checkpoint.log_position)
        });
        assert_eq!(found, self.committed);
        let end = log.durable().borrow().0;
        assert!(found.is_none_or(|(_, at)| (log.start().0..=end).contains(&at)));
    }
}

/// A life in which much is deleted, so that the random ones are known to get there.
#[tokio::test]
async fn what_is_deleted_is_in_checkpoints_and_snapshots() {
    let mut model = Model::new().await;
    for round in 1..5 {
        let mut steps = vec![Step::Seal { rows: 3 }; 4];
        steps.extend([Step::Snapshot, Step::Seal { rows: 2 }, Step::Snapshot, Step::Checkpoint]);
        steps.extend([Step::Takeover, Step::Checkpoint, Step::Seal { rows: 2 }, Step::Truncate]);
        steps.extend([Step::ZombieTruncates, Step::Crash { rows: 2, keeps: Some(round) }]);
        let before = model.start;
        for step in steps {
            model.happen(step).await;
            model.check().await;
        }
        assert!(model.start > before, "round {round}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn log_checkpoints_and_outbox_agree_whatever_happens(steps in vec(steps(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for step in steps {
                model.happen(step).await;
                model.check().await;
            }
        });
    }
}
