//! Tables in memory, and a pipeline run over them to its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::{AsArray, RecordBatch, RecordBatchOptions},
    datatypes::{Int8Type, Schema, SchemaRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use postrider_core::{
    Chunk, ChunkData, Clock, ClockTime, DataSink, Decoded, Decoder, Diagnostics, PipelineName,
    Polled, Position, Reject, SinkError, SinkPosition, Sleep, Source, SourceError, changes,
};
use postrider_engine::{
    Connectors, ManualClock, NoObserver, Pipeline, PipelineOptions, PipelineSummary, SourceParts,
};
use postrider_plan::{Program, Table};
use postrider_store::Log;
use proptest::test_runner::Config as ProptestConfig;

/// The rows of every source table, and how many rows a chunk of it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) sources: BTreeMap<String, RecordBatch>,
    pub(crate) chunk_rows: u64,
    /// A fault of Postrider's own in the middle of a task.
    pub(crate) decoder_panics: bool,
    /// By how much the clock moves each time it is read; it starts at 1970 in each life.
    pub(crate) clock_step_ns: i64,
}

/// A clock that moves when it is read.
#[derive(Debug)]
struct SteppingClock {
    at: AtomicI64,
    step_ns: i64,
}

impl Clock for SteppingClock {
    fn now(&self) -> ClockTime {
        ClockTime(self.at.fetch_add(self.step_ns, Ordering::Relaxed))
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        self.at.fetch_max(time.0, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

/// What the sinks took, by table.
pub(crate) type Written = Arc<Mutex<BTreeMap<String, Vec<RecordBatch>>>>;

pub(crate) fn plan(sql: &str) -> Program {
    postrider_sql::plan_program(sql, PipelineName("test".to_owned()))
        .unwrap_or_else(|errors| panic!("{errors}"))
}

/// Options for a pipeline over in-memory tables.
pub(crate) fn options(
    program: Program,
    tables: Tables,
    parallelism: usize,
    log: &Log,
) -> (PipelineOptions, Written) {
    let written = Written::default();
    (options_into(program, tables, parallelism, log, &written), written)
}

/// The same, with sinks that go on behind what others wrote.
pub(crate) fn options_into(
    program: Program,
    tables: Tables,
    parallelism: usize,
    log: &Log,
    written: &Written,
) -> PipelineOptions {
    let clock: Arc<dyn Clock> = match tables.clock_step_ns {
        0 => Arc::new(ManualClock::new(ClockTime(0))),
        step_ns => Arc::new(SteppingClock { at: AtomicI64::new(0), step_ns }),
    };
    PipelineOptions {
        program: Arc::new(program),
        parallelism,
        log: log.clone(),
        clock: Arc::clone(&clock),
        wall: clock,
        connectors: Arc::new(InMemory { tables, written: Arc::clone(written) }),
        observer: Arc::new(NoObserver),
        checkpoints: None,
    }
}

/// Runs a program over tables to the end; the rows of its sinks as sorted texts.
pub(crate) fn run(
    sql: &str,
    tables: Tables,
    parallelism: usize,
) -> (PipelineSummary, BTreeMap<String, Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let (options, written) = options(plan(sql), tables, parallelism, &Log::in_memory());
        let pipeline = Pipeline::start(options).await.unwrap();
        let summary = pipeline.join().await.unwrap();
        let written = written.lock().unwrap();
        let texts = written.iter().map(|(name, batches)| (name.clone(), texts(batches))).collect();
        (summary, texts)
    })
}

/// Rows as sorted texts, so that two multisets can be compared.
pub(crate) fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            rows.push(cells.join(" | "));
        }
    }
    rows.sort();
    rows
}

struct InMemory {
    tables: Tables,
    written: Written,
}

impl Connectors for InMemory {
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        let all = &self.tables.sources[&table.name];
        // The kinds of changes are the last column of the rows.
        let kinds = table.holds_changes().then(|| all.num_columns() - 1);
        let columns = schema.fields().iter().map(|f| all.schema().index_of(f.name()).unwrap());
        let rows = all.project(&columns.chain(kinds).collect::<Vec<_>>()).unwrap();
        let fields = schema.fields().iter().map(|field| field.as_ref().clone());
        let fields: Vec<_> = fields.chain(kinds.map(|_| changes::field())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options);
        let rows = rows.unwrap();
        Ok(SourceParts {
            source: Box::new(Rows {
                end: rows.num_rows() as u64,
                at: 0,
                chunk_rows: self.tables.chunk_rows,
            }),
            decoder: Arc::new(RowDecoder {
                rows,
                kinds: kinds.is_some(),
                panics: self.tables.decoder_panics,
            }),
        })
    }

    fn sink(&self, table: &Table, _schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(Sink { name: table.name.clone(), written: Arc::clone(&self.written) }))
    }

    fn print(&self, _schema: SchemaRef) -> Box<dyn DataSink> {
        Box::new(Sink { name: "stdout".to_owned(), written: Arc::clone(&self.written) })
    }

    fn dead_letters(&self, _pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(Sink { name: "dead letters".to_owned(), written: Arc::clone(&self.written) }))
    }

    fn dead_letter_rows(&self, _table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError> {
        let reasons = rejects.iter().map(|reject| Some(reject.reason));
        let column = Arc::new(reasons.collect::<arrow::array::StringArray>()) as _;
        Ok(RecordBatch::try_from_iter([("reason", column)]).unwrap())
    }
}

/// A bounded source of numbered rows; a chunk ends at a multiple of its size.
struct Rows {
    end: u64,
    at: u64,
    chunk_rows: u64,
}

#[async_trait]
impl Source for Rows {
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        self.at = position.map_or(0, |position| position.offset);
        Ok(())
    }

    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError> {
        let limit = until.map_or(self.end, |until| until.offset.min(self.end));
        if self.at >= limit {
            return Ok(if self.at >= self.end { Polled::Ended } else { Polled::Empty });
        }
        let next = (self.at / self.chunk_rows + 1) * self.chunk_rows;
        let (start, end) = (self.at, next.min(limit));
        self.at = end;
        let (start, end) = (Position::at(start), Position::at(end));
        Ok(Polled::Chunk(Chunk { start, end, data: ChunkData::Numbers }))
    }

    async fn ready(&mut self) {}
}

#[derive(Debug)]
struct RowDecoder {
    rows: RecordBatch,
    /// Whether the last column holds the kinds of changes.
    kinds: bool,
    panics: bool,
}

impl RowDecoder {
    /// Where a chunk ends that must not tear an update apart.
    fn whole(&self, at: usize) -> usize {
        let Some(kinds) = self.rows.columns().last().filter(|_| self.kinds) else { return at };
        let kinds = kinds.as_primitive::<Int8Type>();
        let is_torn = at < kinds.len() && kinds.value(at) == changes::UPDATE_AFTER;
        if is_torn { at + 1 } else { at }
    }
}

impl Decoder for RowDecoder {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let (start, end) = (chunk.start.offset as usize, chunk.end.offset as usize);
        let (start, end) = (self.whole(start), self.whole(end));
        assert!(!self.panics, "a fault");
        let rows = self.rows.slice(start, end - start);
        Ok(Decoded { rows, received_at: None, rejects: Vec::new() })
    }
}

struct Sink {
    name: String,
    written: Written,
}

#[async_trait]
impl DataSink for Sink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        let mut written = self.written.lock().unwrap();
        let mut left = committed.unwrap_or(0) as usize;
        written.entry(self.name.clone()).or_default().retain_mut(|batch| {
            *batch = batch.slice(0, left.min(batch.num_rows()));
            left -= batch.num_rows();
            batch.num_rows() > 0
        });
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        let mut written = self.written.lock().unwrap();
        written.entry(self.name.clone()).or_default().push(rows.clone());
        Ok(())
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        let written = self.written.lock().unwrap();
        let batches = written.get(&self.name);
        Ok(batches.map_or(0, |batches| batches.iter().map(|b| b.num_rows() as u64).sum()))
    }
}

/// As many cases as `POSTRIDER_CASES` says, or `default`.
pub(crate) fn cases_of(default: u32) -> ProptestConfig {
    let cases = std::env::var("POSTRIDER_CASES").ok().map(|cases| cases.parse().unwrap());
    ProptestConfig { cases: cases.unwrap_or(default), ..ProptestConfig::default() }
}
