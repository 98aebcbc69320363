//! When checkpoints are taken, and what goes into them beside the state of operators.

use postrider_core::{ClockTime, EpochKind, Watermark};
use postrider_store::{
    CheckpointContents, CheckpointError, EpochSealed, Lsn, OperatorState, SinkState, SourceState,
};
use tokio::sync::{mpsc, oneshot};

use super::{Coordinator, DEAD_LETTERS};
use crate::{
    CheckpointFacts, EngineError,
    limits::LAST_CHECKPOINT_NS,
    runtime::{
        checkpoint::{CheckpointJob, StageSnapshot},
        ingest::CutKind,
        seal::OpenEpoch,
    },
    upgrade::hex,
};

/// Who asked for a checkpoint, and learns what became of it.
pub(crate) type Asker = oneshot::Sender<Result<CheckpointFacts, String>>;

/// What the coordinator knows of checkpoints.
pub(crate) struct CheckpointState {
    pub(crate) jobs: mpsc::Sender<CheckpointJob>,
    pub(crate) every_ns: i64,
    pub(crate) log_bytes: u64,
    /// The number of the newest one that was marked.
    pub(crate) number: u64,
    /// When the newest one was marked or had been restored (wall clock), and how far the log was.
    pub(crate) tried_at: ClockTime,
    pub(crate) tried_log: Lsn,
    /// Whether one is on its way: marked, but neither committed nor given up.
    pub(crate) pending: bool,
    /// Whether an epoch was sealed since the newest one was marked.
    pub(crate) news: bool,
    /// Who asked for the next one.
    pub(crate) asked: Vec<Asker>,
    /// Who waits for the one that is on its way.
    pub(crate) awaited: Vec<Asker>,
    /// How far the dead letters are sealed.
    pub(crate) dead_letters: Option<u64>,
}

impl CheckpointState {
    /// When the next one is due, if nothing else makes an epoch; `None` if there is nothing to keep.
    fn due_at(&self) -> Option<ClockTime> {
        let due = ClockTime(self.tried_at.0.saturating_add(self.every_ns));
        (self.news && !self.pending).then_some(due)
    }

    fn is_due(&self, now: ClockTime, log_end: Lsn) -> bool {
        if self.pending {
            return false;
        }
        let grown = log_end.0.saturating_sub(self.tried_log.0) >= self.log_bytes;
        !self.asked.is_empty() || (self.news && (grown || self.due_at() <= Some(now)))
    }

    /// Whether somebody waits for one that can be marked now.
    pub(super) fn is_asked(&self) -> bool {
        !self.pending && !self.asked.is_empty()
    }

    /// Marks one; its number.
    fn mark(&mut self, now: ClockTime, log_end: Lsn) -> u64 {
        self.number += 1;
        (self.tried_at, self.tried_log) = (now, log_end);
        (self.pending, self.news) = (true, false);
        self.awaited.append(&mut self.asked);
        self.number
    }
}

impl Coordinator {
    /// The number of the checkpoint that the next barrier is marked with, if one is due.
    pub(super) fn mark_checkpoint(&mut self) -> Option<u64> {
        let (now, log_end) = (self.wall.now(), *self.log.durable().borrow());
        let checkpoints = self.checkpoints.as_mut()?;
        checkpoints.is_due(now, log_end).then(|| checkpoints.mark(now, log_end))
    }

    /// When an epoch is to be cut for a checkpoint alone (wall clock).
    pub(super) fn checkpoint_due_at(&self) -> Option<ClockTime> {
        self.checkpoints.as_ref()?.due_at()
    }

    pub(super) fn ask_checkpoint(&mut self, asker: Asker) {
        match &mut self.checkpoints {
            Some(checkpoints) => checkpoints.asked.push(asker),
            None => tell(asker, Err("this pipeline keeps no checkpoints".to_owned())),
        }
    }

    /// Hands the snapshot of a sealed epoch over to be written. `end` is where its seal ends in the log.
    pub(super) async fn submit_checkpoint(
        &mut self,
        mut open: OpenEpoch,
        sealed: &EpochSealed,
        end: Lsn,
    ) -> Result<(), EngineError> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        if open.barrier.checkpoint.is_none() {
            checkpoints.news = true;
            return Ok(());
        }
        let jobs = checkpoints.jobs.clone();
        let contents = Some(self.contents(&open, sealed, end));
        let job = CheckpointJob { snapshots: snapshots(&mut open), contents };
        jobs.send(job).await.map_err(|_| self.lost_task())
    }

    /// Takes note of the snapshot of a replayed epoch, so that the next checkpoint goes on from it.
    pub(super) async fn note_snapshot(&mut self, mut open: OpenEpoch) -> Result<(), EngineError> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        checkpoints.news = true;
        if let Some(number) = open.barrier.checkpoint {
            checkpoints.number = number;
            let job = CheckpointJob { snapshots: snapshots(&mut open), contents: None };
            if checkpoints.jobs.send(job).await.is_err() {
                return Err(self.lost_task());
            }
        }
        Ok(())
    }

    /// A checkpoint was committed or given up.
    pub(super) fn checkpointed(
        &mut self,
        outcome: Result<CheckpointFacts, CheckpointError>,
    ) -> Result<(), EngineError> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        checkpoints.pending = false;
        checkpoints.news |= outcome.is_err();
        let told = outcome.as_ref().map(Clone::clone).map_err(ToString::to_string);
        checkpoints.awaited.drain(..).for_each(|asker| tell(asker, told.clone()));
        match outcome {
            Ok(facts) => self.observer.checkpointed(&self.pipeline, &facts),
            Err(error @ CheckpointError::Fenced { .. }) => return Err(error.into()),
            Err(error) => self.observer.checkpoint_failed(&self.pipeline, &error),
        }
        Ok(())
    }

    /// A last checkpoint before the end, so that the next start has nothing to replay. Without it that would only take longer, so
    /// a store that does not answer holds nobody up for long.
    pub(super) async fn last_checkpoint(&mut self) -> Result<(), EngineError> {
        if !self.checkpoints.as_ref().is_some_and(|c| c.news || c.pending) {
            return Ok(());
        }
        let wall = std::sync::Arc::clone(&self.wall);
        let given_up = wall.sleep_until(ClockTime(wall.now().0.saturating_add(LAST_CHECKPOINT_NS)));
        tokio::pin!(given_up);
        let mut tried = false;
        loop {
            let pending = self.checkpoints.as_ref().is_some_and(|c| c.pending);
            match &mut self.checkpoints {
                Some(checkpoints) if !pending && checkpoints.news && !tried => {
                    tried = true;
                    checkpoints.tried_at = ClockTime(i64::MIN);
                    self.cut(EpochKind::Input, |_| CutKind::Live).await?;
                }
                _ if !pending && self.open.is_empty() => return Ok(()),
                _ => {}
            }
            tokio::select! {
                biased;
                report = self.reports.recv() => {
                    if self.collect(report)? {
                        self.seal_complete().await?;
                    }
                }
                () = &mut given_up, if self.open.is_empty() => return Ok(()),
            }
        }
    }

    pub(super) fn contents(
        &self,
        open: &OpenEpoch,
        sealed: &EpochSealed,
        end: Lsn,
    ) -> CheckpointContents {
        let fingerprint = hex(&self.fingerprint);
        CheckpointContents {
            pipeline: self.pipeline.clone(),
            fingerprint,
            number: sealed.checkpoint,
            fire_series: self.fire_series,
            epoch: sealed.epoch,
            clock: sealed.clock,
            log_position: end.0,
            log_identity: self.log.identity(),
            watermark: sealed.watermark,
            sources: sealed.sources.iter().map(source_state).collect(),
            sinks: self.sink_states(open, sealed),
            operators: self.operator_states(open),
        }
    }

    fn sink_states(&self, open: &OpenEpoch, sealed: &EpochSealed) -> Vec<SinkState> {
        let position = |name: &str| {
            let sealed = sealed.sinks.iter().find(|seal| seal.sink == name);
            sealed.map(|seal| seal.position)
        };
        let sinks = open.sinks.values().map(|report| {
            let sink = self.shape.sinks[report.sink].clone();
            SinkState { position: position(&sink), watermark: report.watermark.0, sink }
        });
        let before = self.checkpoints.as_ref().and_then(|checkpoints| checkpoints.dead_letters);
        let dead_letters = position(DEAD_LETTERS).or(before).map(|position| SinkState {
            sink: DEAD_LETTERS.to_owned(),
            watermark: Watermark::MIN.0,
            position: Some(position),
        });
        sinks.chain(dead_letters).collect()
    }

    fn operator_states(&self, open: &OpenEpoch) -> Vec<OperatorState> {
        let stages = self.shape.stages.iter().zip(&self.shape.identities).enumerate();
        let states = stages.map(|(stage, (name, identity))| OperatorState {
            identity: identity.clone(),
            name: name.clone(),
            watermark: open.stages.get(&(stage, 0)).map_or(i64::MIN, |report| report.watermark.0),
            shards: u32::try_from(self.shape.shards).unwrap_or(u32::MAX),
            parts: Vec::new(),
        });
        states.collect()
    }
}

fn source_state(seal: &postrider_store::SourceSeal) -> SourceState {
    SourceState {
        table: seal.table.clone(),
        part: seal.end_part.clone(),
        offset: seal.end_offset,
        watermark: seal.watermark,
        status: seal.status(),
        last_event_time: Some(seal.last_event_time).filter(|time| *time > i64::MIN),
        ended: seal.status() == postrider_store::SourceStatus::Finished,
    }
}

pub(super) fn snapshots(open: &mut OpenEpoch) -> Vec<StageSnapshot> {
    let reports = open.stages.values_mut().filter_map(|report| {
        let handed = report.handed.take()?;
        Some(StageSnapshot { stage: report.stage, shard: report.shard, handed })
    });
    reports.collect()
}

/// Tells who asked; they may be gone.
fn tell(asker: Asker, outcome: Result<CheckpointFacts, String>) {
    if asker.send(outcome).is_err() {
        tracing::trace!("nobody waits for the checkpoint any more");
    }
}
