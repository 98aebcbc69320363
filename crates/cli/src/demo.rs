//! `postrider demo`: a shop, its events, its triggers and its mailbox, all on this machine.
//!
//! Real: HTTP intake with an fsync before each answer, the engine, the log, rendering, SMTP, the mailbox. Simulated:
//! the customers, and a clock that runs `--speed` times as fast.

mod latency;
mod load;
mod shop;
mod summary;
mod verify;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use postrider_core::{Clock, PipelineName};
use postrider_engine::{ScaledClock, SystemClock};
use postrider_mail::{Mailbox, Provider, SmtpOptions, SmtpProvider, TemplateLoader};
use postrider_serve::WriteKey;
use postrider_store::{KeyRole, Log};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{
    latency::Latencies,
    load::Load,
    shop::{MINUTE, Shop, ShopOptions},
    summary::Summary,
};
use crate::{
    args::DemoArgs,
    checkpoints::CheckpointSettings,
    console,
    housekeeping::Tidiness,
    interrupt::Interrupts,
    outcome::{Failure, Outcome},
    project::{LoadedPipeline, PipelineText, load_text},
    services::{self, CollectorSetup, ServiceOptions, Services},
};

/// As often as `run` takes checkpoints, so that the demo shows what they cost.
const CHECKPOINT_EVERY_NS: i64 = 10_000_000_000;

/// The pipeline that runs, as it stands in the gallery.
const PIPELINE: &str = include_str!("../../../pipelines/abandoned_cart/pipeline.sql");
const TEMPLATE: &str = include_str!("../../../pipelines/abandoned_cart/template.mjml");
const PIPELINE_NAME: &str = "abandoned_cart";

/// The write key of the simulated shop, on loopback only.
const WRITE_KEY: &str = "sk_demo";

/// After closing time the last carts settle: session gap, watermark delay and idle timeout of the
/// pipeline, and some slack.
const SETTLING: i64 = (60 + 1 + 2 + 3) * MINUTE;

/// How often progress is shown on a terminal, and elsewhere.
const PROGRESS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

struct Embedded;

impl TemplateLoader for Embedded {
    fn load(&self, path: &str) -> Result<String, String> {
        match path {
            "template.mjml" => Ok(TEMPLATE.to_owned()),
            other => Err(format!("the demo has no template `{other}`")),
        }
    }
}

/// Where the demo keeps its files.
struct Place {
    dir: PathBuf,
    /// Removed at the end, if the user did not name a directory.
    _temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn new(dir: Option<&Path>) -> Outcome<Self> {
        match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                if std::fs::read_dir(dir)?.next().is_some() {
                    let text = "is not empty: a demo starts from nothing; name another --dir";
                    return Err(Failure::invalid(format!("{} {text}", dir.display())));
                }
                Ok(Self { dir: dir.to_owned(), _temporary: None })
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("postrider-demo-").tempdir()?;
                Ok(Self { dir: temporary.path().to_owned(), _temporary: Some(temporary) })
            }
        }
    }
}

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> Outcome {
    let pipeline = load_text(&PipelineText {
        path: "pipelines/abandoned_cart/pipeline.sql",
        sql: PIPELINE,
        name: PipelineName(PIPELINE_NAME.to_owned()),
        dir: PathBuf::new(),
        templates: &Embedded,
    })?;
    services::block_on(Box::pin(play(args, pipeline)))?
}

/// Everything that serves during the demo.
struct Stage {
    log: Log,
    services: Services,
    stop_mailbox: CancellationToken,
    mailbox: Vec<AbortOnDropHandle<Result<(), Failure>>>,
    collector: SocketAddr,
    latencies: Arc<Latencies>,
}

async fn play(args: &DemoArgs, pipeline: LoadedPipeline) -> Outcome {
    let mut interrupts = Interrupts::listen()?;
    let place = Place::new(args.dir.as_deref())?;
    let wall = SystemClock::new();
    #[expect(clippy::cast_precision_loss, reason = "at most 3,600")]
    let clock = ScaledClock::new(&wall, wall.now(), args.speed as f64);
    let start = clock.now();
    let wall: Arc<dyn Clock> = Arc::new(wall);
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let stage = set_up(args, pipeline, &place.dir, &wall, &clock).await?;
    let shop = Shop::new(ShopOptions {
        seed: args.seed,
        start_ns: start.0,
        customers: usize::try_from(args.customers).unwrap_or(usize::MAX),
        rate: u32::try_from(args.rate).unwrap_or(u32::MAX),
        speed: u32::try_from(args.speed).unwrap_or(u32::MAX),
        batch: usize::try_from(args.batch).unwrap_or(usize::MAX),
    });
    announce(args, &place.dir);
    let load = Load::new(stage.collector, WRITE_KEY, shop, args)?;
    let loaded = tokio::select! {
        loaded = watched(load.run(), &stage, "open") => Some(loaded?),
        () = interrupts.next() => None,
    };
    if loaded.is_some() {
        let speed = i64::try_from(args.speed).unwrap_or(1);
        let settling = Duration::from_nanos((SETTLING / speed).unsigned_abs());
        tokio::select! {
            () = watched(tokio::time::sleep(settling), &stage, "closed, the last carts settle") => {}
            () = interrupts.next() => {}
        }
    }
    finish(args, stage, loaded.as_ref(), &place.dir, &mut interrupts).await
}

async fn set_up(
    args: &DemoArgs,
    pipeline: LoadedPipeline,
    dir: &Path,
    wall: &Arc<dyn Clock>,
    clock: &Arc<dyn Clock>,
) -> Outcome<Stage> {
    let free: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let log = Log::open(services::log_options(&dir.join("state")))?.log;
    let mails = dir.join("mails");
    let mailbox = Mailbox::bind(free, &mails, Arc::clone(wall)).await?;
    let page = TcpListener::bind(free).await?;
    let listener = TcpListener::bind(free).await?;
    let (collector, smtp) = (listener.local_addr()?, mailbox.local_addr());
    console::line(format!("collector  http://{collector}"));
    console::line(format!("mailbox    http://{}", page.local_addr()?));
    console::line(format!("mail       smtp://{smtp}"));
    let stop_mailbox = CancellationToken::new();
    let router = postrider_serve::mailbox_router(mails);
    let (stop_smtp, stop_page) = (stop_mailbox.clone(), stop_mailbox.clone());
    let mailbox = vec![
        AbortOnDropHandle::new(tokio::spawn(async move { Ok(mailbox.run(stop_smtp).await?) })),
        AbortOnDropHandle::new(tokio::spawn(async move {
            Ok(postrider_serve::serve(page, router, stop_page).await?)
        })),
    ];
    let options = SmtpOptions::from_url(&format!("smtp://{smtp}"))?;
    let provider: Arc<dyn Provider> = Arc::new(SmtpProvider::new("default", options));
    let latencies = Arc::new(Latencies::new()?);
    let services = Services::start(ServiceOptions {
        pipelines: vec![pipeline],
        log: log.clone(),
        parallelism: args.parallelism.unwrap_or_else(services::cores).max(1),
        wall: Arc::clone(wall),
        clock: Arc::clone(clock),
        providers: HashMap::from([("default".to_owned(), provider)]),
        collector: Some(CollectorSetup {
            listener,
            keys: vec![WriteKey::new(KeyRole::Server, WRITE_KEY)],
        }),
        dead_letters: Some(dir.join("dead_letters")),
        checkpoints: Some(CheckpointSettings::local(dir, CHECKPOINT_EVERY_NS)?),
        tidiness: Tidiness::default(),
        engine_observer: Arc::<Latencies>::clone(&latencies),
        mail_observer: Arc::<Latencies>::clone(&latencies),
    })
    .await?;
    Ok(Stage { log, services, stop_mailbox, mailbox, collector, latencies })
}

fn announce(args: &DemoArgs, dir: &Path) {
    let hour = 3_600.0 / f64::from(u32::try_from(args.speed).unwrap_or(u32::MAX));
    console::line(format!("files      {}", dir.display()));
    console::line(String::new());
    console::line(format!(
        "shop       {} events/s for {} s, an hour of its time passes in {hour:.1} s",
        console::count(args.rate),
        args.seconds
    ));
    console::line(format!(
        "faults     {:.1} % delayed up to {} s, {:.1} % late by {} to {} min, {:.1} % posted twice",
        shop::DELAYED_SHARE * 100.0,
        shop::DELAYED_BY.end / shop::SECOND,
        shop::LATE_SHARE * 100.0,
        shop::LATE_BY.start / MINUTE,
        shop::LATE_BY.end / MINUTE,
        shop::DUPLICATE_SHARE * 100.0,
    ));
    console::line("trigger    pipelines/abandoned_cart: one email an hour after a cart was left\n");
}

/// Shows progress while something runs.
async fn watched<T>(work: impl Future<Output = T>, stage: &Stage, phase: &str) -> T {
    let terminal = console::is_watched();
    let bar = if terminal {
        indicatif::ProgressBar::new_spinner()
    } else {
        indicatif::ProgressBar::hidden()
    };
    let mut tick = tokio::time::interval(PROGRESS[usize::from(!terminal)]);
    tick.tick().await;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = tick.tick() => {
                let text = format!("{phase}: {}", stage.progress());
                bar.set_message(text.clone());
                bar.tick();
                if !terminal {
                    console::note(&text);
                }
            }
        }
    }
}

impl Stage {
    fn progress(&self) -> String {
        let stats = self.services.collector.as_ref();
        let accepted = stats.map_or(0, |stats| stats.accepted());
        let duplicate = stats.map_or(0, |stats| stats.duplicate());
        let seen = self.latencies.snapshot();
        format!(
            "{} events accepted, {} duplicate, {} late, {} trigger rows, {} emails sent, p99 {}",
            console::count(accepted),
            console::count(duplicate),
            console::count(seen.late_rows),
            console::count(seen.trigger_rows),
            console::count(seen.sent),
            console::milliseconds(seen.to_smtp.p99),
        )
    }
}

async fn finish(
    args: &DemoArgs,
    stage: Stage,
    loaded: Option<&load::Loaded>,
    dir: &Path,
    interrupts: &mut Interrupts,
) -> Outcome {
    let at_once = || Failure::failed("stopped at once, before everything was settled");
    let (summary, verdict) = tokio::select! {
        concluded = conclude(args, &stage, loaded, dir) => concluded?,
        () = interrupts.next() => return Err(at_once()),
    };
    if args.keep {
        console::note("staying up: post events, look at the mailbox; Ctrl-C ends");
        interrupts.next().await;
    }
    tokio::select! {
        stopped = stage.stop() => stopped?,
        () = interrupts.next() => return Err(at_once()),
    }
    summary.check()?;
    verdict.map_or(Ok(()), |verdict| verdict.outcome())
}

/// Waits for what is on its way, and says what happened.
async fn conclude(
    args: &DemoArgs,
    stage: &Stage,
    loaded: Option<&load::Loaded>,
    dir: &Path,
) -> Outcome<(Summary, Option<verify::Verdict>)> {
    stage.services.settle().await;
    let summary = Summary::collect(&stage.services, &stage.log, &stage.latencies, loaded, dir)?;
    summary.print(args)?;
    let verdict = if args.verify { Some(verify::verify(&stage.log).await?) } else { None };
    Ok((summary, verdict))
}

impl Stage {
    async fn stop(self) -> Outcome {
        self.services.stop().await?;
        self.stop_mailbox.cancel();
        for task in self.mailbox {
            task.await.map_err(|error| Failure::failed(error.to_string()))??;
        }
        Ok(())
    }
}
