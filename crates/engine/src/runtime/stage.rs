//! The task of one stage instance: an operator between its inputs and its links.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::Schema};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use postrider_core::{Batch, Clock, ClockTime, Epoch, Position, Reject, Watermark};
use tokio::sync::mpsc;

use super::{
    checkpoint::HandedOver,
    inputs::{Input, Inputs},
    links::{Closed, Links, Routed, Router},
    report::{Report, StageReport},
    restore::StageStart,
    row_text::as_json,
};
use crate::{
    EngineError,
    chain::{Moment, new_batch},
    changes::alone,
    exchange::in_order,
    operator::{Advanced, Operator, OperatorSpec},
    watermark::Progress,
};

/// The task of one stage instance.
pub(crate) struct Stage {
    pub(crate) pipeline: String,
    pub(crate) stage: usize,
    pub(crate) shard: usize,
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) spec: OperatorSpec,
    /// What the operator goes on from; with an epoch, in place of what it is at the end of that.
    pub(crate) start: Option<(Option<Epoch>, StageStart)>,
    pub(crate) inputs: Inputs,
    pub(crate) router: Router,
    pub(crate) links: Links,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) wall: Arc<dyn Clock>,
    /// What people call the columns of a result.
    pub(crate) names: Arc<[String]>,
    /// Whether results are a changelog.
    pub(crate) updating: bool,
    /// Results of this epoch that could not be computed further.
    pub(crate) rejects: Vec<Reject>,
}

enum Stop {
    Closed,
    Failed(DataFusionError),
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<DataFusionError> for Stop {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

impl Stage {
    /// Processes epochs until the inputs close.
    pub(crate) async fn run(mut self) {
        if let Err(Stop::Failed(error)) = self.serve().await {
            let (pipeline, message) = (self.pipeline, error.strip_backtrace());
            let failed = Report::Failed(EngineError::Compute { pipeline, message });
            // The coordinator may be gone as well: then nobody needs to know.
            drop(self.reports.send(failed).await);
        }
    }

    async fn serve(&mut self) -> Result<(), Stop> {
        self.restore(None)?;
        while let Some(input) = self.inputs.next().await {
            let (progress, barrier) = match input {
                Input::Batch(port, batch) => {
                    self.process(port, &batch).await?;
                    continue;
                }
                Input::Gathered(port, batches) => {
                    self.process(port, &in_order(&batches)?).await?;
                    continue;
                }
                Input::EpochEnd(progress, barrier) => (progress, barrier),
            };
            self.operator.set_clock(barrier.clock);
            for port in 0..self.inputs.ports() {
                self.operator.set_ended(port, self.inputs.has_ended(port));
            }
            // Sent as they come: all that a watermark finishes may be more than fits into memory.
            let mut advanced = Advanced::Partly;
            while advanced == Advanced::Partly {
                let mut finished = Vec::new();
                advanced = self.operator.advance(progress.watermark(), &mut finished)?;
                self.send(finished, barrier.clock).await?;
            }
            let promised = self.promised(progress);
            self.links.end_epoch(promised, barrier).await?;
            let handed = match barrier.checkpoint {
                // What it is here nobody goes on from.
                Some(_) if self.start.is_some() => None,
                Some(number) => Some(self.hand_over(number)?),
                None => None,
            };
            self.restore(Some(barrier.epoch))?;
            self.report(barrier.epoch, progress.watermark(), handed).await?;
        }
        Ok(())
    }

    fn hand_over(&mut self, number: u64) -> DataFusionResult<HandedOver> {
        let started = self.wall.now().0;
        let snapshot = self.operator.snapshot(number)?;
        let memory = self.operator.memory();
        Ok(HandedOver { snapshot, memory, paused_ns: self.wall.now().0 - started })
    }

    async fn process(&mut self, port: usize, batch: &Batch) -> Result<(), Stop> {
        let (mut from, rows) = (0, batch.rows.num_rows());
        while from < rows {
            let rest = Batch {
                rows: batch.rows.slice(from, rows - from),
                times: batch.times.slice(from, rows - from),
            };
            let mut completed = Vec::new();
            from += self.operator.process(port, &rest, &mut completed)?.max(1);
            self.send(completed, self.inputs.clock()).await?;
        }
        Ok(())
    }

    async fn send(&mut self, results: Vec<Batch>, clock: ClockTime) -> Result<(), Stop> {
        for batch in results {
            let routed = self.route(&batch, clock)?;
            self.links.send(routed, clock).await?;
        }
        Ok(())
    }

    /// What those behind may rely on. Inputs that are finished leave windows open until everything has ended: then their
    /// results are still to come, and hold others back.
    fn promised(&mut self, progress: Progress) -> Progress {
        match (progress, self.operator.next_timer()) {
            (Progress::Finished(watermark), Some(_)) => Progress::Active(watermark),
            _ => progress,
        }
    }

    /// Takes what was kept, if its moment has come.
    fn restore(&mut self, behind: Option<Epoch>) -> DataFusionResult<()> {
        let due = |(at, _): &mut (Option<Epoch>, StageStart)| *at <= behind;
        if let Some((_, StageStart { number, parts, watermark })) = self.start.take_if(due) {
            self.operator = self.spec.build()?;
            self.operator.restore(number, parts, watermark)?;
        }
        Ok(())
    }

    /// Runs results through the outputs. If one can't be computed, such as a quotient of two aggregates, they are taken
    /// one by one, so that only that one becomes a dead letter: a replay would meet it again and again.
    fn route(&mut self, batch: &Batch, clock: ClockTime) -> DataFusionResult<Vec<Routed>> {
        let moment = Moment { clock, watermark: Watermark::MIN };
        if let Ok(routed) = self.router.route(batch, moment) {
            return Ok(routed);
        }
        let mut all = Vec::new();
        for row in 0..batch.rows.num_rows() {
            let mut one =
                Batch { rows: batch.rows.slice(row, 1), times: batch.times.slice(row, 1) };
            if self.updating {
                one.rows = alone(&one.rows)?;
            }
            match self.router.route(&one, moment) {
                Ok(routed) => all.extend(routed),
                Err(error) => self.reject(&one, &error)?,
            }
        }
        Ok(all)
    }

    /// A result under names that mean something to the author of the query.
    fn named(&self, rows: &RecordBatch) -> DataFusionResult<RecordBatch> {
        let schema = rows.schema();
        let fields = schema.fields().iter().zip(self.names.iter());
        let fields = fields.map(|(field, name)| field.as_ref().clone().with_name(name));
        new_batch(
            &Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            rows.columns().to_vec(),
            rows.num_rows(),
        )
    }

    fn reject(&mut self, row: &Batch, error: &DataFusionError) -> DataFusionResult<()> {
        let raw = as_json(&self.named(&row.rows)?)?;
        self.rejects.push(Reject {
            // Its epoch is known once that is over.
            position: Position { part: String::new(), offset: self.shard as u64 },
            reason: "compute_error",
            message: error.strip_backtrace(),
            raw,
        });
        Ok(())
    }

    async fn report(
        &mut self,
        epoch: Epoch,
        watermark: Watermark,
        handed: Option<HandedOver>,
    ) -> Result<(), Closed> {
        let mut rejects = std::mem::take(&mut self.rejects);
        for reject in &mut rejects {
            reject.position.part = format!("epoch {}", epoch.0);
        }
        let report = StageReport {
            stage: self.stage,
            shard: self.shard,
            epoch,
            late_rows: self.operator.take_late_rows(),
            counted_late: self.operator.take_counted_late(),
            next_timer: self.operator.next_timer(),
            next_clock: self.operator.next_clock(),
            watermark,
            handed,
            rejects,
        };
        self.reports.send(Report::Stage(report)).await.map_err(|_| Closed)
    }
}
