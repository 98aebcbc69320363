//! Starting a pipeline: what was kept is read, tables are opened, tasks are started.

mod open;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use postrider_core::{ClockTime, Epoch, Watermark};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{
    checkpoint::{CheckpointJob, Checkpointer, Checkpoints},
    coordinator::{CheckpointState, Coordinator},
    report::Report,
    restore::Restored,
    resume::{Resume, resume},
    seal::Shape,
    topology::Topology,
};
use crate::{
    EngineError, Pipeline, PipelineOptions,
    dataflow::Dataflow,
    identity::fingerprint,
    limits::{CHECKPOINT_JOBS, COMMANDS, REPORTS},
    planner::plan_dataflow,
};

/// Plans the program, restores what was kept, opens its tables and starts its tasks.
pub(crate) async fn start(mut options: PipelineOptions) -> Result<Pipeline, EngineError> {
    let flow = plan_dataflow(&options.program)?;
    let checkpoints = options.checkpoints.take();
    let resume = resume(&options, checkpoints.as_ref(), &flow).await?;
    Builder { flow, resume, options: &options, tasks: Vec::new(), tracker: TaskTracker::new() }
        .build(checkpoints)
        .await
}

struct Builder<'a> {
    flow: Dataflow,
    resume: Resume,
    options: &'a PipelineOptions,
    tasks: Vec<AbortOnDropHandle<()>>,
    tracker: TaskTracker,
}

impl Builder<'_> {
    fn shards(&self) -> usize {
        self.options.parallelism.max(1)
    }

    const fn restored(&mut self) -> &mut Restored {
        &mut self.resume.restored
    }

    async fn build(mut self, checkpoints: Option<Checkpoints>) -> Result<Pipeline, EngineError> {
        let mut topology = Topology::new(&self.flow, self.shards());
        let (reports, report_receiver) = mpsc::channel(REPORTS);
        let ready = Arc::new(Notify::new());
        // Sources first: a start that fails must not have cut a sink.
        let sources = self.sources(&mut topology, &reports, &ready)?;
        self.sinks(&mut topology, &reports).await?;
        self.stages(&mut topology, &reports)?;
        let checkpoints = checkpoints.map(|checkpoints| self.checkpointer(checkpoints, &reports));
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let program = &self.options.program;
        let contents = self.resume.restored.contents.as_ref();
        let from_log = self.resume.shadow.as_ref().is_some_and(|shadow| shadow.from_log);
        let coordinator = Coordinator {
            pipeline: program.name.0.clone(),
            fingerprint: fingerprint(program),
            sql: program.sql.to_string(),
            shape: self.shape(),
            log: self.options.log.clone(),
            clock: Arc::clone(&self.options.clock),
            wall: Arc::clone(&self.options.wall),
            observer: Arc::clone(&self.options.observer),
            sources,
            reports: report_receiver,
            ready,
            commands: command_receiver,
            dead_letters: self.dead_letters().await?,
            wants_end: self.wants_end(),
            open: BTreeMap::new(),
            last_cut: Epoch(if from_log {
                0
            } else {
                contents.map_or(0, |contents| contents.epoch)
            }),
            last_clock: ClockTime(contents.map_or(0, |contents| contents.clock)),
            sealed_watermark: contents
                .filter(|_| !from_log)
                .map_or(Watermark::MIN, |contents| Watermark(contents.watermark)),
            next_timer: None,
            next_clock: None,
            settling: VecDeque::new(),
            checkpoints,
            replay_from: self.resume.replay_from,
            shadow: self.resume.shadow.take(),
            sealed_epoch: self.resume.sealed_epoch,
            sink_positions: self.resume.sink_positions.clone(),
            fire_series: self.resume.fire_series,
            recorded: Arc::default(),
            recovery: std::mem::take(&mut self.resume.facts),
            summary: crate::PipelineSummary::default(),
        };
        let recorded = Arc::clone(&coordinator.recorded);
        let coordinator = AbortOnDropHandle::new(self.tracker.spawn(coordinator.run()));
        let (name, tasks, tracker) = (program.name.clone(), self.tasks, self.tracker);
        Ok(Pipeline { commands, coordinator, name, tasks, tracker, recorded })
    }

    fn shape(&self) -> Shape {
        Shape {
            sources: self.flow.sources.iter().map(|s| s.table.name.clone()).collect(),
            stages: self.flow.stages.iter().map(|s| s.words.what.clone()).collect(),
            identities: self.flow.stages.iter().map(|s| s.identity.clone()).collect(),
            sinks: self.flow.sinks.iter().map(|sink| sink.name.clone()).collect(),
            shards: self.shards(),
        }
    }

    /// Starts the task that writes checkpoints.
    fn checkpointer(
        &mut self,
        checkpoints: Checkpoints,
        reports: &mpsc::Sender<Report>,
    ) -> CheckpointState {
        let mut kept = std::mem::take(&mut self.restored().kept);
        kept.compress = checkpoints.compress;
        let (jobs, receiver) = mpsc::channel::<CheckpointJob>(CHECKPOINT_JOBS);
        let task = Checkpointer {
            pipeline: self.options.program.name.0.clone(),
            store: Arc::new(checkpoints.store),
            retention: checkpoints.retention,
            sources: self.shape().sources,
            kept,
            wall: Arc::clone(&self.options.wall),
            jobs: receiver,
            reports: reports.clone(),
        };
        self.spawn(reports, task.run());
        let contents = self.resume.restored.contents.as_ref();
        CheckpointState {
            jobs,
            every_ns: checkpoints.every_ns,
            log_bytes: checkpoints.log_bytes,
            number: contents.map_or(0, |contents| contents.number),
            tried_at: self.options.wall.now(),
            tried_log: self.resume.replay_from,
            pending: false,
            news: false,
            asked: Vec::new(),
            awaited: Vec::new(),
            dead_letters: self.resume.sink_positions.get(super::coordinator::DEAD_LETTERS).copied(),
        }
    }

    /// Runs a task of the pipeline. A panic in it is reported: the others would wait for ever.
    fn spawn(
        &mut self,
        reports: &mpsc::Sender<Report>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (reports, pipeline) = (reports.clone(), self.options.program.name.0.clone());
        let task = AbortOnDropHandle::new(self.tracker.spawn(task));
        let watched = async move {
            if let Err(error) = task.await {
                let failed = EngineError::Bug { pipeline, message: error.to_string() };
                // The coordinator may be gone as well: then nobody needs to know.
                drop(reports.send(Report::Failed(failed)).await);
            }
        };
        self.tasks.push(AbortOnDropHandle::new(tokio::spawn(watched)));
    }
}
