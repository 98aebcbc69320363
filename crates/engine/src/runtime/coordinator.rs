//! The coordinator: cuts epochs, collects reports, seals in the log, replays after a restart.
//!
//! Flow: 1. a source has input, or the idle clock reaches the next timer  2. an epoch is cut: every source takes
//! what is there and ends with a barrier  3. every task reports at the barrier  4. trigger rows and
//! the seal go to the log in one append; once that is durable, the epoch happened. The next epoch is
//! cut while the last one is on its way, so epochs are as short as the log allows.

mod checkpoints;
mod recover;
mod upgrade;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use postrider_core::{
    Barrier, Clock, ClockTime, DataSink, Epoch, EpochKind, SubjectId, Watermark, WorkspaceId,
};
use postrider_store::{
    Log, Lsn,
    failpoint::{self, Failpoint},
};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use self::checkpoints::{Asker, CheckpointState};
use super::{
    ingest::{Cut, CutKind},
    report::Report,
    resume::Shadow,
    seal::{OpenEpoch, Shape},
};
use crate::{
    EngineError, EngineObserver, PipelineSummary, RecoveryFacts, SealFacts,
    dead_letters::DeadLetters, limits::EPOCHS_IN_FLIGHT, watermark::IdleClock,
};

/// What others ask of a running pipeline.
#[derive(Debug)]
pub(crate) enum Command {
    /// Answers once everything that is there was processed and sealed.
    Settle(oneshot::Sender<()>),
    /// Takes a checkpoint, and answers once it is committed.
    Checkpoint(Asker),
    /// Ends after the epochs in flight.
    Stop,
}

/// What the coordinator knows of a source.
#[derive(Debug)]
pub(crate) struct SourceState {
    pub(crate) cuts: mpsc::Sender<Cut>,
    pub(crate) idle: Option<IdleClock>,
    pub(crate) last_event_time: Option<i64>,
    pub(crate) ended: bool,
}

/// The coordinator of one pipeline.
pub(crate) struct Coordinator {
    pub(crate) pipeline: String,
    pub(crate) fingerprint: Bytes,
    pub(crate) sql: String,
    pub(crate) shape: Shape,
    pub(crate) log: Log,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wall: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn EngineObserver>,
    pub(crate) sources: Vec<SourceState>,
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) ready: Arc<Notify>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) dead_letters: DeadLetters,
    /// Whether some sink wants what completes only because the input ended.
    pub(crate) wants_end: bool,
    pub(crate) open: BTreeMap<Epoch, OpenEpoch>,
    pub(crate) last_cut: Epoch,
    /// The clock's reading at that cut: what it let fire has fired.
    pub(crate) last_clock: ClockTime,
    pub(crate) sealed_watermark: Watermark,
    pub(crate) next_timer: Option<Watermark>,
    /// The first reading of the clock at which some operator would emit.
    pub(crate) next_clock: Option<ClockTime>,
    /// Who waits for a settle, and the first epoch that was cut after they asked.
    pub(crate) settling: VecDeque<(Epoch, oneshot::Sender<()>)>,
    /// `None`: this pipeline keeps none.
    pub(crate) checkpoints: Option<CheckpointState>,
    /// Where the epochs begin that are to be replayed.
    pub(crate) replay_from: Lsn,
    /// How epochs of another program are gone through.
    pub(crate) shadow: Option<Shadow>,
    /// The number of the newest epoch that was sealed before this start, and where every sink stood then.
    pub(crate) sealed_epoch: u64,
    pub(crate) sink_positions: BTreeMap<String, u64>,
    pub(crate) fire_series: u32,
    /// Set once the log says of which program and fire series the epochs of this start are.
    pub(crate) recorded: Arc<AtomicBool>,
    /// What the restart did so far.
    pub(crate) recovery: RecoveryFacts,
    pub(crate) summary: PipelineSummary,
}

impl Coordinator {
    /// Recovers, then runs until the input ends or somebody says stop.
    pub(crate) async fn run(mut self) -> Result<PipelineSummary, EngineError> {
        let finished = self.recover().await?;
        if !finished {
            let drained = self.live().await?;
            self.last_checkpoint().await?;
            if drained {
                self.finish().await?;
            }
        }
        self.settling.drain(..).for_each(|(_, asker)| answer(asker));
        Ok(self.summary)
    }

    /// Cuts and seals epochs. True when every source is bounded and drained.
    async fn live(&mut self) -> Result<bool, EngineError> {
        let (mut want, mut stopping) = (true, false);
        loop {
            let room = if self.settling.is_empty() { EPOCHS_IN_FLIGHT } else { 1 };
            if want && self.open.len() < room && !stopping {
                self.cut(EpochKind::Input, |_| CutKind::Live).await?;
                want = false;
            }
            let idle = self.open.is_empty() && !want;
            if self.open.is_empty() && (stopping || self.ended()) {
                if stopping {
                    // Whoever waits for what was left learns that nobody will process it.
                    self.settling.clear();
                }
                return Ok(!stopping);
            }
            let tick = if idle { self.next_tick() } else { None };
            let clock = Arc::clone(&self.clock);
            let wall = Arc::clone(&self.wall);
            let due = if idle { self.checkpoint_due_at() } else { None };
            tokio::select! {
                biased;
                report = self.reports.recv() => {
                    if self.collect(report)? && self.seal_complete().await? {
                        want = true;
                    }
                    want |= self.checkpoints.as_ref().is_some_and(CheckpointState::is_asked);
                }
                command = self.commands.recv() => match command {
                    Some(Command::Settle(done)) => {
                        self.settling.push_back((self.last_cut.next(), done));
                        want = true;
                    }
                    Some(Command::Checkpoint(asker)) => {
                        self.ask_checkpoint(asker);
                        want = true;
                    }
                    Some(Command::Stop) | None => stopping = true,
                },
                () = self.ready.notified(), if !want => want = true,
                () = async { match tick {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                } } => want = true,
                () = async { match due {
                    Some(at) => wall.sleep_until(at).await,
                    None => std::future::pending().await,
                } } => want = true,
            }
        }
    }

    fn ended(&self) -> bool {
        self.sources.iter().all(|source| source.ended)
    }

    /// When the clock of some quiet source may let the next timer fire, or results are due by the clock alone.
    fn next_tick(&self) -> Option<ClockTime> {
        let idle = self.sources.iter().filter(|source| !source.ended);
        let timed = self.next_timer.and_then(|timer| {
            idle.filter_map(|source| source.idle?.wake_at(timer, self.last_clock)).min()
        });
        [timed, self.next_clock].into_iter().flatten().min()
    }

    /// Starts an epoch on every source.
    async fn cut(
        &mut self,
        kind: EpochKind,
        cut: impl Fn(usize) -> CutKind,
    ) -> Result<(), EngineError> {
        let checkpoint = if kind == EpochKind::Input { self.mark_checkpoint() } else { None };
        let (epoch, clock) = (self.last_cut.next(), self.clock.now());
        let barrier = Barrier { epoch, kind, clock, checkpoint };
        self.cut_at(barrier, cut).await
    }

    async fn cut_at(
        &mut self,
        barrier: Barrier,
        cut: impl Fn(usize) -> CutKind,
    ) -> Result<(), EngineError> {
        (self.last_cut, self.last_clock) = (barrier.epoch, barrier.clock);
        self.open.insert(barrier.epoch, OpenEpoch::new(barrier, self.wall.now()));
        for index in 0..self.sources.len() {
            let message = Cut { barrier, kind: cut(index) };
            if self.sources[index].cuts.send(message).await.is_err() {
                return Err(self.lost_task());
            }
        }
        failpoint::pass(Failpoint::EpochCut);
        Ok(())
    }

    /// A task ended without a word. Its own report says why, if it got through.
    fn lost_task(&mut self) -> EngineError {
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Failed(error) = report {
                return error;
            }
        }
        let pipeline = self.pipeline.clone();
        EngineError::Bug { pipeline, message: "a task ended without a word".to_owned() }
    }

    /// Files a report. True if it may have completed an epoch.
    fn collect(&mut self, report: Option<Report>) -> Result<bool, EngineError> {
        let Some(report) = report else { return Err(self.lost_task()) };
        match report {
            Report::Failed(error) => return Err(error),
            Report::Checkpoint(outcome) => {
                self.checkpointed(outcome)?;
                return Ok(false);
            }
            Report::Source(report) => {
                let state = &mut self.sources[report.source];
                state.idle = Some(report.idle);
                state.last_event_time = report.last_event_time;
                state.ended |= report.ended;
                if let Some(open) = self.open.get_mut(&report.epoch) {
                    open.sources.insert(report.source, report);
                }
            }
            Report::Stage(report) => {
                if let Some(open) = self.open.get_mut(&report.epoch) {
                    open.stages.insert((report.stage, report.shard), report);
                }
            }
            Report::Sink(report) => {
                if let Some(open) = self.open.get_mut(&report.epoch) {
                    open.sinks.insert(report.sink, report);
                }
            }
        }
        Ok(true)
    }

    fn take_complete(&mut self) -> Option<OpenEpoch> {
        let first = self.open.first_entry()?;
        first.get().is_complete(&self.shape).then(|| first.remove())
    }

    /// Seals every epoch that is complete. True if another one should be cut at once.
    async fn seal_complete(&mut self) -> Result<bool, EngineError> {
        let mut again = false;
        while let Some(open) = self.take_complete() {
            let more = open.sources.values().any(|report| report.more);
            let epoch = open.barrier.epoch;
            (self.next_timer, self.next_clock) = (open.next_timer(), open.next_clock());
            self.seal(open).await?;
            // An epoch that was cut after the question and left nothing behind is the answer.
            while !more && self.settling.front().is_some_and(|(from, _)| *from <= epoch) {
                self.settling.pop_front().into_iter().for_each(|(_, asker)| answer(asker));
            }
            again |= more || !self.settling.is_empty();
        }
        Ok(again)
    }

    async fn seal(&mut self, open: OpenEpoch) -> Result<(), EngineError> {
        let mut record = open.record(&self.pipeline, &self.shape, self.sealed_watermark);
        let dead_letters = self.dead_letters.write(&self.shape, &open).await?;
        if let (Some(checkpoints), Some(seal)) = (&mut self.checkpoints, &dead_letters) {
            checkpoints.dead_letters = Some(seal.position);
        }
        record.sinks.extend(dead_letters);
        let frames = open.trigger_frames(
            &self.pipeline,
            &self.shape,
            WorkspaceId::DEFAULT,
            self.fire_series,
        );
        let mut appends = frames.map_err(|error| EngineError::Bug {
            pipeline: self.pipeline.clone(),
            message: format!("trigger rows can't be written: {error}"),
        })?;
        let (moved_at, trigger_rows) = (record.moved_at, record.trigger_rows);
        let seal = record.frame(WorkspaceId::DEFAULT, SubjectId::NONE);
        failpoint::pass(Failpoint::SealReady);
        let last = appends.pop().into_iter().flatten().chain([seal]).collect();
        for append in appends {
            // Durable before the seal, which is behind it in the log.
            drop(self.log.submit(append).await?);
        }
        let end = self.log.append(last).await?.end;
        failpoint::pass(Failpoint::SealDurable);
        self.sealed_watermark = open.watermark();
        self.summary.add(&open);
        self.observer.sealed(&SealFacts {
            pipeline: &self.pipeline,
            epoch: open.barrier.epoch,
            rows: open.rows(),
            rejects: open.rejects(),
            late_rows: open.late_rows(),
            trigger_rows,
            watermark: self.sealed_watermark,
            moved_at: (moved_at > 0).then_some(ClockTime(moved_at)),
            sealed_at: self.wall.now(),
        });
        self.submit_checkpoint(open, &record, end).await
    }

    /// Every source is drained: acts on what was observed, then completes the rest for the sinks that
    /// want it.
    async fn finish(&mut self) -> Result<(), EngineError> {
        let last = self.sources.iter().filter_map(|source| source.last_event_time).max();
        if let Some(last) = last {
            let observed = Watermark(last).max(self.sealed_watermark);
            self.jump(EpochKind::Observed, observed).await?;
        }
        if self.wants_end {
            self.jump(EpochKind::End, Watermark::MAX).await?;
        }
        self.summary.drained = true;
        Ok(())
    }

    async fn jump(&mut self, kind: EpochKind, to: Watermark) -> Result<(), EngineError> {
        self.cut(kind, |_| CutKind::Jump(to)).await?;
        while !self.open.is_empty() {
            let report = self.reports.recv().await;
            if self.collect(report)? {
                self.seal_complete().await?;
            }
        }
        Ok(())
    }
}

/// Tells whoever waits for a settle; it may be gone.
fn answer(asker: oneshot::Sender<()>) {
    if asker.send(()).is_err() {
        tracing::trace!("nobody waits for the settle any more");
    }
}

/// The name under which the dead letters of a pipeline are sealed.
pub(crate) const DEAD_LETTERS: &str = "dead letters";

/// A boxed data sink, as the connectors make it.
pub(crate) type BoxedSink = Box<dyn DataSink>;
