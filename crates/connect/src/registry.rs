//! Every connector in one place.
//!
//! A new connector gets one entry in [`CONNECTORS`] and one line in each `match` that concerns it.

mod faults;

use std::{collections::HashMap, fmt, ops::Range, path::Path, sync::Arc};

use arrow_schema::SchemaRef;
use postrider_core::{
    Clock, DataSink, Decoder, Diagnostic, Format, JsonForm, Source, TableOptions, suggest,
    type_name,
};

pub(crate) use self::faults::Faults;
use crate::{
    format::{
        files as formats,
        json::holds,
        metadata::{check_metadata, with_metadata},
        written::RecordEncoder,
    },
    sink::{
        SharedWriter, blackhole,
        debezium::{DebeziumSink, envelope},
        folder, single_file, stdout,
    },
    source::{files, generator},
};

/// A connector, and what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorInfo {
    /// The word in `connector = '..'`.
    pub name: &'static str,
    /// Whether tables with it can be read.
    pub source: bool,
    /// Whether tables with it can be written.
    pub sink: bool,
}

const fn info(name: &'static str, (source, sink): (bool, bool)) -> ConnectorInfo {
    ConnectorInfo { name, source, sink }
}

/// `collector` and `email` are listed for users, but opened by the engine and the mail half.
const CONNECTORS: [ConnectorInfo; 7] = [
    info("collector", (true, false)),
    info("single_file", (true, true)),
    info("filesystem", (true, true)),
    info("generator", (true, false)),
    info("stdout", (false, true)),
    info("blackhole", (false, true)),
    info("email", (false, true)),
];

/// Every connector.
pub fn connectors() -> &'static [ConnectorInfo] {
    &CONNECTORS
}

/// What a source is opened with.
pub struct SourceSpec<'a> {
    /// The options that are left to the connector.
    pub options: TableOptions,
    /// How its records are written.
    pub format: Format,
    /// And how, if they are JSON.
    pub json: JsonForm,
    /// The columns to decode.
    pub schema: SchemaRef,
    /// Where relative paths start.
    pub base_dir: &'a Path,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The clock of sources that pace themselves.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for SourceSpec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceSpec").field("options", &self.options).finish_non_exhaustive()
    }
}

/// An opened source.
pub struct SourceParts {
    /// Reads chunks, in order.
    pub source: Box<dyn Source>,
    /// Turns them into rows, on any thread.
    pub decoder: Arc<dyn Decoder>,
    /// Whether it ends.
    pub bounded: bool,
}

impl fmt::Debug for SourceParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceParts")
            .field("decoder", &self.decoder)
            .field("bounded", &self.bounded)
            .finish_non_exhaustive()
    }
}

/// What a sink is opened with.
pub struct SinkSpec<'a> {
    /// The options that are left to the connector.
    pub options: TableOptions,
    /// How they are written.
    pub format: Format,
    /// And how, if they are JSON.
    pub json: JsonForm,
    /// The columns that will be written; for `debezium_json` the first is the kind of each row.
    pub schema: SchemaRef,
    /// Where relative paths start.
    pub base_dir: &'a Path,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The terminal.
    pub stdout: SharedWriter,
}

impl fmt::Debug for SinkSpec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkSpec").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Opens a source.
///
/// # Errors
/// An option, a column type or a file that the connector can't work with, or no such source.
pub fn open_source(connector: &str, spec: SourceSpec<'_>) -> Result<SourceParts, Vec<Diagnostic>> {
    match connector {
        "single_file" => files::open_single(spec),
        "filesystem" => files::open_folder(spec),
        "generator" => open_generator(spec),
        _ => Err(vec![no_such("read", connector, &spec.options)]),
    }
}

fn open_generator(spec: SourceSpec<'_>) -> Result<SourceParts, Vec<Diagnostic>> {
    let (format, schema) = (spec.format, Arc::clone(&spec.schema));
    let mut source = None;
    let open = |held| {
        let parts = generator::open(SourceSpec { schema: held, ..spec })?;
        source = Some((parts.source, parts.bounded));
        Ok(parts.decoder)
    };
    let decoder = with_metadata("generator", format, &schema, HashMap::new(), open)?;
    source.map(|(source, bounded)| SourceParts { source, decoder, bounded }).ok_or_else(Vec::new)
}

/// Checks what [`open_source`] would, without touching files or the environment.
///
/// # Errors
/// As [`open_source`].
pub fn check_source(
    connector: &str,
    (format, json): (Format, JsonForm),
    options: TableOptions,
    schema: &SchemaRef,
) -> Result<(), Vec<Diagnostic>> {
    let columns =
        || check_metadata(connector, format, schema, |held| formats::check(format, json, held));
    match connector {
        "single_file" => files::SingleFileOptions::take(options).and_then(|_| columns()),
        "filesystem" => files::FolderOptions::take(options).and_then(|_| columns()),
        _ if format != Format::Json => {
            Err(vec![no_such_format("read", connector, format, &options)])
        }
        "generator" => {
            check_metadata(connector, format, schema, |held| generator::check(options, held))
        }
        _ => Err(vec![no_such("read", connector, &options)]),
    }
}

/// Opens a data sink.
///
/// # Errors
/// An option, a column type or a path that the connector can't work with, or no such sink.
pub fn open_sink(
    connector: &str,
    spec: SinkSpec<'_>,
) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    if spec.format == Format::DebeziumJson {
        let schema = envelope(&spec.schema);
        let inner = open_sink(connector, SinkSpec { schema, format: Format::Json, ..spec })?;
        return Ok(Box::new(DebeziumSink { inner }));
    }
    check_written(connector, (spec.format, spec.json), &spec.options, &spec.schema)?;
    match connector {
        "single_file" => single_file::open(spec),
        "filesystem" => folder::open(spec),
        "stdout" => stdout::open(spec),
        "blackhole" => blackhole::open(spec),
        _ => Err(vec![no_such("write", connector, &spec.options)]),
    }
}

/// Checks what [`open_sink`] would, without touching files or the environment.
///
/// # Errors
/// As [`open_sink`].
pub fn check_sink(
    connector: &str,
    form: (Format, JsonForm),
    options: TableOptions,
    schema: &SchemaRef,
) -> Result<(), Vec<Diagnostic>> {
    check_written(connector, form, &options, schema)?;
    match connector {
        "single_file" => single_file::SingleFileOptions::take(options).map(drop),
        "filesystem" => folder::FolderOptions::take(options).map(drop),
        "stdout" => stdout::take_options(options),
        "blackhole" => blackhole::take_options(options),
        _ => Err(vec![no_such("write", connector, &options)]),
    }
}

/// Refuses formats that the connector does not write, and columns that would not be read back as they were written.
fn check_written(
    connector: &str,
    (format, json): (Format, JsonForm),
    options: &TableOptions,
    schema: &SchemaRef,
) -> Result<(), Vec<Diagnostic>> {
    let to_files = matches!(connector, "single_file" | "filesystem");
    if !to_files && !matches!(format, Format::Json | Format::DebeziumJson) {
        return Err(vec![no_such_format("written", connector, format, options)]);
    }
    if json.unstructured {
        let message = "'json.unstructured' is for tables that are read";
        let fault = Diagnostic::error("PR0301", message).at(options.table_range.clone());
        return Err(vec![fault.hint("write a column of JSON as a field: format = 'json'")]);
    }
    if connector == "blackhole" {
        return Ok(());
    }
    if matches!(format, Format::Csv | Format::RawString | Format::Parquet) {
        let placed = |fault: Diagnostic| match format {
            Format::Csv => fault,
            _ => fault.at(options.table_range.clone()),
        };
        return RecordEncoder::new(format, json, schema)
            .map(drop)
            .map_err(|faults| faults.into_iter().map(placed).collect());
    }
    let faults: Vec<Diagnostic> = schema
        .fields()
        .iter()
        .filter(|field| !holds(field.data_type()))
        .map(|field| {
            let what = format!(
                "column `{}` is {}, which JSON can't hold",
                field.name(),
                type_name(field.data_type())
            );
            Diagnostic::error("PR0210", what).hint("cast it in the query, such as CAST(x AS TEXT)")
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The fault of a connector that this crate can't open for `action`.
fn no_such(action: &str, connector: &str, options: &TableOptions) -> Diagnostic {
    let Some(info) = CONNECTORS.iter().find(|info| info.name == connector) else {
        return unknown_connector(connector, Some(options.table_range.clone()));
    };
    let able: Vec<&str> = CONNECTORS
        .iter()
        .filter(|info| if action == "read" { info.source } else { info.sink })
        .map(|info| info.name)
        .collect();
    let what = if action == "read" && info.source || action == "write" && info.sink {
        format!("a `{connector}` table can't be opened here: it needs the running service")
    } else {
        format!("table `{}`: a `{connector}` table can't be {}", options.table, participle(action))
    };
    Diagnostic::error("PR0304", what).at(options.table_range.clone()).hint(format!(
        "connectors that can be {}: {}",
        participle(action),
        able.join(", ")
    ))
}

/// The fault of a format that a connector does not have.
pub fn no_such_format(
    action: &str,
    connector: &str,
    format: Format,
    options: &TableOptions,
) -> Diagnostic {
    let format = format.name();
    let message =
        format!("table `{}`: connector '{connector}' has no format '{format}'", options.table);
    let hint = match action {
        "written" => "leave the option out; 'single_file' and 'filesystem' write other formats",
        _ => "leave the option out; 'single_file' and 'filesystem' read every format",
    };
    Diagnostic::error("PR0301", message).at(options.table_range.clone()).hint(hint)
}

fn participle(action: &str) -> &'static str {
    if action == "read" { "read" } else { "written" }
}

/// The fault of a connector that nobody has heard of, with the one that was probably meant.
pub fn unknown_connector(name: &str, range: Option<Range<usize>>) -> Diagnostic {
    let names = CONNECTORS.iter().map(|info| info.name);
    Diagnostic::error("PR0303", format!("there is no connector '{name}'"))
        .at_option(range)
        .hint(suggest::hint_and_all(name, '\'', "connectors", names))
}

#[cfg(test)]
mod tests;
