//! Which crate opens which table.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use postrider_connect::{DeadLetterSink, JsonDecoder, JsonOptions, SinkSpec, SourceSpec};
use postrider_core::{
    Clock, DataSink, Diagnostic, Diagnostics, PipelineName, Reject, SinkError, SinkPosition,
    TableOptions,
};
use postrider_engine::{Connectors, JournalSource, SourceParts};
use postrider_plan::{Program, Query, SinkTarget, Table};
use postrider_store::Log;

use crate::console;

/// The connector whose rows are pushed over HTTP and read from the log.
pub(crate) const COLLECTOR: &str = "collector";

/// Opens the tables of a pipeline.
pub(crate) struct Wiring {
    pub(crate) log: Log,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where the pipeline's relative paths start.
    pub(crate) dir: PathBuf,
    /// Where dead letters go; `None` keeps them nowhere but in the counts.
    pub(crate) dead_letters: Option<PathBuf>,
}

/// The options of a collector table.
pub(crate) struct CollectorOptions {
    pub(crate) stream: String,
    pub(crate) browser_events: bool,
}

impl CollectorOptions {
    pub(crate) fn read(mut options: TableOptions) -> Result<Self, Vec<Diagnostic>> {
        let one = |error: Diagnostic| vec![error];
        let stream = options.text("stream").map_err(one)?;
        let accept = options.word("accept", &["server", "any"]).map_err(one)?;
        options.finish()?;
        let stream = stream.unwrap_or_else(|| "default".to_owned());
        Ok(Self { stream, browser_events: accept == "any" })
    }
}

/// Reads a variable of the environment, for `{{ NAME }}` in options.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Checks the connector options of every table that a query uses.
pub(crate) fn check_tables(program: &Program) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for table in program.tables.values() {
        let is_sink = program
            .queries
            .iter()
            .any(|query| matches!(&query.sink, SinkTarget::Table(sink) if sink.name == table.name));
        let options = table.options.clone();
        let found = match table.connector.as_str() {
            COLLECTOR => CollectorOptions::read(options).err(),
            "email" => None,
            connector if is_sink => {
                postrider_connect::check_sink(connector, options, &sink_schema(program, table))
                    .err()
            }
            connector => {
                postrider_connect::check_source(connector, options, &table.physical_schema()).err()
            }
        };
        errors.extend(found.into_iter().flatten());
    }
    errors
}

/// The columns of a sink: its own, or those of the query that fills it.
fn sink_schema(program: &Program, table: &Table) -> SchemaRef {
    let fills =
        |query: &&Query| matches!(&query.sink, SinkTarget::Table(sink) if sink.name == table.name);
    let filled = program.queries.iter().find(fills);
    match filled {
        Some(query) if table.columns.is_empty() => Arc::new(query.plan.schema().as_arrow().clone()),
        _ => table.schema(),
    }
}

impl Connectors for Wiring {
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        self.open(table, schema).map(|(parts, _)| parts)
    }

    fn sink(&self, table: &Table, schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        let spec = self.sink_spec(table.options.clone(), schema);
        postrider_connect::open_sink(&table.connector, spec).map_err(Diagnostics)
    }

    fn print(&self, schema: SchemaRef) -> Box<dyn DataSink> {
        let spec = self.sink_spec(TableOptions::default(), schema);
        postrider_connect::open_sink("stdout", spec).unwrap_or_else(|_| Box::new(Nowhere))
    }

    fn dead_letters(&self, pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(match &self.dead_letters {
            Some(dir) => Box::new(DeadLetterSink::new(dead_letter_path(dir, pipeline))),
            None => Box::new(Nowhere),
        })
    }

    fn dead_letter_rows(&self, table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError> {
        DeadLetterSink::rows(table, rejects)
    }
}

/// Takes rows nowhere.
struct Nowhere;

#[async_trait]
impl DataSink for Nowhere {
    async fn restore(&mut self, _committed: Option<SinkPosition>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&mut self, _rows: &RecordBatch) -> Result<(), SinkError> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        Ok(0)
    }
}

impl Wiring {
    /// Opens a source; also says whether it has an end.
    pub(crate) fn open(
        &self,
        table: &Table,
        schema: SchemaRef,
    ) -> Result<(SourceParts, bool), Diagnostics> {
        let options = table.options.clone();
        if table.connector == COLLECTOR {
            let options = CollectorOptions::read(options).map_err(Diagnostics)?;
            let source = JournalSource::new(&self.log, options.stream, options.browser_events);
            let decoder =
                JsonDecoder::new(schema, JsonOptions { envelope: true }).map_err(Diagnostics)?;
            let parts = SourceParts { source: Box::new(source), decoder: Arc::new(decoder) };
            return Ok((parts, false));
        }
        let spec = SourceSpec {
            options,
            schema,
            base_dir: &self.dir,
            env: &environment,
            clock: Arc::clone(&self.clock),
        };
        let parts = postrider_connect::open_source(&table.connector, spec).map_err(Diagnostics)?;
        Ok((SourceParts { source: parts.source, decoder: parts.decoder }, parts.bounded))
    }

    fn sink_spec(&self, options: TableOptions, schema: SchemaRef) -> SinkSpec<'_> {
        SinkSpec {
            options,
            schema,
            base_dir: &self.dir,
            env: &environment,
            stdout: Arc::new(Mutex::new(console::Rows)),
        }
    }
}

/// The dead-letter file of a pipeline.
pub(crate) fn dead_letter_path(dir: &Path, pipeline: &PipelineName) -> PathBuf {
    dir.join(format!("{pipeline}.dead-letters.ndjson"))
}
