//! Opening the tables of a pipeline and starting the tasks between them.

use std::sync::Arc;

use postrider_core::{ClockTime, Epoch, Watermark};
use postrider_plan::AtEnd;
use tokio::sync::{Notify, mpsc};

use super::Builder;
use crate::{
    EngineError,
    dataflow::{SinkNode, SourceNode, Target},
    dead_letters::DeadLetters,
    runtime::{
        coordinator::{BoxedSink, DEAD_LETTERS, SourceState},
        fenced::FencedSink,
        ingest::{Cut, Ingest},
        inputs::Inputs,
        prepare::Preparer,
        report::Report,
        sinks::{SinkTask, SinkWork},
        stage::Stage,
        topology::Topology,
    },
    watermark::{IdleClock, Progress},
};

impl Builder<'_> {
    pub(super) async fn restore(
        &self,
        name: &str,
        sink: BoxedSink,
    ) -> Result<FencedSink, EngineError> {
        let refire = self.resume.shadow.as_ref().is_some_and(|shadow| shadow.refire);
        // What is fired again is written again, from the beginning.
        let position = if refire { Some(0) } else { self.resume.sink_positions.get(name).copied() };
        FencedSink::restore(name, sink, &self.options.log, position).await
    }

    pub(super) async fn dead_letters(&self) -> Result<DeadLetters, EngineError> {
        let sink = self.options.connectors.dead_letters(&self.options.program.name)?;
        Ok(DeadLetters {
            sink: self.restore(DEAD_LETTERS, sink).await?,
            connectors: Arc::clone(&self.options.connectors),
        })
    }

    pub(super) async fn sinks(
        &mut self,
        topology: &mut Topology,
        reports: &mpsc::Sender<Report>,
    ) -> Result<(), EngineError> {
        let replay_until = Epoch(self.resume.sealed_epoch);
        let from_log = self.resume.shadow.as_ref().is_some_and(|shadow| shadow.from_log);
        let restored = self.resume.restored.contents.as_ref().filter(|_| !from_log);
        let epoch = Epoch(restored.map_or(0, |contents| contents.epoch));
        for (index, node) in self.flow.sinks.clone().into_iter().enumerate() {
            let work = if node.is_action() {
                SinkWork::Action { fire_at_end: fires_at_end(&node) }
            } else {
                let connectors = &self.options.connectors;
                let sink = match &node.table {
                    Some(table) => connectors.sink(table, node.written_schema())?,
                    None => connectors.print(node.written_schema()),
                };
                SinkWork::Data { sink: self.restore(&node.name, sink).await?, replay_until }
            };
            let receivers = topology.inputs.remove(&Target::Sink(index)).and_then(|mut i| i.pop());
            let kept = self.resume.restored.sink(&node.name).filter(|_| !from_log);
            let watermark = kept.map(|sink| sink.watermark);
            let task = SinkTask {
                pipeline: self.options.program.name.0.clone(),
                sink: index,
                work,
                changes: node.updating.then(|| node.written_schema()),
                epoch,
                inputs: Inputs::new(receivers.unwrap_or_default(), watermark.map(Watermark)),
                reports: reports.clone(),
            };
            self.spawn(reports, task.run());
        }
        Ok(())
    }

    pub(super) fn stages(
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
                let start = self.resume.restored.take_stage(index, shard);
                let later = self.resume.shadow.as_ref().and_then(|shadow| shadow.kept_from);
                let now = start.as_ref().filter(|_| later.is_none());
                let task = Stage {
                    pipeline,
                    stage: index,
                    shard,
                    operator,
                    inputs: Inputs::new(receivers, now.map(|start| start.watermark)),
                    start: start.map(|start| (later, start)),
                    spec: self.flow.stages[index].operator.clone(),
                    router,
                    links,
                    reports: reports.clone(),
                    wall: Arc::clone(&self.options.wall),
                    names: self.flow.stages[index].words.results.clone().into(),
                    updating: self.flow.stages[index].updating,
                    rejects: Vec::new(),
                };
                self.spawn(reports, task.run());
            }
        }
        Ok(())
    }

    pub(super) fn sources(
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
            let start = self.resume.source(&node.table.name);
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
                position: start.position,
                progress: Progress::Active(start.watermark),
                watermark: start.watermark,
                last_event_time: start.last_event_time,
                ended: false,
                live: false,
            };
            self.spawn(reports, task.run());
            states.push(SourceState {
                cuts,
                idle: None,
                last_event_time: start.last_event_time,
                ended: false,
            });
        }
        Ok(states)
    }
}

impl Builder<'_> {
    /// Whether some sink wants what completes only because the input ended.
    pub(super) fn wants_end(&self) -> bool {
        self.flow.sinks.iter().any(|sink| !sink.is_action() || fires_at_end(sink))
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
