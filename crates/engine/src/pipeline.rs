//! Starting, watching and stopping a pipeline.

use std::{collections::VecDeque, fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use postrider_core::{
    Clock, ClockTime, DataSink, Decoder, Diagnostics, Epoch, PipelineName, Position, Reject,
    SinkError, Source, Watermark,
};
use postrider_plan::{AtEnd, Program, SinkTarget, Table};
use postrider_store::{EpochSealed, Log};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    EngineError,
    dataflow::{Dataflow, SinkNode, SourceNode, Target},
    dead_letters::DeadLetters,
    limits::{COMMANDS, REPORTS},
    planner::plan_dataflow,
    runtime::{
        coordinator::{BoxedSink, Command, Coordinator, DEAD_LETTERS, SourceState},
        ingest::{Cut, Ingest},
        inputs::Inputs,
        prepare::Preparer,
        replay::newest_seal,
        report::Report,
        seal::{OpenEpoch, Shape},
        sinks::{SinkTask, SinkWork},
        stage::Stage,
        topology::Topology,
    },
    watermark::IdleClock,
};

/// The halves of an opened source.
pub struct SourceParts {
    /// Reads.
    pub source: Box<dyn Source>,
    /// Decodes.
    pub decoder: Arc<dyn Decoder>,
}

/// Opens what a program names: the seam between the engine and everything that does I/O.
pub trait Connectors: Send + Sync {
    /// Opens a table for reading; rows are decoded to `schema`.
    ///
    /// # Errors
    /// The table's options are wrong, or what they name can't be opened.
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics>;
    /// Opens a table for writing.
    ///
    /// # Errors
    /// As for [`source`](Self::source).
    fn sink(&self, table: &Table, schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics>;
    /// The terminal, for a SELECT on its own.
    fn print(&self, schema: SchemaRef) -> Box<dyn DataSink>;
    /// Where bad records go.
    ///
    /// # Errors
    /// The place can't be opened.
    fn dead_letters(&self, pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics>;
    /// Bad records of a table as rows for [`dead_letters`](Self::dead_letters).
    ///
    /// # Errors
    /// Only for a fault of Postrider's own.
    fn dead_letter_rows(&self, table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError>;
}

/// What a sealed epoch did.
#[derive(Debug, Clone, Copy)]
pub struct SealFacts<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The epoch.
    pub epoch: Epoch,
    /// Rows read from sources.
    pub rows: u64,
    /// Records that became no row.
    pub rejects: u64,
    /// Rows dropped because their windows had fired.
    pub late_rows: u64,
    /// Rows for action sinks.
    pub trigger_rows: u64,
    /// The watermark behind the last operator.
    pub watermark: Watermark,
    /// When the event or tick that moved the watermark came (wall clock).
    pub moved_at: Option<ClockTime>,
    /// When the seal was durable (wall clock).
    pub sealed_at: ClockTime,
}

/// Watches a pipeline. Called on its task: must not block.
pub trait EngineObserver: Send + Sync {
    /// An epoch is durable.
    fn sealed(&self, _facts: &SealFacts<'_>) {}
    /// A restart is done: how many epochs were replayed, and in how many nanoseconds.
    fn recovered(&self, _pipeline: &str, _epochs: u64, _ns: i64) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl EngineObserver for NoObserver {}

/// What a pipeline did in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineSummary {
    /// Epochs sealed.
    pub epochs: u64,
    /// Epochs replayed after a restart.
    pub replayed_epochs: u64,
    /// How long that took.
    pub recovery_ns: i64,
    /// Rows read.
    pub rows: u64,
    /// Records that became no row.
    pub rejects: u64,
    /// Late rows.
    pub late_rows: u64,
    /// Rows for action sinks.
    pub trigger_rows: u64,
    /// Every source is bounded and was read to its end.
    pub drained: bool,
}

impl PipelineSummary {
    pub(crate) fn add(&mut self, open: &OpenEpoch) {
        self.epochs += 1;
        self.rows += open.rows();
        self.rejects += open.rejects();
        self.late_rows += open.late_rows();
        self.trigger_rows += open.trigger_rows();
    }
}

/// What a pipeline needs.
pub struct PipelineOptions {
    /// The program.
    pub program: Arc<Program>,
    /// Instances of every stage, and chunks of a source prepared at once. At least 1.
    pub parallelism: usize,
    /// Where epochs are sealed.
    pub log: Log,
    /// The epoch clock: what `idle_timeout` is measured by.
    pub clock: Arc<dyn Clock>,
    /// The wall clock: what latencies are measured by.
    pub wall: Arc<dyn Clock>,
    /// Opens tables.
    pub connectors: Arc<dyn Connectors>,
    /// Watches.
    pub observer: Arc<dyn EngineObserver>,
}

/// A running pipeline. Dropping it stops it at once, as a crash would.
pub struct Pipeline {
    commands: mpsc::Sender<Command>,
    coordinator: AbortOnDropHandle<Result<PipelineSummary, EngineError>>,
    name: PipelineName,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Plans the program, opens its tables and starts its tasks.
    ///
    /// # Errors
    /// The program can't run, a table can't be opened, or the log can't be read.
    pub async fn start(options: PipelineOptions) -> Result<Self, EngineError> {
        let flow = plan_dataflow(&options.program)?;
        let newest = newest_state(&options).await?;
        Builder { flow, newest, options: &options, tasks: Vec::new() }.build().await
    }

    /// Waits until everything that is there was processed and sealed. False if the pipeline ended before
    /// that; [`join`](Self::join) says why.
    pub async fn settle(&self) -> bool {
        let (done, settled) = oneshot::channel();
        if self.commands.send(Command::Settle(done)).await.is_err() {
            return false;
        }
        // A question that reaches the channel while the coordinator leaves it is never dropped.
        tokio::select! {
            biased;
            answered = settled => answered.is_ok(),
            () = self.commands.closed() => false,
        }
    }

    /// Whether it ended; [`join`](Self::join) says how.
    pub fn has_ended(&self) -> bool {
        self.coordinator.is_finished()
    }

    /// Asks the pipeline to end after the epochs in flight.
    pub async fn stop(&self) {
        // An error means that it ended already.
        drop(self.commands.send(Command::Stop).await);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why the pipeline had to stop.
    pub async fn join(mut self) -> Result<PipelineSummary, EngineError> {
        self.finished().await
    }

    /// As [`join`](Self::join), but whoever stops waiting may come back, and the pipeline runs on. Returns once.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub async fn finished(&mut self) -> Result<PipelineSummary, EngineError> {
        (&mut self.coordinator).await.unwrap_or_else(|error| {
            Err(EngineError::Bug { pipeline: self.name.0.clone(), message: error.to_string() })
        })
    }
}

/// What the log says about the pipeline; reading it may take seconds, so not on a worker of the runtime. Checked before
/// anything is opened: another program must not cut this one's files.
async fn newest_state(options: &PipelineOptions) -> Result<Option<EpochSealed>, EngineError> {
    let (log, name) = (options.log.clone(), options.program.name.0.clone());
    let read = tokio::task::spawn_blocking(move || newest_seal(&log, &name)).await;
    let pipeline = || options.program.name.0.clone();
    let newest = read.unwrap_or_else(|error| {
        Err(EngineError::Bug { pipeline: pipeline(), message: error.to_string() })
    })?;
    match newest.fingerprint {
        Some(known) if known != fingerprint(&options.program) => {
            Err(EngineError::Changed { pipeline: pipeline() })
        }
        _ => Ok(newest.seal),
    }
}

struct Builder<'a> {
    flow: Dataflow,
    newest: Option<EpochSealed>,
    options: &'a PipelineOptions,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Builder<'_> {
    async fn build(mut self) -> Result<Pipeline, EngineError> {
        let shards = self.options.parallelism.max(1);
        let mut topology = Topology::new(&self.flow, shards);
        let (reports, report_receiver) = mpsc::channel(REPORTS);
        let ready = Arc::new(Notify::new());
        // Sources first: a start that fails must not have cut a sink.
        let sources = self.sources(&mut topology, &reports, &ready)?;
        self.sinks(&mut topology, &reports).await?;
        self.stages(&mut topology, &reports)?;
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let program = &self.options.program;
        let coordinator = Coordinator {
            pipeline: program.name.0.clone(),
            fingerprint: fingerprint(program),
            sql: program.sql.to_string(),
            shape: Shape {
                sources: self.flow.sources.iter().map(|s| s.table.name.clone()).collect(),
                stages: self.flow.stages.iter().map(|s| s.words.what.clone()).collect(),
                sinks: self.flow.sinks.iter().map(|sink| sink.name.clone()).collect(),
                stage_instances: self.flow.stages.len() * shards,
            },
            log: self.options.log.clone(),
            clock: Arc::clone(&self.options.clock),
            wall: Arc::clone(&self.options.wall),
            observer: Arc::clone(&self.options.observer),
            sources,
            reports: report_receiver,
            ready,
            commands: command_receiver,
            dead_letters: self.dead_letters().await?,
            wants_end: self.flow.sinks.iter().any(|sink| !sink.is_action() || fires_at_end(sink)),
            open: std::collections::BTreeMap::new(),
            last_cut: Epoch(0),
            last_clock: ClockTime(0),
            sealed_watermark: Watermark::MIN,
            next_timer: None,
            settling: VecDeque::new(),
            summary: PipelineSummary::default(),
        };
        let coordinator = AbortOnDropHandle::new(tokio::spawn(coordinator.run()));
        Ok(Pipeline { commands, coordinator, name: program.name.clone(), _tasks: self.tasks })
    }

    /// Runs a task of the pipeline. A panic in it is reported: the others would wait for ever.
    fn spawn(
        &mut self,
        reports: &mpsc::Sender<Report>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (reports, pipeline) = (reports.clone(), self.options.program.name.0.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        let watched = async move {
            if let Err(error) = task.await {
                let failed = EngineError::Bug { pipeline, message: error.to_string() };
                // The coordinator may be gone as well: then nobody needs to know.
                drop(reports.send(Report::Failed(failed)).await);
            }
        };
        self.tasks.push(AbortOnDropHandle::new(tokio::spawn(watched)));
    }

    fn sealed_position(&self, sink: &str) -> Option<u64> {
        let seals = &self.newest.as_ref()?.sinks;
        seals.iter().find(|seal| seal.sink == sink).map(|seal| seal.position)
    }

    async fn restore(&self, name: &str, mut sink: BoxedSink) -> Result<BoxedSink, EngineError> {
        let position = self.sealed_position(name);
        sink.restore(position)
            .await
            .map_err(|error| EngineError::Sink { sink: name.to_owned(), error })?;
        Ok(sink)
    }

    async fn dead_letters(&self) -> Result<DeadLetters, EngineError> {
        let sink = self.options.connectors.dead_letters(&self.options.program.name)?;
        Ok(DeadLetters {
            sink: self.restore(DEAD_LETTERS, sink).await?,
            connectors: Arc::clone(&self.options.connectors),
        })
    }

    async fn sinks(
        &mut self,
        topology: &mut Topology,
        reports: &mpsc::Sender<Report>,
    ) -> Result<(), EngineError> {
        let replay_until = Epoch(self.newest.as_ref().map_or(0, |record| record.epoch));
        for (index, node) in self.flow.sinks.clone().into_iter().enumerate() {
            let work = if node.is_action() {
                SinkWork::Action { fire_at_end: fires_at_end(&node) }
            } else {
                let connectors = &self.options.connectors;
                let sink = match &node.table {
                    Some(table) => connectors.sink(table, Arc::clone(&node.schema))?,
                    None => connectors.print(Arc::clone(&node.schema)),
                };
                SinkWork::Data { sink: self.restore(&node.name, sink).await?, replay_until }
            };
            let receivers = topology.inputs.remove(&Target::Sink(index)).and_then(|mut i| i.pop());
            let task = SinkTask {
                sink: index,
                name: node.name.clone(),
                work,
                inputs: Inputs::new(receivers.unwrap_or_default()),
                reports: reports.clone(),
            };
            self.spawn(reports, task.run());
        }
        Ok(())
    }

    fn stages(
        &mut self,
        topology: &mut Topology,
        reports: &mpsc::Sender<Report>,
    ) -> Result<(), EngineError> {
        let links = std::mem::take(&mut topology.stages);
        for (index, instances) in links.into_iter().enumerate() {
            let inputs = topology.inputs.remove(&Target::Stage(index)).unwrap_or_default();
            for (shard, ((router, links), receivers)) in
                instances.into_iter().zip(inputs).enumerate()
            {
                let pipeline = self.options.program.name.0.clone();
                let operator = self.flow.stages[index].operator.build().map_err(|error| {
                    let pipeline = pipeline.clone();
                    EngineError::Bug { pipeline, message: error.strip_backtrace() }
                })?;
                let task = Stage {
                    pipeline,
                    stage: index,
                    shard,
                    operator,
                    inputs: Inputs::new(receivers),
                    router,
                    links,
                    reports: reports.clone(),
                    names: self.flow.stages[index].words.results.clone().into(),
                    rejects: Vec::new(),
                };
                self.spawn(reports, task.run());
            }
        }
        Ok(())
    }

    fn sources(
        &mut self,
        topology: &mut Topology,
        reports: &mpsc::Sender<Report>,
        ready: &Arc<Notify>,
    ) -> Result<Vec<SourceState>, EngineError> {
        let mut states = Vec::new();
        let links = std::mem::take(&mut topology.sources);
        for (index, (node, (router, links))) in
            self.flow.sources.clone().into_iter().zip(links).enumerate()
        {
            let parts = self.options.connectors.source(&node.table, Arc::clone(&node.decoded))?;
            let (cuts, cut_receiver) = mpsc::channel::<Cut>(crate::limits::EPOCHS_IN_FLIGHT);
            let task = Ingest {
                index,
                idle: idle_clock(&node),
                preparer: Arc::new(Preparer {
                    pipeline: self.options.program.name.0.clone(),
                    node,
                    decoder: parts.decoder,
                    router,
                }),
                source: parts.source,
                links,
                cuts: cut_receiver,
                reports: reports.clone(),
                ready: Arc::clone(ready),
                workers: self.options.parallelism.max(1),
                position: Position::default(),
                watermark: Watermark::MIN,
                last_event_time: None,
                ended: false,
                live: false,
            };
            self.spawn(reports, task.run());
            states.push(SourceState { cuts, idle: None, last_event_time: None, ended: false });
        }
        Ok(states)
    }
}

fn idle_clock(node: &SourceNode) -> IdleClock {
    IdleClock {
        timeout: node.table.common.idle_timeout,
        advance: node.table.common.idle_advance,
        base: Watermark::MIN,
        since: ClockTime(0),
    }
}

fn fires_at_end(sink: &SinkNode) -> bool {
    sink.table.as_ref().is_some_and(|table| table.common.at_end == AtEnd::Fire)
}

/// Identifies what a program computes: its tables' columns and its plans, not its comments,
/// template names or connector options.
fn fingerprint(program: &Program) -> Bytes {
    let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 program fingerprint");
    for query in &program.queries {
        let sink = match &query.sink {
            SinkTarget::Table(table) => table.name.as_str(),
            SinkTarget::Print => "stdout",
        };
        hasher.update(sink.as_bytes()).update(b"\n");
        hasher.update(query.plan.display_indent_schema().to_string().as_bytes()).update(b"\n");
    }
    for table in program.tables.values() {
        hasher.update(format!("{} {:?}\n", table.name, table.schema().fields()).as_bytes());
        for (column, expr) in table.columns.iter().filter_map(|c| Some((c, c.generated.as_ref()?)))
        {
            hasher.update(format!("{} = {expr}\n", column.name).as_bytes());
        }
        if let Some(watermark) = &table.watermark {
            hasher.update(format!("{} {}\n", watermark.column, watermark.expr).as_bytes());
        }
    }
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}
