//! The engine's side of the benchmark.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use postrider_connect::DeadLetterSink;
use postrider_core::{Clock, DataSink, Diagnostics, PipelineName, Reject, SinkError, SinkPosition};
use postrider_engine::{
    Connectors, NoObserver, Pipeline, PipelineOptions, SourceParts, SystemClock,
};
use postrider_plan::Table;
use postrider_store::Log;

use super::{Answer, counted, input::BenchInput, queries::BenchQuery};
use crate::{outcome::Outcome, services, wiring::Wiring};

/// How it ran.
pub(super) const SETTINGS: &str = "log on disk, an fsync for each epoch, watermark 5 seconds behind, \
     file to a counting blackhole; parallelism = shards = runtime threads";

/// Runs the query from the file to a sink that counts.
pub(super) async fn run(
    query: BenchQuery,
    input: BenchInput,
    path: &Path,
    threads: usize,
) -> Outcome<Answer> {
    let dir = tempfile::tempdir()?;
    let sql = format!(
        "CREATE TABLE events (
           event_id TEXT, ts TIMESTAMP NOT NULL, customer_id TEXT NOT NULL, event_type TEXT,
           amount DOUBLE, product_id TEXT, url TEXT, user_agent TEXT, context TEXT,
           WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
         ) WITH (connector = 'single_file', path = '{}', format = '{}');
         CREATE TABLE results WITH (connector = 'blackhole');
         INSERT INTO results {};",
        path.display().to_string().replace('\'', "''"),
        input.format(),
        query.streaming(),
    );
    let program = postrider_sql::plan_program(&sql, PipelineName("bench".to_owned()))?;
    let log = Log::open(services::log_options(dir.path()))?.log;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let counts = Counts::default();
    let inner = Wiring {
        log: log.clone(),
        clock: Arc::clone(&clock),
        dir: dir.path().to_owned(),
        dead_letters: None,
    };
    let pipeline = Pipeline::start(PipelineOptions {
        program: Arc::new(program),
        parallelism: threads,
        log: log.clone(),
        clock: Arc::clone(&clock),
        wall: clock,
        connectors: Arc::new(Counting { inner, counts: counts.clone() }),
        observer: Arc::new(NoObserver),
        checkpoints: None,
    })
    .await?;
    pipeline.join().await?;
    log.close().await;
    Ok(Answer { rows: counts.0.load(Ordering::Relaxed), events: counts.1.load(Ordering::Relaxed) })
}

/// Rows, and the sum of their column `n`.
#[derive(Clone, Default)]
struct Counts(Arc<AtomicU64>, Arc<AtomicU64>);

/// A blackhole that counts, so that the two sides can be compared.
#[async_trait]
impl DataSink for Counts {
    async fn restore(&mut self, _committed: Option<SinkPosition>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.0.fetch_add(rows.num_rows() as u64, Ordering::Relaxed);
        self.1.fetch_add(counted(rows), Ordering::Relaxed);
        Ok(())
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        Ok(0)
    }
}

struct Counting {
    inner: Wiring,
    counts: Counts,
}

impl Connectors for Counting {
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        self.inner.source(table, schema)
    }

    fn sink(&self, _table: &Table, _schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(self.counts.clone()))
    }

    fn print(&self, _schema: SchemaRef) -> Box<dyn DataSink> {
        Box::new(self.counts.clone())
    }

    fn dead_letters(&self, pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics> {
        self.inner.dead_letters(pipeline)
    }

    fn dead_letter_rows(&self, table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError> {
        DeadLetterSink::rows(table, rejects)
    }
}
