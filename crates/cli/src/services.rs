//! Pipelines, mail and collector in one process: started together, stopped in the order of the data.

use std::{collections::HashMap, future::Future, path::PathBuf, sync::Arc};

use postrider_core::{Clock, WorkspaceId};
use postrider_engine::{EngineObserver, Pipeline, PipelineOptions, PipelineSummary};
use postrider_mail::{
    Dispatcher, DispatcherHandle, DispatcherOptions, MailError, MailObserver, Provider,
};
use postrider_serve::{Collector, CollectorLimits, CollectorOptions, Stats, WriteKey};
use postrider_store::Log;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
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
    pub(crate) engine_observer: Arc<dyn EngineObserver>,
    pub(crate) mail_observer: Arc<dyn MailObserver>,
}

/// A task that may fail.
type Task<T> = AbortOnDropHandle<Result<T, Failure>>;

/// What runs.
pub(crate) struct Services {
    pub(crate) pipelines: Vec<Pipeline>,
    dispatcher: Option<(DispatcherHandle, Task<()>)>,
    pub(crate) collector: Option<Arc<Stats>>,
    collector_task: Option<Task<()>>,
    stop_collector: CancellationToken,
    stop_mail: CancellationToken,
    log: Log,
}

impl Services {
    /// Starts mail, then pipelines, then the collector: whoever reads before whoever writes.
    pub(crate) async fn start(options: ServiceOptions) -> Outcome<Self> {
        let (stop_collector, stop_mail) = (CancellationToken::new(), CancellationToken::new());
        let dispatcher = dispatcher(&options, &stop_mail)?;
        let mut pipelines = Vec::new();
        for pipeline in &options.pipelines {
            pipelines.push(start_pipeline(pipeline, &options).await?);
        }
        let (mut stats, mut collector_task) = (None, None);
        if let Some(setup) = options.collector {
            let collector = open_collector(&options.log, setup.keys, &options.wall).await?;
            stats = Some(collector.stats());
            let stop = stop_collector.clone();
            collector_task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                postrider_serve::serve(setup.listener, collector.router(), stop)
                    .await
                    .map_err(|error| Failure::failed(format!("the collector stopped: {error}")))
            })));
        }
        Ok(Self {
            pipelines,
            dispatcher,
            collector: stats,
            collector_task,
            stop_collector,
            stop_mail,
            log: options.log,
        })
    }

    /// Waits until pipelines and mail did all there is to do.
    pub(crate) async fn settle(&self) {
        for pipeline in &self.pipelines {
            pipeline.settle().await;
        }
        if let Some((handle, _)) = &self.dispatcher {
            // A dispatcher that ended says why when it is stopped.
            handle.settle().await;
        }
    }

    /// Waits until a pipeline ends: by itself, with an error, or because mail or the collector
    /// failed. The summaries are in the order of the pipelines.
    pub(crate) async fn drained(&mut self) -> Outcome<Vec<PipelineSummary>> {
        let pipelines = std::mem::take(&mut self.pipelines);
        let all = futures::future::try_join_all(pipelines.into_iter().map(Pipeline::join));
        let mail = watch(self.dispatcher.as_mut().map(|(_, task)| task));
        let collector = watch(self.collector_task.as_mut());
        tokio::select! {
            summaries = all => Ok(summaries?),
            failure = mail => Err(failure),
            failure = collector => Err(failure),
        }
    }

    /// Stops in the order of the data: no more events, what is there processed, mail sent, log closed.
    pub(crate) async fn stop(mut self) -> Outcome<Vec<PipelineSummary>> {
        self.stop_collector.cancel();
        if let Some(task) = self.collector_task.take() {
            finished(task).await?;
        }
        for pipeline in &self.pipelines {
            pipeline.stop().await;
        }
        let pipelines = std::mem::take(&mut self.pipelines);
        let summaries =
            futures::future::try_join_all(pipelines.into_iter().map(Pipeline::join)).await?;
        if let Some((handle, task)) = self.dispatcher.take() {
            handle.settle().await;
            self.stop_mail.cancel();
            finished(task).await?;
        }
        self.log.close().await;
        Ok(summaries)
    }
}

async fn finished(task: Task<()>) -> Outcome {
    task.await.map_err(|error| Failure::failed(format!("a task of Postrider failed: {error}")))?
}

/// Completes only if the task ends with an error.
async fn watch(task: Option<&mut Task<()>>) -> Failure {
    match task {
        Some(task) => match task.await {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) => Failure::failed("a service ended before it was told to"),
            Err(error) => Failure::failed(format!("a task of Postrider failed: {error}")),
        },
        None => std::future::pending().await,
    }
}

fn dispatcher(
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
        observer: Arc::clone(&options.mail_observer),
    })?;
    let (handle, stop) = (dispatcher.handle(), stop.clone());
    let run = async move { dispatcher.run(stop).await.map_err(|error: MailError| error.into()) };
    Ok(Some((handle, AbortOnDropHandle::new(tokio::spawn(run)))))
}

async fn start_pipeline(pipeline: &LoadedPipeline, options: &ServiceOptions) -> Outcome<Pipeline> {
    let wiring = Wiring {
        log: options.log.clone(),
        clock: Arc::clone(&options.wall),
        dir: pipeline.dir.clone(),
        dead_letters: options.dead_letters.clone(),
    };
    Ok(Pipeline::start(PipelineOptions {
        program: Arc::clone(&pipeline.program),
        parallelism: options.parallelism,
        log: options.log.clone(),
        clock: Arc::clone(&options.clock),
        wall: Arc::clone(&options.wall),
        connectors: Arc::new(wiring),
        observer: Arc::clone(&options.engine_observer),
    })
    .await?)
}

/// Opens a collector over a log.
async fn open_collector(
    log: &Log,
    keys: Vec<WriteKey>,
    wall: &Arc<dyn Clock>,
) -> Outcome<Collector> {
    let options = CollectorOptions {
        log: log.clone(),
        workspace: WorkspaceId::DEFAULT,
        keys,
        origins: Vec::new(),
        wall: Arc::clone(wall),
        ids: Arc::new(rand::random::<u128>),
        limits: CollectorLimits::default(),
    };
    let opened = tokio::task::spawn_blocking(move || Collector::open(options)).await;
    opened
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::invalid(error.to_string()))
}
