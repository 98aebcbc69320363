//! Rows as tables, JSON lines or CSV.

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    util::{
        display::{ArrayFormatter, FormatOptions},
        pretty::pretty_format_batches_with_options,
    },
};
use arrow_json::{WriterBuilder, writer::LineDelimited};

use crate::{
    args::Format,
    console,
    outcome::{Failure, Outcome},
};

/// Times are UTC everywhere, and say so as the rows of data sinks do (RFC 3339).
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

const fn options() -> FormatOptions<'static> {
    FormatOptions::new().with_timestamp_format(Some(TIMESTAMP))
}

/// Prints rows to standard output.
pub(crate) fn print(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Outcome {
    let failed = |error: arrow::error::ArrowError| Failure::failed(error.to_string());
    match format {
        Format::Table => {
            let empty = [RecordBatch::new_empty(schema.clone())];
            let batches = if batches.is_empty() { &empty } else { batches };
            let table = pretty_format_batches_with_options(batches, &options()).map_err(failed)?;
            console::line(table.to_string());
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            console::note(&console::counted(rows as u64, "row"));
        }
        Format::Json => {
            let mut bytes = Vec::new();
            let builder = WriterBuilder::new().with_timestamp_format(TIMESTAMP.to_owned());
            let mut writer = builder.build::<_, LineDelimited>(&mut bytes);
            writer.write_batches(&batches.iter().collect::<Vec<_>>()).map_err(failed)?;
            writer.finish().map_err(failed)?;
            print_bytes(&bytes);
        }
        Format::Csv => print_bytes(csv(schema, batches)?.as_bytes()),
    }
    Ok(())
}

fn print_bytes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if !text.is_empty() {
        console::line(text.trim_end_matches('\n'));
    }
}

fn csv(schema: &SchemaRef, batches: &[RecordBatch]) -> Outcome<String> {
    let failed = |error: arrow::error::ArrowError| Failure::failed(error.to_string());
    let options = options();
    let names = schema.fields().iter().map(|field| quoted(field.name()));
    let mut text = names.collect::<Vec<_>>().join(",");
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| quoted(&column.value(row).to_string()));
            text.push('\n');
            text.push_str(&cells.collect::<Vec<_>>().join(","));
        }
    }
    Ok(text)
}

/// A CSV field as RFC 4180 quotes it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
