//! `postrider run`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use postrider_core::{Clock, PipelineName};
use postrider_engine::{PipelineSummary, SystemClock};
use postrider_mail::{FileProvider, Provider, SmtpOptions, SmtpProvider};
use postrider_serve::WriteKey;
use postrider_store::{KeyRole, Log};
use tokio::net::TcpListener;

use super::{notes::Notes, plan};
use crate::{
    args::RunArgs,
    checkpoints::{CHECKPOINTS, CheckpointSettings, Place},
    console::{self, count, counted},
    housekeeping::Tidiness,
    interrupt::Interrupts,
    outcome::{Failure, Outcome},
    project::{LoadedPipeline, load},
    services::{self, CollectorSetup, ServiceOptions, Services},
    wiring::{COLLECTOR, dead_letter_path},
};

/// Runs pipelines until their sources end or somebody presses Ctrl-C.
pub(crate) fn run(args: &RunArgs) -> Outcome {
    let pipelines = args.files.iter().map(|file| load(file)).collect::<Outcome<Vec<_>>>()?;
    names_differ(&pipelines)?;
    if args.plan {
        let dir = state_dir(args.state_dir.as_deref(), &pipelines)?;
        return plan::show(dir.as_deref(), &pipelines, args.from_checkpoint.as_ref());
    }
    services::block_on(serve(args, pipelines))?
}

/// On one log, pipelines of one name would take over each other's epochs and sends.
pub(super) fn names_differ(pipelines: &[LoadedPipeline]) -> Outcome {
    for (index, pipeline) in pipelines.iter().enumerate() {
        let name = &pipeline.program.name;
        let mut earlier = pipelines.iter().take(index);
        if let Some(first) = earlier.find(|earlier| earlier.program.name == *name) {
            return Err(Failure::invalid(format!(
                "{} and {} are both pipeline `{name}`, and would share its state: rename one of the files (a \
                 `pipeline.sql` is named by its folder), or run them as two processes, each with its own --state-dir",
                first.path, pipeline.path
            )));
        }
    }
    Ok(())
}

async fn serve(args: &RunArgs, pipelines: Vec<LoadedPipeline>) -> Outcome {
    let mut interrupts = Interrupts::listen()?;
    let names: Vec<_> = pipelines.iter().map(|p| p.program.name.0.clone()).collect();
    let providers = providers(args, &pipelines)?;
    let place = args.checkpoints.as_deref().map(Place::parse).transpose()?;
    let state = State::open(args, &pipelines)?;
    let checkpoints = state.checkpoints(args, place.as_ref())?;
    let wall: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let collector = collector(args, &pipelines).await?;
    for name in &names {
        console::note(&format!("pipeline {name}  state {}", state.shown));
        if let Some(place) = &place {
            console::note(&format!("pipeline {name}  checkpoints {place}"));
        }
    }
    let starting = Services::start(ServiceOptions {
        pipelines,
        log: state.log.clone(),
        parallelism: args.parallelism.unwrap_or_else(services::cores).max(1),
        clock: Arc::clone(&wall),
        wall,
        providers,
        collector,
        dead_letters: state.dead_letters(),
        checkpoints,
        tidiness: Tidiness::of(&args.log),
        engine_observer: Arc::new(Notes::new(args.refire)),
        mail_observer: Arc::new(postrider_mail::NoObserver),
    });
    let mut services = tokio::select! {
        started = starting => started?,
        // It may wait for a checkpoint store, or replay for long. Whatever was sealed is in the log.
        () = interrupts.next() => {
            console::note("stopped before the start was complete; the next run continues from the log");
            return Ok(());
        }
    };
    let drained = tokio::select! {
        drained = services.drained() => Some(drained),
        () = interrupts.next() => None,
    };
    if drained.is_none() {
        console::note("stopping: finishing what is on its way (Ctrl-C again ends at once)");
    }
    let stopped = tokio::select! {
        stopped = services.stop() => stopped,
        () = interrupts.next() => return Err(Failure::failed("stopped at once; the next run continues from the log")),
    };
    // What happened first is the reason; what the stop met is its consequence.
    let summaries = match drained.unwrap_or(Ok(())).and(stopped) {
        Err(_) if console::reader_left() => return Ok(()),
        outcome => outcome?,
    };
    for (name, summary) in names.iter().zip(&summaries) {
        console::note(&describe(name, summary, state.dead_letters().as_deref()));
    }
    if let Some(dir) = &state.dir {
        super::outbox::print_counts(dir)?;
    }
    Ok(())
}

fn describe(name: &str, summary: &PipelineSummary, dead_letters: Option<&Path>) -> String {
    let mut text = format!(
        "pipeline {name}  {} rows, {} late, {} rejected, {} trigger rows, {} epochs",
        count(summary.rows),
        count(summary.late_rows),
        count(summary.rejects),
        count(summary.trigger_rows),
        count(summary.epochs),
    );
    if summary.rejects > 0 {
        let records = counted(summary.rejects, "bad record");
        text.push_str(&match dead_letters {
            Some(dir) => {
                let file = dead_letter_path(dir, &PipelineName(name.to_owned()));
                format!("\n  {records} and why: {}", file.display())
            }
            None => {
                format!("\n  {records} left out; --state-dir keeps them, with the reason for each")
            }
        });
    }
    if summary.drained && summary.rows == 0 && summary.replayed_epochs > 0 {
        text.push_str("\n  nothing new since the last run; to start over, use another --state-dir");
    }
    text
}

/// The log of a run.
struct State {
    log: Log,
    dir: Option<PathBuf>,
    shown: String,
}

impl State {
    /// Its checkpoints; a run that keeps nothing has none.
    fn checkpoints(
        &self,
        args: &RunArgs,
        place: Option<&Place>,
    ) -> Outcome<Option<CheckpointSettings>> {
        let every_ns = i64::from(args.checkpoint_every).saturating_mul(1_000_000_000);
        match (&self.dir, place) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Failure::invalid(
                "--checkpoints needs a log to go with them, and this run would keep its log in memory: give --state-dir DIR \
                 too, or leave --checkpoints out",
            )),
            (Some(dir), place) => {
                let below = Place::Directory(dir.join(CHECKPOINTS));
                let place = place.unwrap_or(&below);
                let mut settings = CheckpointSettings::at(place, every_ns)?;
                if let Some(seconds) = args.log.keep_seconds {
                    settings.retention.age_ns = i64::from(seconds).saturating_mul(1_000_000_000);
                }
                Ok(Some(CheckpointSettings {
                    restore: args.from_checkpoint.clone(),
                    accept_gap: args.accept_gap,
                    refire: args.refire,
                    ..settings
                }))
            }
        }
    }

    fn dead_letters(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join("dead_letters"))
    }

    fn open(args: &RunArgs, pipelines: &[LoadedPipeline]) -> Outcome<Self> {
        let dir = state_dir(args.state_dir.as_deref(), pipelines)?;
        let Some(dir) = dir else {
            let shown = "in memory (nothing acts on the world; give --state-dir to keep it)";
            return Ok(Self { log: Log::in_memory(), dir: None, shown: shown.to_owned() });
        };
        let mut options = services::log_options(&dir);
        options.lease = args.lease_ms.map_or(options.lease, Duration::from_millis);
        options.segment_bytes = args.log.log_segment_bytes.unwrap_or(options.segment_bytes);
        let opened = Log::open(options)?;
        if let Some(stopped) = opened.taken_from {
            console::note(&format!(
                "took over the log from {stopped}, which gave no sign of life: it can append nothing any more, and ends \
                 when it is resumed; sends that it left open are in doubt"
            ));
        }
        if let Some(cut) = opened.truncated {
            console::note(&format!(
                "the last write to the log is not intact, {} bytes were cut off: it was never finished or confirmed, unless the disk damaged it later",
                cut.bytes
            ));
        }
        Ok(Self { log: opened.log, shown: dir.display().to_string(), dir: Some(dir) })
    }
}

/// Where these pipelines keep their state, if they keep any.
pub(super) fn state_dir(
    given: Option<&Path>,
    pipelines: &[LoadedPipeline],
) -> Outcome<Option<PathBuf>> {
    given.map_or_else(|| default_dir(pipelines), |dir| Ok(Some(dir.to_owned())))
}

/// Pipelines that mail or take pushed events keep their state; others may forget it. Several that share a log
/// have no default: one that followed their names would start anew, and mail anew, once another joins them.
fn default_dir(pipelines: &[LoadedPipeline]) -> Outcome<Option<PathBuf>> {
    let keeps = |pipeline: &LoadedPipeline| !pipeline.emails.is_empty() || collects(pipeline);
    if !pipelines.iter().any(keeps) {
        return Ok(None);
    }
    let [only] = pipelines else {
        return Err(Failure::invalid(
            "several pipelines share one state: say where it is kept, and give the same directory in every run, \
             such as\n  --state-dir .postrider/shop",
        ));
    };
    Ok(Some(Path::new(".postrider").join(&only.program.name.0)))
}

fn collects(pipeline: &LoadedPipeline) -> bool {
    pipeline.program.tables.values().any(|table| table.connector == COLLECTOR)
}

async fn collector(
    args: &RunArgs,
    pipelines: &[LoadedPipeline],
) -> Outcome<Option<CollectorSetup>> {
    if !pipelines.iter().any(collects) {
        return Ok(None);
    }
    let keys = args.write_keys.iter().map(|key| write_key(key)).collect::<Outcome<Vec<_>>>()?;
    if keys.is_empty() {
        return Err(Failure::invalid(
            "a pipeline reads pushed events, but nobody could post any: give a key, such as\n  \
             --write-key server:sk_live_1   (or set POSTRIDER_WRITE_KEYS)",
        ));
    }
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::failed(format!(
            "can't listen on {}: {error}; choose another --listen",
            args.listen
        ))
    })?;
    console::note(&format!("collector http://{}", listener.local_addr()?));
    Ok(Some(CollectorSetup { listener, keys }))
}

/// `ROLE:KEY[@STREAM]`.
fn write_key(text: &str) -> Outcome<WriteKey> {
    let wrong = || {
        Failure::invalid(
            "a --write-key is `server:KEY` or `browser:KEY`, with `@STREAM` behind it if the stream is \
             not `default`",
        )
    };
    let (role, rest) = text.split_once(':').ok_or_else(wrong)?;
    let role = match role {
        "server" => KeyRole::Server,
        "browser" => KeyRole::Browser,
        _ => return Err(wrong()),
    };
    let (secret, stream) = rest.rsplit_once('@').unwrap_or((rest, WriteKey::DEFAULT_STREAM));
    if secret.is_empty() || stream.is_empty() {
        return Err(wrong());
    }
    Ok(WriteKey { role, secret: secret.to_owned(), stream: stream.to_owned() })
}

fn providers(
    args: &RunArgs,
    pipelines: &[LoadedPipeline],
) -> Outcome<HashMap<String, Arc<dyn Provider>>> {
    const DEFAULT: &str = "default";
    let mut providers: HashMap<String, Arc<dyn Provider>> = HashMap::new();
    if let Some(url) = &args.smtp {
        let options = SmtpOptions::from_url(url)?;
        providers.insert(DEFAULT.to_owned(), Arc::new(SmtpProvider::new(DEFAULT, options)));
    } else if let Some(dir) = &args.mail_dir {
        providers.insert(DEFAULT.to_owned(), Arc::new(FileProvider::new(DEFAULT, dir)?));
    }
    let mut wanted = pipelines.iter().flat_map(|pipeline| pipeline.emails.values());
    if let Some(sink) = wanted.find(|sink| !providers.contains_key(sink.provider())) {
        let name = sink.provider();
        let text = if name == DEFAULT {
            "a pipeline sends email, but there is no provider: give --smtp smtp://host:port, or \
             --mail-dir DIR to write the mails as files"
                .to_owned()
        } else {
            format!(
                "an email sink names provider '{name}', but only '{DEFAULT}' can be set up: leave the option out"
            )
        };
        return Err(Failure::invalid(text));
    }
    Ok(providers)
}

#[cfg(test)]
mod tests {
    use postrider_store::KeyRole;

    use super::write_key;

    #[test]
    fn write_keys_have_a_role_and_perhaps_a_stream() {
        let key = write_key("server:sk_1").unwrap();
        assert_eq!(
            (key.role, key.secret.as_str(), key.stream.as_str()),
            (KeyRole::Server, "sk_1", "default")
        );
        let key = write_key("browser:pk:2@web").unwrap();
        assert_eq!(
            (key.role, key.secret.as_str(), key.stream.as_str()),
            (KeyRole::Browser, "pk:2", "web")
        );
        for wrong in ["sk_1", "root:sk_1", "server:", "server:@web", "server:sk@"] {
            assert!(write_key(wrong).is_err(), "{wrong}");
        }
    }
}
