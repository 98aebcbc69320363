//! Rows as tables, JSON lines or CSV.

use arrow::{array::RecordBatch, datatypes::SchemaRef, util::pretty::pretty_format_batches};
use arrow_json::LineDelimitedWriter;

use crate::{
    args::Format,
    console,
    outcome::{Failure, Outcome},
};

/// Prints rows to standard output.
pub(crate) fn print(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Outcome {
    let failed = |error: arrow::error::ArrowError| Failure::failed(error.to_string());
    match format {
        Format::Table => {
            let empty = [RecordBatch::new_empty(schema.clone())];
            let batches = if batches.is_empty() { &empty } else { batches };
            console::line(pretty_format_batches(batches).map_err(failed)?.to_string());
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            console::note(&format!("{rows} {}", if rows == 1 { "row" } else { "rows" }));
        }
        Format::Json => {
            let mut bytes = Vec::new();
            let mut writer = LineDelimitedWriter::new(&mut bytes);
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
    let options = arrow::util::display::FormatOptions::default();
    let names = schema.fields().iter().map(|field| quoted(field.name()));
    let mut text = names.collect::<Vec<_>>().join(",");
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column, &options))
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
