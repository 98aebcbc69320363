//! A pipeline of a process: started, started again after a fault, and taken out alone when that does not help.

use std::{collections::VecDeque, sync::Arc};

use postrider_core::{Clock, ErrorKind};
use postrider_engine::{
    Connectors, EngineError, EngineObserver, Pipeline, PipelineOptions, PipelineSummary,
};
use postrider_store::Log;

use crate::{
    checkpoints::CheckpointSettings,
    console,
    outcome::{Failure, Outcome},
    project::LoadedPipeline,
    report,
};

/// Restarts of a pipeline within [`RESTART_WINDOW_NS`]; the next fault takes it out.
const RESTARTS_MAX: usize = 3;

/// Five minutes: what fails more often than its restarts can mend needs a person.
const RESTART_WINDOW_NS: i64 = 300_000_000_000;

/// Gives what opens the tables of a pipeline.
pub(crate) type ConnectorsOf = Arc<dyn Fn(&LoadedPipeline) -> Arc<dyn Connectors> + Send + Sync>;

/// What a pipeline is started with.
#[derive(Clone)]
pub(crate) struct Starter {
    pub(crate) log: Log,
    pub(crate) parallelism: usize,
    pub(crate) wall: Arc<dyn Clock>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) checkpoints: Option<CheckpointSettings>,
    /// What opens the tables of a pipeline.
    pub(crate) connectors: ConnectorsOf,
    pub(crate) observer: Arc<dyn EngineObserver>,
}

impl Starter {
    async fn start(&self, loaded: &LoadedPipeline) -> Result<Pipeline, EngineError> {
        let name = &loaded.program.name;
        let generation = self.log.generation();
        Pipeline::start(PipelineOptions {
            program: Arc::clone(&loaded.program),
            parallelism: self.parallelism,
            log: self.log.clone(),
            clock: Arc::clone(&self.clock),
            wall: Arc::clone(&self.wall),
            connectors: (self.connectors)(loaded),
            observer: Arc::clone(&self.observer),
            checkpoints: self
                .checkpoints
                .as_ref()
                .map(|checkpoints| checkpoints.of(name, generation, &self.wall)),
        })
        .await
    }
}

/// How far a member came.
enum End {
    Running,
    Ended(PipelineSummary),
    /// Taken out of service; why.
    Quarantined(Failure),
}

/// A pipeline of a process.
pub(crate) struct Member {
    loaded: LoadedPipeline,
    starter: Starter,
    /// `None` between a fault and the restart.
    pipeline: Option<Pipeline>,
    restarts: Restarts,
    stopping: bool,
    /// Whether other pipelines go on without this one.
    alone: bool,
    end: End,
}

impl Member {
    /// Starts a pipeline.
    pub(crate) async fn start(
        loaded: LoadedPipeline,
        starter: Starter,
        alone: bool,
    ) -> Outcome<Self> {
        let started = starter.start(&loaded).await;
        let pipeline = started.map_err(|error| failure(&loaded, error))?;
        Ok(Self {
            pipeline: Some(pipeline),
            loaded,
            starter,
            restarts: Restarts::default(),
            stopping: false,
            alone,
            end: End::Running,
        })
    }

    /// Waits until everything that is there was processed.
    pub(crate) async fn settle(&self) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.settle().await;
        }
    }

    /// Asks it to end.
    pub(crate) async fn stop(&mut self) {
        self.stopping = true;
        if let Some(pipeline) = &self.pipeline {
            pipeline.stop().await;
        }
    }

    /// Waits for its end, and starts it again after a fault. Whoever stops waiting may come back.
    ///
    /// # Errors
    /// What ends the whole process.
    pub(crate) async fn ended(&mut self) -> Outcome {
        while matches!(self.end, End::Running) {
            let ended = match &mut self.pipeline {
                Some(pipeline) => pipeline.finished().await,
                None => self.start_again().await,
            };
            match ended {
                Ok(summary) => self.end = End::Ended(summary),
                Err(error) => self.failed(error).await?,
            }
        }
        Ok(())
    }

    /// What it did.
    ///
    /// # Errors
    /// Why it was taken out of service.
    pub(crate) fn into_summary(self) -> Outcome<PipelineSummary> {
        match self.end {
            End::Running => Ok(PipelineSummary::default()),
            End::Ended(summary) => Ok(summary),
            End::Quarantined(failure) => Err(failure),
        }
    }

    async fn start_again(&mut self) -> Result<PipelineSummary, EngineError> {
        if let Some(checkpoints) = &mut self.starter.checkpoints {
            // What was asked of the first start is done, or is done by what it left.
            (checkpoints.refire, checkpoints.restore) = (false, None);
        }
        let pipeline = self.starter.start(&self.loaded).await?;
        if self.stopping {
            pipeline.stop().await;
        }
        self.pipeline.insert(pipeline).finished().await
    }

    async fn failed(&mut self, error: EngineError) -> Outcome {
        if let Some(pipeline) = self.pipeline.take() {
            // Its tasks must be gone before others open the same files.
            pipeline.shut_down().await;
        }
        if shared(&error) {
            return Err(error.into());
        }
        let name = self.loaded.program.name.0.clone();
        if error.kind() == ErrorKind::Bug
            && !matches!(error, EngineError::Diverged { .. })
            && self.restarts.allow(self.starter.wall.now().0)
        {
            console::error(&error.to_string());
            console::note(&format!("pipeline {name}  starting again from its newest checkpoint"));
            return Ok(());
        }
        let failure = failure(&self.loaded, error);
        if !self.alone {
            console::error(&failure.text);
            console::note(&format!(
                "pipeline {name}  out of service until the next start; the others go on"
            ));
        }
        self.end = End::Quarantined(failure);
        Ok(())
    }
}

/// When a pipeline was started again (wall clock, ns).
#[derive(Debug, Default)]
struct Restarts(VecDeque<i64>);

impl Restarts {
    /// Counts a restart, unless there were too many.
    fn allow(&mut self, now: i64) -> bool {
        self.0.retain(|at| now.saturating_sub(*at) < RESTART_WINDOW_NS);
        let may = self.0.len() < RESTARTS_MAX;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

/// Whether what failed is what all pipelines stand on.
fn shared(error: &EngineError) -> bool {
    matches!(error, EngineError::Log(_)) || error.kind() == ErrorKind::Fenced
}

fn failure(loaded: &LoadedPipeline, error: EngineError) -> Failure {
    match error {
        EngineError::Invalid(found) => report::failure(&loaded.path, &loaded.program.sql, &found.0),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
