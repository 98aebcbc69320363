//! A pipeline of a process: started, started again after a fault, and taken out alone when that does not help.

use std::{collections::VecDeque, sync::Arc};

use postrider_core::{Clock, ClockTime, ErrorKind};
use postrider_engine::{
    Connectors, EngineError, EngineObserver, Pipeline, PipelineOptions, PipelineSummary,
};
use postrider_store::{CheckpointError, Log, Lsn};

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

/// How long a start waits for a checkpoint store: what an automatic restart of one takes. Whatever lasts longer is better
/// seen than waited for, because no event is processed meanwhile.
const STORE_PATIENCE_NS: i64 = 30_000_000_000;

/// Between two tries of a start: little against [`STORE_PATIENCE_NS`], and a note each is not too many.
const STORE_PAUSE_NS: i64 = 3_000_000_000;

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
    /// Starts a pipeline, and waits a while for a checkpoint store that can't be used just now: without knowing what is in it
    /// there is nothing to go on from.
    async fn start(&self, loaded: &LoadedPipeline) -> Result<Pipeline, EngineError> {
        let deadline = self.wall.now().0.saturating_add(STORE_PATIENCE_NS);
        let (name, mut told) = (&loaded.program.name, false);
        loop {
            let error = match self.try_start(loaded).await {
                Err(EngineError::Checkpoint(error)) if error.kind() == ErrorKind::Retry => error,
                outcome => return outcome,
            };
            let left = deadline.saturating_sub(self.wall.now().0);
            if left <= 0 {
                return Err(EngineError::Checkpoint(error));
            }
            let seconds = left / 1_000_000_000 + 1;
            console::note(&match told {
                false => format!(
                    "pipeline {name}  waiting for its checkpoints, {seconds} s at most: {error}"
                ),
                true => format!(
                    "pipeline {name}  still waiting for its checkpoints, {seconds} s more at most"
                ),
            });
            told = true;
            let pause = self.wall.now().0.saturating_add(STORE_PAUSE_NS);
            self.wall.sleep_until(ClockTime(pause)).await;
        }
    }

    async fn try_start(&self, loaded: &LoadedPipeline) -> Result<Pipeline, EngineError> {
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
        let pipeline = started.map_err(|error| failure(&loaded, &starter, error))?;
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
            // The first start took the checkpoint over that was asked for.
            checkpoints.restore = None;
        }
        let pipeline = self.starter.start(&self.loaded).await?;
        if self.stopping {
            pipeline.stop().await;
        }
        self.pipeline.insert(pipeline).finished().await
    }

    async fn failed(&mut self, error: EngineError) -> Outcome {
        if let Some(pipeline) = self.pipeline.take() {
            if let Some(checkpoints) = &mut self.starter.checkpoints {
                // Once the log says that it fires again, so does every start from there on; to ask for it anew would mail once more.
                checkpoints.refire &= !pipeline.is_recorded();
            }
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
        let failure = failure(&self.loaded, &self.starter, error);
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

fn failure(loaded: &LoadedPipeline, starter: &Starter, error: EngineError) -> Failure {
    match error {
        EngineError::Checkpoint(error) if error.kind() == ErrorKind::Retry => {
            unreachable(loaded, starter, &error)
        }
        EngineError::Invalid(found) => report::failure(&loaded.path, &loaded.program.sql, &found.0),
        other => other.into(),
    }
}

/// The checkpoints could not be looked at, however long that was tried.
fn unreachable(loaded: &LoadedPipeline, starter: &Starter, error: &CheckpointError) -> Failure {
    let way = match starter.log.start() {
        Lsn(0) => {
            "start again once the store can be used; or start with another place for --checkpoints, then everything in \
             the log is computed again"
                .to_owned()
        }
        Lsn(start) => format!(
            "start again once the store can be used: the log begins at {start}, so it can't go on without these checkpoints"
        ),
    };
    let name = &loaded.program.name;
    let settings = starter.checkpoints.as_ref().map_or("", |checkpoints| checkpoints.settings);
    let settings = if settings.is_empty() { String::new() } else { format!(" ({settings})") };
    Failure::failed(format!(
        "pipeline `{name}` can't start: {error}{settings}.\nIts log is intact, and nothing was processed: {way}"
    ))
}

#[cfg(test)]
mod tests;
