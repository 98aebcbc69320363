//! Pipelines, mail and collector in one process: started together, stopped in the order of the data.

use std::{
    collections::HashMap,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use postrider_core::{Clock, WorkspaceId};
use postrider_engine::{EngineObserver, PipelineSummary};
use postrider_mail::{
    Dispatcher, DispatcherHandle, DispatcherOptions, MailError, MailObserver, Provider,
};
use postrider_serve::{Collector, CollectorLimits, CollectorOptions, Stats, WriteKey};
use postrider_store::{Log, LogError, LogIdentity, LogOptions};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    checkpoints::CheckpointSettings,
    housekeeping::{Needs, Tidiness, keep_short},
    member::{ConnectorsOf, Member, Starter},
    outcome::{Failure, Outcome},
    project::LoadedPipeline,
    wiring::Wiring,
};

/// Sends on their way at once: twice the connections of the SMTP provider's pool.
const SENDS_IN_FLIGHT: usize = 40;

/// The cores of this machine, for `--parallelism`.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs a future on a runtime with one thread a core.
pub(crate) fn block_on<F: Future>(future: F) -> Outcome<F::Output> {
    block_on_threads(cores(), future)
}

/// Runs a future on a runtime with this many threads.
pub(crate) fn block_on_threads<F: Future>(threads: usize, future: F) -> Outcome<F::Output> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// The log in a directory. One that is new, or older than identities, is told from all others from now on.
pub(crate) fn log_options(dir: &Path) -> LogOptions {
    LogOptions { identity: Some(LogIdentity(rand::random())), ..LogOptions::new(dir) }
}

/// A collector to be started.
pub(crate) struct CollectorSetup {
    pub(crate) listener: TcpListener,
    pub(crate) keys: Vec<WriteKey>,
}

/// What is started together.
pub(crate) struct ServiceOptions {
    pub(crate) pipelines: Vec<LoadedPipeline>,
    pub(crate) log: Log,
    pub(crate) parallelism: usize,
    pub(crate) wall: Arc<dyn Clock>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) providers: HashMap<String, Arc<dyn Provider>>,
    pub(crate) collector: Option<CollectorSetup>,
    pub(crate) dead_letters: Option<PathBuf>,
    pub(crate) checkpoints: Option<CheckpointSettings>,
    pub(crate) tidiness: Tidiness,
    pub(crate) engine_observer: Arc<dyn EngineObserver>,
    pub(crate) mail_observer: Arc<dyn MailObserver>,
}

impl ServiceOptions {
    fn starter(&self) -> Starter {
        Starter {
            log: self.log.clone(),
            parallelism: self.parallelism,
            wall: Arc::clone(&self.wall),
            clock: Arc::clone(&self.clock),
            connectors: self.connectors(),
            checkpoints: self.checkpoints.clone(),
            observer: Arc::clone(&self.engine_observer),
        }
    }
}

impl ServiceOptions {
    fn connectors(&self) -> ConnectorsOf {
        let (log, clock) = (self.log.clone(), Arc::clone(&self.wall));
        let dead_letters = self.dead_letters.clone();
        Arc::new(move |loaded| {
            Arc::new(Wiring {
                log: log.clone(),
                clock: Arc::clone(&clock),
                dir: loaded.dir.clone(),
                dead_letters: dead_letters.clone(),
            })
        })
    }
}

/// A task that may fail.
type Task<T> = AbortOnDropHandle<Result<T, Failure>>;

/// What runs.
pub(crate) struct Services {
    members: Vec<Member>,
    mail: Option<DispatcherHandle>,
    mail_task: Option<Task<()>>,
    pub(crate) collector: Option<Arc<Stats>>,
    collector_task: Option<Task<()>>,
    stop_collector: CancellationToken,
    stop_mail: CancellationToken,
    housekeeper: AbortOnDropHandle<()>,
    stop_housekeeper: CancellationToken,
    log: Log,
}

impl Services {
    /// Starts pipelines, then mail, then the collector. Mail comes behind everything that may fail, so that a failed
    /// start leaves no send in doubt.
    pub(crate) async fn start(mut options: ServiceOptions) -> Outcome<Self> {
        let (stop_collector, stop_mail) = (CancellationToken::new(), CancellationToken::new());
        let mut collector = None;
        if let Some(CollectorSetup { listener, keys }) = options.collector.take() {
            let opened = open_collector(&options, keys).await?;
            collector = Some((listener, opened));
        }
        let observer = Arc::clone(&options.engine_observer);
        let needs = Arc::new(Needs::new(&options.pipelines, observer));
        options.engine_observer = Arc::<Needs>::clone(&needs);
        let starter = options.starter();
        let mut members = Vec::new();
        let alone = options.pipelines.len() == 1;
        for pipeline in &options.pipelines {
            members.push(Member::start(pipeline.clone(), starter.clone(), alone).await?);
        }
        let (mail, mail_task) = start_mail(&options, &stop_mail)?.unzip();
        let stats = collector.as_ref().map(|(_, collector)| collector.stats());
        let collector_task = collector.map(|(listener, collector)| {
            let stop = stop_collector.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                let snapshots = tokio::spawn(collector.clone().write_snapshots());
                let _snapshots = AbortOnDropHandle::new(snapshots);
                postrider_serve::serve(listener, collector.router(), stop)
                    .await
                    .map_err(|error| Failure::failed(format!("the collector stopped: {error}")))
            }))
        });
        let wall = Arc::clone(&options.wall);
        let stop_housekeeper = CancellationToken::new();
        let (log, stop) = (options.log.clone(), stop_housekeeper.clone());
        let housekeeper = keep_short(log, needs, wall, options.tidiness, mail.is_some(), stop);
        Ok(Self {
            members,
            housekeeper: AbortOnDropHandle::new(tokio::spawn(housekeeper)),
            stop_housekeeper,
            mail,
            mail_task,
            collector: stats,
            collector_task,
            stop_collector,
            stop_mail,
            log: options.log,
        })
    }

    /// Waits until pipelines and mail did all there is to do.
    pub(crate) async fn settle(&self) {
        for member in &self.members {
            member.settle().await;
        }
        if let Some(mail) = &self.mail {
            // A dispatcher that ended says why when it is stopped.
            mail.settle().await;
        }
    }

    /// Waits until every pipeline ended by itself, or was taken out of service. Everything runs on if the caller stops waiting.
    ///
    /// # Errors
    /// What all pipelines stand on, mail or the collector failed, or the log ended. The others run on until [`stop`](Self::stop).
    pub(crate) async fn drained(&mut self) -> Outcome {
        let log = self.log.clone();
        let all = futures::future::try_join_all(self.members.iter_mut().map(Member::ended));
        let drained = tokio::select! {
            ended = all => ended.map(drop),
            failure = watch(&mut self.mail_task) => Err(failure),
            failure = watch(&mut self.collector_task) => Err(failure),
            // Who waits for events would not notice.
            ended = log.ended() => Err(ended.into()),
        };
        // To have been taken over is the reason for whatever else fails.
        drained.map_err(|failure| match log.check_fence() {
            Err(fenced @ LogError::Fenced { .. }) => fenced.into(),
            _ => failure,
        })
    }

    /// Stops in the order of the data: no more events, what is there processed, mail sent, log closed. What failed before
    /// is left out; what fails now does not keep mail from being finished. The summaries are in the order of the pipelines.
    pub(crate) async fn stop(mut self) -> Outcome<Vec<PipelineSummary>> {
        self.stop_collector.cancel();
        let collected = finished(self.collector_task.take()).await;
        for member in &mut self.members {
            member.stop().await;
        }
        let ended = futures::future::join_all(self.members.iter_mut().map(Member::ended)).await;
        if let Some(mail) = &self.mail {
            mail.settle().await;
        }
        self.stop_mail.cancel();
        let mailed = finished(self.mail_task.take()).await;
        self.stop_housekeeper.cancel();
        if let Err(error) = self.housekeeper.await {
            tracing::error!(%error, "keeping the log short failed; report it");
        }
        self.log.close().await;
        ended.into_iter().chain([collected, mailed]).collect::<Outcome<()>>()?;
        self.members.into_iter().map(Member::into_summary).collect()
    }
}

async fn finished(task: Option<Task<()>>) -> Outcome {
    match task {
        Some(task) => task.await.unwrap_or_else(|error| Err(broken(&error))),
        None => Ok(()),
    }
}

fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::failed(format!("a task of Postrider failed: {error}"))
}

/// Completes only if the task ends, which is a failure, and forgets it then.
async fn watch(task: &mut Option<Task<()>>) -> Failure {
    let ended = match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    };
    *task = None;
    match ended {
        Ok(Err(failure)) => failure,
        Ok(Ok(())) => Failure::failed("a service ended before it was told to"),
        Err(error) => broken(&error),
    }
}

fn start_mail(
    options: &ServiceOptions,
    stop: &CancellationToken,
) -> Outcome<Option<(DispatcherHandle, Task<()>)>> {
    let sinks: HashMap<_, _> =
        options.pipelines.iter().flat_map(|pipeline| pipeline.emails.clone()).collect();
    if sinks.is_empty() {
        return Ok(None);
    }
    let dispatcher = Dispatcher::new(DispatcherOptions {
        log: options.log.clone(),
        sinks,
        providers: options.providers.clone(),
        wall: Arc::clone(&options.wall),
        epoch_clock: Arc::clone(&options.clock),
        max_in_flight: SENDS_IN_FLIGHT,
        snapshot_log_bytes: options.tidiness.outbox_bytes(),
        observer: Arc::clone(&options.mail_observer),
    })?;
    let (handle, stop) = (dispatcher.handle(), stop.clone());
    let run = async move { dispatcher.run(stop).await.map_err(|error: MailError| error.into()) };
    Ok(Some((handle, AbortOnDropHandle::new(tokio::spawn(run)))))
}

/// Opens a collector over the log of what is started.
async fn open_collector(services: &ServiceOptions, keys: Vec<WriteKey>) -> Outcome<Collector> {
    let limits = CollectorLimits {
        snapshot_log_bytes: services.tidiness.message_ids_bytes(),
        ..CollectorLimits::default()
    };
    let options = CollectorOptions {
        log: services.log.clone(),
        workspace: WorkspaceId::DEFAULT,
        keys,
        origins: Vec::new(),
        wall: Arc::clone(&services.wall),
        ids: Arc::new(rand::random::<u128>),
        limits,
    };
    let opened = tokio::task::spawn_blocking(move || Collector::open(options)).await;
    opened
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::invalid(error.to_string()))
}
