//! The engine's side of the benchmark.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
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

use super::{
    Answer, counted,
    input::BenchInput,
    suite::{Question, Suite},
};
use crate::{outcome::Outcome, services, wiring::Wiring};

/// How it ran.
pub(super) const SETTINGS: &str = "log on disk, an fsync for each epoch, watermark 5 seconds behind, \
     file to a counting blackhole; parallelism = shards = runtime threads";

/// Runs the query from the file to a sink that counts.
pub(super) async fn run(
    suite: &Suite,
    question: &Question,
    input: BenchInput,
    files: &Path,
    threads: usize,
) -> Outcome<Answer> {
    let dir = tempfile::tempdir()?;
    let sql = format!(
        "{} CREATE TABLE results WITH (connector = 'blackhole'); INSERT INTO results {};",
        suite.declarations(input),
        question.streaming,
    );
    let program = postrider_sql::plan_program(&sql, PipelineName("bench".to_owned()))?;
    let log = Log::open(services::log_options(dir.path()))?.log;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let counts = Counts::default();
    let inner = Wiring {
        log: log.clone(),
        clock: Arc::clone(&clock),
        dir: files.to_owned(),
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
    Ok(counts.answer())
}

/// What came out so far.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Answer>>);

impl Counts {
    fn answer(&self) -> Answer {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blackhole that counts, so that the two sides can be compared.
#[async_trait]
impl DataSink for Counts {
    async fn restore(&mut self, _committed: Option<SinkPosition>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += counted(rows);
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
