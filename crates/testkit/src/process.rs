//! A process of the shop: its log, its pipeline, its dispatcher, all on simulated time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use postrider_core::{Clock, PipelineName, Sleep};
use postrider_engine::{
    CheckpointFacts, Checkpoints, EngineError, EngineObserver, Pipeline, PipelineOptions, SealFacts,
};
use postrider_mail::{
    Dispatcher, DispatcherHandle, DispatcherOptions, MailError, NoObserver, Provider,
};
use postrider_store::{
    CheckpointError, CheckpointStore, Housekeeping, KeepLog, Log, LogError, LogIdentity, Lsn,
    PipelineNeeds, ReadsFrom, Retention, SimulatedWriter, testing::Operation,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Dice, Fate, Life, LifeCarrier, LifeFiles, SimClock, Violation,
    shop::{PIPELINE, ShopTables},
    time::SECOND,
    world::World,
};

/// How a process ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It did what it was to do.
    Finished,
    /// It stopped by itself, for a reason that a fault explains.
    Failed(String),
}

/// What the pipeline told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Epochs that were announced as sealed, with their trigger rows.
    seals: Mutex<Vec<(u64, u64)>>,
    oldest: Mutex<Option<ReadsFrom>>,
    checkpoints: AtomicU64,
    failures: AtomicU64,
}

impl Told {
    pub(crate) fn seals(&self) -> Vec<(u64, u64)> {
        self.seals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn checkpoints(&self) -> u64 {
        self.checkpoints.load(Ordering::Relaxed)
    }
}

impl EngineObserver for Told {
    fn sealed(&self, facts: &SealFacts<'_>) {
        let mut seals = self.seals.lock().unwrap_or_else(PoisonError::into_inner);
        seals.push((facts.epoch.0, facts.trigger_rows));
    }

    fn checkpointed(&self, _: &str, facts: &CheckpointFacts) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        oldest.clone_from(&facts.oldest);
    }

    fn checkpoint_failed(&self, _: &str, _: &CheckpointError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// A running process.
pub(crate) struct Process {
    pub(crate) log: Log,
    pub(crate) pipeline: Pipeline,
    pub(crate) mail: DispatcherHandle,
    mail_task: JoinHandle<Result<(), MailError>>,
    stop_mail: CancellationToken,
    told: Arc<Told>,
}

/// Opens the log as a process of this life sees it.
pub(crate) fn open_log(world: &World, life: &Life) -> Result<Log, LogError> {
    let files = LifeFiles::new(world.disk.clone(), life.clone(), world.faults.clone());
    let mut dice = world.dice.split(1_000 + world.cycles);
    let writer = SimulatedWriter {
        segment_bytes: world.segment_bytes,
        identity: Some(LogIdentity(dice.roll().into())),
        clock: Arc::new(world.clock.clone()),
        takes_ns: Box::new(move || dice.between(100_000, 5_000_000).cast_signed()),
    };
    Log::open_simulated(Arc::new(files), writer).map(|opened| opened.log)
}

/// Lets requests to the object store take time, and a process die in one.
fn pause(life: Life, clock: SimClock, dice: Dice) -> postrider_store::testing::Pause {
    let dice = Mutex::new(dice);
    Arc::new(move |_: Operation| -> Sleep {
        match life.step() {
            Fate::Done => {
                let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
                let slow = dice.percent(3);
                let longest = if slow { 5 * SECOND } else { SECOND / 20 };
                clock.sleep(dice.between(1_000_000, longest.unsigned_abs()).cast_signed())
            }
            Fate::DiesAfter => Box::pin(std::future::ready(())),
            Fate::DiesBefore | Fate::Dead => Box::pin(std::future::pending()),
        }
    })
}

fn checkpoints(world: &World, life: &Life, log: &Log) -> Checkpoints {
    let dice = world.dice.split(2_000 + world.cycles);
    let objects = world.objects.seen_through(pause(life.clone(), world.clock.clone(), dice));
    let nonces = Arc::clone(&world.nonces);
    let nonces = Arc::new(move || u128::from(nonces.fetch_add(1, Ordering::Relaxed)));
    let name = PipelineName(PIPELINE.to_owned());
    let clock = Arc::new(world.clock.clone());
    Checkpoints {
        store: CheckpointStore::new(Arc::new(objects), &name, log.generation(), clock, nonces),
        every_ns: 15 * SECOND,
        log_bytes: u64::MAX,
        retention: Retention { manifests: 2, age_ns: 0 },
        restore: None,
        accept_gap: false,
        compress: true,
        refire: false,
    }
}

/// Whether a failure of a pipeline is one that a fault explains.
pub(crate) fn judge(error: &EngineError) -> Result<End, Violation> {
    match error {
        EngineError::Log(_) | EngineError::Checkpoint(_) | EngineError::View(_) => {
            Ok(End::Failed(error.to_string()))
        }
        // A checkpoint that could not be read on this day, and a log that begins behind the others.
        EngineError::NoCheckpoint { .. } => Ok(End::Failed(error.to_string())),
        error => Err(error.to_string().into()),
    }
}

impl Process {
    /// Starts everything on an open log.
    pub(crate) async fn start(
        world: &World,
        life: &Life,
        log: Log,
        shards: usize,
    ) -> Result<Result<Self, End>, Violation> {
        let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
        let told = Arc::clone(&world.told);
        *told.oldest.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let started = Pipeline::start(PipelineOptions {
            program: Arc::clone(&world.shop.program),
            parallelism: shards,
            log: log.clone(),
            clock: Arc::clone(&clock),
            wall: Arc::clone(&clock),
            connectors: Arc::new(ShopTables(log.clone())),
            observer: Arc::clone(&told) as _,
            checkpoints: Some(checkpoints(world, life, &log)),
        });
        let pipeline = match started.await {
            Ok(pipeline) => pipeline,
            Err(error) => return judge(&error).map(Err),
        };
        let carrier: Arc<dyn Provider> =
            Arc::new(LifeCarrier::new(world.carrier.clone(), life.clone()));
        let dispatcher = Dispatcher::new(DispatcherOptions {
            log: log.clone(),
            sinks: world.shop.sinks.clone(),
            providers: HashMap::from([("default".to_owned(), carrier)]),
            wall: Arc::clone(&clock),
            epoch_clock: clock,
            max_in_flight: 3,
            snapshot_log_bytes: postrider_mail::SNAPSHOT_LOG_BYTES,
            observer: Arc::new(NoObserver),
        })
        .map_err(|error| error.to_string())?;
        let (mail, stop_mail) = (dispatcher.handle(), CancellationToken::new());
        let mail_task = tokio::spawn(dispatcher.run(stop_mail.clone()));
        Ok(Ok(Self { log, pipeline, mail, mail_task, stop_mail, told }))
    }

    /// How it ended, if it did.
    pub(crate) async fn ended(&mut self) -> Result<Option<End>, Violation> {
        if self.pipeline.has_ended() {
            return match self.pipeline.finished().await {
                Ok(_) => Err("the pipeline ended by itself".into()),
                Err(error) => judge(&error).map(Some),
            };
        }
        if self.mail_task.is_finished() {
            return match (&mut self.mail_task).await {
                Ok(Err(error @ (MailError::Log(_) | MailError::View(_)))) => {
                    Ok(Some(End::Failed(error.to_string())))
                }
                ended => Err(format!("the dispatcher ended: {ended:?}").into()),
            };
        }
        if self.log.durable().has_changed().is_err() {
            return Ok(Some(End::Failed(self.log.why_ended().to_string())));
        }
        Ok(None)
    }

    /// Has the outbox written down, and deletes what nobody needs of the log.
    pub(crate) async fn tidy(&self, now: i64) -> Result<u64, Violation> {
        let oldest = self.told.oldest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(oldest) = oldest else { return Ok(0) };
        // What can't be written now holds the log.
        if !matches!(self.mail.snapshot().await, Ok(Some(_))) {
            return Ok(0);
        }
        let sources = oldest.sources.iter().map(|(_, offset)| Lsn(*offset));
        let positions = sources.chain([Lsn(oldest.log_position)]).collect();
        let needs = PipelineNeeds { pipeline: PIPELINE.to_owned(), positions };
        let housekeeping = Housekeeping {
            pipelines: &[needs],
            views: &[],
            dispatcher_runs: true,
            keep: KeepLog { time: Duration::ZERO, bytes: 0 },
            now,
        };
        let tidied = housekeeping.run(&self.log);
        Ok(tidied.map_or(0, |tidied| tidied.shortened.segments as u64))
    }

    /// Stops everything in the order of the data.
    pub(crate) async fn stop(self) -> Result<(), Violation> {
        self.pipeline.stop().await;
        self.pipeline.join().await.map_err(|error| error.to_string())?;
        if !self.mail.settle().await {
            return Err("the dispatcher ended".into());
        }
        self.stop_mail.cancel();
        let ended = self.mail_task.await.map_err(|error| error.to_string())?;
        ended.map_err(|error| error.to_string())?;
        self.log.close().await;
        Ok(())
    }
}
