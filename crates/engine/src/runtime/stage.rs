//! The task of one stage instance: an operator between its inputs and its links.

use datafusion::common::DataFusionError;
use postrider_core::Epoch;
use tokio::sync::mpsc;

use super::{
    inputs::{Input, Inputs},
    links::{Closed, Links, Router},
    report::{Report, StageReport},
};
use crate::{
    EngineError,
    operator::{Advanced, Operator},
};

/// The task of one stage instance.
pub(crate) struct Stage {
    pub(crate) pipeline: String,
    pub(crate) stage: usize,
    pub(crate) shard: usize,
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) inputs: Inputs,
    pub(crate) router: Router,
    pub(crate) links: Links,
    pub(crate) reports: mpsc::Sender<Report>,
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
        let mut finished = Vec::new();
        while let Some(input) = self.inputs.next().await {
            let (progress, barrier) = match input {
                Input::Batch(batch) => {
                    self.operator.process(&batch)?;
                    continue;
                }
                Input::EpochEnd(progress, barrier) => (progress, barrier),
            };
            // Sent as they come: all that a watermark finishes may be more than fits into memory.
            let mut advanced = Advanced::Partly;
            while advanced == Advanced::Partly {
                advanced = self.operator.advance(progress.watermark(), &mut finished)?;
                for batch in finished.drain(..) {
                    self.links.send(self.router.route(&batch)?).await?;
                }
            }
            self.links.end_epoch(progress, barrier).await?;
            self.report(barrier.epoch).await?;
        }
        Ok(())
    }

    async fn report(&mut self, epoch: Epoch) -> Result<(), Closed> {
        let report = StageReport {
            stage: self.stage,
            shard: self.shard,
            epoch,
            late_rows: self.operator.take_late_rows(),
            next_timer: self.operator.next_timer(),
        };
        self.reports.send(Report::Stage(report)).await.map_err(|_| Closed)
    }
}
