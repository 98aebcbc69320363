//! Which crate opens which table.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{common::tree_node::TreeNode, logical_expr::LogicalPlan};
use postrider_connect::{
    DeadLetterSink, DebeziumDecoder, JsonDecoder, JsonOptions, SinkSpec, SourceSpec,
    UnstructuredDecoder,
};
use postrider_core::{
    Clock, DataSink, Decoder, Diagnostic, Diagnostics, Format, JsonForm, PipelineName, Reject,
    SinkError, SinkPosition, TableOptions,
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

/// Checks the connector options of every table.
pub(crate) fn check_tables(program: &Program) -> Vec<Diagnostic> {
    let tables = program.tables.values();
    tables.flat_map(|table| placed(table, check_table(program, table))).collect()
}

/// Findings about a table, of which those without a place get its name's, or its column's: connectors know
/// columns, but not where they are written.
fn placed(table: &Table, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let range = |message: &str| {
        let name = message.strip_prefix("column `").and_then(|rest| rest.split('`').next());
        let column = table.columns.iter().find(|column| Some(column.name.as_str()) == name);
        column.map_or_else(|| table.range.clone(), |column| column.range.clone())
    };
    let place = |finding: Diagnostic| match finding.span {
        Some(_) => finding,
        None => {
            let range = range(&finding.message);
            finding.at(range)
        }
    };
    found.into_iter().map(place).collect()
}

/// Whether a query reads a table.
fn reads(query: &Query, table: &Table) -> bool {
    let is_scan = |node: &LogicalPlan| matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == table.name);
    query.plan.exists(|node| Ok(is_scan(node))).unwrap_or(false)
}

fn check_table(program: &Program, table: &Table) -> Vec<Diagnostic> {
    let fills =
        |query: &&Query| matches!(&query.sink, SinkTarget::Table(sink) if sink.name == table.name);
    let filled = program.queries.iter().find(fills);
    let is_read = program.queries.iter().any(|query| reads(query, table));
    let options = table.options.clone();
    let form = (table.common.format, table.common.json);
    let info = postrider_connect::connectors().iter().find(|info| info.name == table.connector);
    match (table.connector.as_str(), info) {
        (name, None) => {
            vec![postrider_connect::unknown_connector(name, Some(connector_range(program, table)))]
        }
        (COLLECTOR, _) if filled.is_some() => vec![not_written(table)],
        (COLLECTOR, _) if table.temporary => vec![no_end(table)],
        (COLLECTOR | "email", _) if table.common.format != Format::Json => {
            vec![postrider_connect::no_such_format(
                "read",
                &table.connector,
                table.common.format,
                &options,
            )]
        }
        (COLLECTOR, _) => {
            let mut found = CollectorOptions::read(options).err().unwrap_or_default();
            let columns = |held: &SchemaRef| open_json(table, Arc::clone(held)).map(drop);
            let (format, schema) = (table.common.format, table.physical_schema());
            let checked = postrider_connect::check_metadata(COLLECTOR, format, &schema, columns);
            found.extend(checked.err().unwrap_or_default());
            found
        }
        ("email", _) => Vec::new(),
        // What no query uses is a sink if it can't be anything else.
        (name, Some(info)) if filled.is_some() || !info.source && !is_read => {
            let schema = sink_schema(filled, table);
            postrider_connect::check_sink(name, form, options, &schema).err().unwrap_or_default()
        }
        (name, _) => {
            let schema = table.physical_schema();
            postrider_connect::check_source(name, form, options, &schema).err().unwrap_or_default()
        }
    }
}

/// Where the connector of a table is written.
fn connector_range(program: &Program, table: &Table) -> Range<usize> {
    let literal = format!("'{}'", table.connector);
    let declared = table.range.end;
    let found = program.sql.get(declared..).and_then(|text| text.find(&literal));
    found.map_or_else(|| table.range.clone(), |at| declared + at..declared + at + literal.len())
}

fn not_written(table: &Table) -> Diagnostic {
    let able = postrider_connect::connectors().iter().filter(|info| info.sink);
    let able: Vec<_> = able.map(|info| info.name).collect();
    let message = format!("table `{}`: a `{COLLECTOR}` table can't be written", table.name);
    Diagnostic::error("PR0304", message).at(table.range.clone()).hint(format!(
        "its rows are posted to it; connectors that can be written: {}",
        able.join(", ")
    ))
}

/// A table is looked up once it was read to its end, and this one has none.
fn no_end(table: &Table) -> Diagnostic {
    let (name, connector) = (&table.name, &table.connector);
    let message =
        format!("`{name}` is TEMPORARY, so it is read to its end, but `{connector}` here has none");
    Diagnostic::error("PR0436", message).at(table.range.clone()).hint(
        "read a file; or remove TEMPORARY, declare WATERMARK FOR, and look up a version: FOR SYSTEM_TIME AS OF o.ts",
    )
}

/// The columns of a sink: its own, or those of the query that fills it.
fn sink_schema(filled: Option<&Query>, table: &Table) -> SchemaRef {
    match filled {
        Some(query) if table.columns.is_empty() => Arc::new(query.plan.schema().as_arrow().clone()),
        _ => table.schema(),
    }
}

impl Connectors for Wiring {
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        let (parts, bounded) = self.open(table, schema)?;
        if table.temporary && !bounded {
            return Err(no_end(table).into());
        }
        Ok(parts)
    }

    fn sink(&self, table: &Table, schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        let form = (table.common.format, table.common.json);
        let spec = self.sink_spec(form, table.options.clone(), schema);
        postrider_connect::open_sink(&table.connector, spec)
            .map_err(|found| Diagnostics(placed(table, found)))
    }

    fn print(&self, schema: SchemaRef) -> Box<dyn DataSink> {
        let spec =
            self.sink_spec((Format::Json, JsonForm::default()), TableOptions::default(), schema);
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

/// What decodes the JSON of events.
fn open_json(table: &Table, schema: SchemaRef) -> Result<Arc<dyn Decoder>, Vec<Diagnostic>> {
    if table.common.format == Format::DebeziumJson {
        return Ok(Arc::new(DebeziumDecoder::new(&schema)?));
    }
    if table.common.json.unstructured {
        return Ok(Arc::new(UnstructuredDecoder::new(schema)?));
    }
    let envelope = table.connector == COLLECTOR;
    Ok(Arc::new(JsonDecoder::new(schema, JsonOptions { envelope })?))
}

/// Decodes pushed events into the columns of a table. `files` names the files that they are said to come from.
pub(crate) fn event_decoder(
    table: &Table,
    schema: &SchemaRef,
    files: HashMap<String, String>,
) -> Result<Arc<dyn Decoder>, Diagnostics> {
    let open = |held| open_json(table, held);
    postrider_connect::with_metadata(&table.connector, table.common.format, schema, files, open)
        .map_err(|found| Diagnostics(placed(table, found)))
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
            let decoder = event_decoder(table, &schema, HashMap::new())?;
            return Ok((SourceParts { source: Box::new(source), decoder }, false));
        }
        let spec = SourceSpec {
            options,
            format: table.common.format,
            json: table.common.json,
            schema,
            base_dir: &self.dir,
            env: &environment,
            clock: Arc::clone(&self.clock),
        };
        let parts = postrider_connect::open_source(&table.connector, spec)
            .map_err(|found| Diagnostics(placed(table, found)))?;
        Ok((SourceParts { source: parts.source, decoder: parts.decoder }, parts.bounded))
    }

    fn sink_spec(
        &self,
        (format, json): (Format, JsonForm),
        options: TableOptions,
        schema: SchemaRef,
    ) -> SinkSpec<'_> {
        SinkSpec {
            options,
            format,
            json,
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
