//! The tasks of sinks: data sinks write, action sinks hand their rows to the log.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use postrider_core::{Batch, Epoch, EpochKind};
use postrider_store::failpoint::{self, Failpoint};
use tokio::sync::mpsc;

use super::{
    fenced::FencedSink,
    inputs::{Input, Inputs},
    report::{Report, SinkReport},
};
use crate::{EngineError, changes::written};

/// What a sink task does with rows.
pub(crate) enum SinkWork {
    /// Writes them. Epochs up to `replay_until` were written before and are discarded.
    Data { sink: FencedSink, replay_until: Epoch },
    /// Hands them over at the barrier. What completes only because the input ended is not acted on,
    /// unless the sink asked for it.
    Action { fire_at_end: bool },
}

/// The task of one sink.
pub(crate) struct SinkTask {
    pub(crate) pipeline: String,
    pub(crate) sink: usize,
    pub(crate) work: SinkWork,
    /// The columns in which it is given a changelog; `None` if its rows stay.
    pub(crate) changes: Option<SchemaRef>,
    /// The epoch that the inputs go on behind.
    pub(crate) epoch: Epoch,
    pub(crate) inputs: Inputs,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl SinkTask {
    /// Takes epochs until the inputs close.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            // The coordinator may be gone as well: then nobody needs to know.
            drop(self.reports.send(Report::Failed(error)).await);
        }
    }

    async fn serve(&mut self) -> Result<(), EngineError> {
        let mut rows: Vec<RecordBatch> = Vec::new();
        let mut current = self.epoch;
        while let Some(input) = self.inputs.next().await {
            let (batches, end) = match input {
                Input::Batch(_, batch) => (vec![batch], None),
                Input::Gathered(_, batches) => (batches, None),
                Input::EpochEnd(progress, barrier) => (Vec::new(), Some((progress, barrier))),
            };
            for batch in batches {
                let batch = self.as_written(batch)?;
                match &mut self.work {
                    SinkWork::Data { replay_until, .. } if current < *replay_until => {}
                    SinkWork::Data { sink, .. } => sink.write(&batch).await?,
                    SinkWork::Action { .. } => rows.push(batch),
                }
            }
            let Some((progress, barrier)) = end else { continue };
            current = barrier.epoch;
            let position = match &mut self.work {
                SinkWork::Data { replay_until, .. } if current <= *replay_until => None,
                SinkWork::Data { sink, .. } => {
                    let position = sink.flush().await?;
                    failpoint::pass(Failpoint::SinkFlushed);
                    Some(position)
                }
                SinkWork::Action { fire_at_end } => {
                    if barrier.kind == EpochKind::End && !*fire_at_end {
                        rows.clear();
                    }
                    None
                }
            };
            let report = SinkReport {
                sink: self.sink,
                epoch: barrier.epoch,
                rows: std::mem::take(&mut rows),
                position,
                watermark: progress.watermark(),
            };
            if self.reports.send(Report::Sink(report)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn as_written(&self, batch: Batch) -> Result<RecordBatch, EngineError> {
        let Some(schema) = &self.changes else { return Ok(batch.rows) };
        written(&batch.rows, schema).map_err(|error| EngineError::Bug {
            pipeline: self.pipeline.clone(),
            message: format!("changes can't be written: {}", error.strip_backtrace()),
        })
    }
}
