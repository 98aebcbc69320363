//! What checkpoints cost while much state changes, and how long a restart from it takes: `postrider bench --state`.

mod table;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use postrider_core::{Clock, PipelineName};
use postrider_engine::{
    CheckpointFacts, EngineObserver, Pipeline, PipelineOptions, RecoveryFacts, SealFacts,
    SystemClock,
};
use postrider_store::{CheckpointError, Log};
use serde_json::{Value, json};

use self::table::{Rows, Tables};
use super::rounded;
use crate::{
    args::BenchArgs,
    checkpoints::CheckpointSettings,
    console,
    outcome::{Failure, Outcome},
    services::{block_on, cores, log_options},
};

/// The query, as the report names it: nothing fires, so its state only grows and changes.
const QUERY: &str = "SELECT k, tumble(INTERVAL '30 days'), count(*), sum(x), min(v), max(v), avg(x), sum(v) FROM events GROUP BY 1, 2";

/// As often as `run` takes checkpoints.
const EVERY_NS: i64 = 10_000_000_000;

/// How long a step may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measures, prints JSON.
pub(super) fn run(args: &BenchArgs) -> Outcome {
    let text = block_on(measure(args))??;
    console::line(serde_json::to_string_pretty(&text).unwrap_or_default());
    Ok(())
}

async fn measure(args: &BenchArgs) -> Outcome<Value> {
    let seconds = args.seconds;
    let (plain_dir, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let plain = Side::start(args, plain_dir.path(), i64::MAX, false).await?;
    let without = plain.rate(args, seconds, false).await?;
    plain.end().await;
    drop(plain_dir);
    let side = Side::start(args, dir.path(), EVERY_NS, false).await?;
    let with = side.rate(args, seconds, true).await?;
    let (filling, facts) = side.watch.taken();
    side.rows.stop();
    side.pipeline.settle().await;
    let last = side.pipeline.checkpoint().await.map_err(Failure::failed)?;
    side.end().await;
    let (read_bytes, read_seconds) = read_all(&dir.path().join("checkpoints"))?;
    let restarted = Instant::now();
    let side = Side::start(args, dir.path(), EVERY_NS, true).await?;
    side.pipeline.settle().await;
    let restart_seconds = restarted.elapsed().as_secs_f64();
    side.end().await;
    let took = |facts: &CheckpointFacts| seconds_of(facts.took_ns);
    let paused = |facts: &CheckpointFacts| seconds_of(facts.paused_ns);
    Ok(json!({
        "query": QUERY,
        "keys": args.keys,
        "parallelism": cores(),
        "seconds": seconds,
        "state_rows": last.state_rows,
        "state_bytes_written": last.state_bytes,
        "state_bytes_in_memory": last.memory,
        "events_per_second_without_checkpoints": without.round(),
        "events_per_second_with_checkpoints": with.round(),
        "ratio": rounded(with / without),
        "checkpoints": facts.len(),
        "pause_seconds_while_filling": filling.iter().map(paused).collect::<Vec<_>>(),
        "pause_seconds": facts.iter().map(paused).collect::<Vec<_>>(),
        "checkpoint_seconds": facts.iter().map(took).collect::<Vec<_>>(),
        "checkpoint_bytes": facts.iter().map(|facts| facts.written_bytes).collect::<Vec<_>>(),
        "restart_seconds": rounded(restart_seconds),
        "of_which_reading_the_bytes_takes": rounded(read_seconds),
        "bytes_read": read_bytes,
    }))
}

/// A pipeline under load.
struct Side {
    pipeline: Pipeline,
    rows: Arc<Rows>,
    watch: Arc<Watch>,
    log: Log,
}

impl Side {
    async fn start(args: &BenchArgs, dir: &Path, every_ns: i64, stopped: bool) -> Outcome<Self> {
        let sql = "CREATE TABLE events (k BIGINT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT NOT NULL, x DOUBLE NOT NULL,
               WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (connector = 'generator', rows = 1);
             CREATE TABLE results WITH (connector = 'blackhole');
             INSERT INTO results SELECT k, tumble(INTERVAL '30 days') AS w, count(*) AS n, sum(x) AS a, min(v) AS b,
               max(v) AS c, avg(x) AS d, sum(v) AS e FROM events GROUP BY k, w;";
        let program = postrider_sql::plan_program(sql, PipelineName("bench".to_owned()))?;
        let log = Log::open(log_options(&dir.join("log")))?.log;
        let wall: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = CheckpointSettings::local(dir, every_ns)?;
        let checkpoints = settings.of(&program.name, log.generation(), &wall);
        let (rows, watch) = (Arc::new(Rows::new(args.keys, stopped)), Arc::new(Watch::default()));
        let pipeline = Pipeline::start(PipelineOptions {
            program: Arc::new(program),
            parallelism: cores(),
            log: log.clone(),
            clock: Arc::clone(&wall),
            wall,
            connectors: Arc::new(Tables(Arc::clone(&rows))),
            observer: Arc::<Watch>::clone(&watch),
            checkpoints: Some(checkpoints),
        })
        .await?;
        Ok(Self { pipeline, rows, watch, log })
    }

    /// Events a second, once every key was there, and where wanted a checkpoint of them all.
    async fn rate(&self, args: &BenchArgs, seconds: u32, checkpointed: bool) -> Outcome<f64> {
        console::note(&format!("filling {} keys", console::count(args.keys)));
        self.wait(|watch| watch.rows.load(Ordering::Relaxed) >= args.keys).await?;
        if checkpointed {
            self.pipeline.checkpoint().await.map_err(Failure::failed)?;
        }
        self.watch.filled.store(self.watch.lock().len(), Ordering::Relaxed);
        let (before, started) = (self.watch.rows.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        let (after, took) = (self.watch.rows.load(Ordering::Relaxed), started.elapsed());
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = (after - before) as f64 / took.as_secs_f64();
        console::note(&format!("{} events/s", console::count(rate as u64)));
        Ok(rate)
    }

    async fn wait(&self, done: impl Fn(&Watch) -> bool) -> Outcome {
        let started = Instant::now();
        while !done(&self.watch) {
            if self.pipeline.has_ended() || started.elapsed() > PATIENCE {
                return Err(Failure::failed("the pipeline did not fill its state"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// As a crash would.
    async fn end(self) {
        self.pipeline.shut_down().await;
        self.log.close().await;
    }
}

#[derive(Debug, Default)]
struct Watch {
    rows: AtomicU64,
    checkpoints: Mutex<Vec<CheckpointFacts>>,
    /// How many of them were taken before every key was there.
    filled: AtomicUsize,
}

impl Watch {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<CheckpointFacts>> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen of checkpoints: while the state was filled, and then.
    fn taken(&self) -> (Vec<CheckpointFacts>, Vec<CheckpointFacts>) {
        let mut filling = std::mem::take(&mut *self.lock());
        let facts = filling.split_off(self.filled.load(Ordering::Relaxed).min(filling.len()));
        (filling, facts)
    }
}

impl EngineObserver for Watch {
    fn sealed(&self, facts: &SealFacts<'_>) {
        self.rows.fetch_add(facts.rows, Ordering::Relaxed);
    }

    fn recovered(&self, _pipeline: &str, facts: &RecoveryFacts) {
        console::note(&format!(
            "{} of state restored",
            console::counted(facts.restored.rows, "row")
        ));
    }

    fn checkpointed(&self, _pipeline: &str, facts: &CheckpointFacts) {
        self.lock().push(facts.clone());
    }

    fn checkpoint_failed(&self, _pipeline: &str, error: &CheckpointError) {
        console::error(&error.to_string());
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a benchmark")]
fn seconds_of(nanoseconds: i64) -> f64 {
    rounded(nanoseconds as f64 / 1e9)
}

/// Reads every file below a directory; the bytes, and the seconds it took.
fn read_all(dir: &Path) -> Outcome<(u64, f64)> {
    let (mut bytes, started) = (0, Instant::now());
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                bytes += std::fs::read(path)?.len() as u64;
            }
        }
    }
    Ok((bytes, started.elapsed().as_secs_f64()))
}
