//! What file sinks write: records of a format, with what stands in front of the first.

mod csv;

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, cast::AsArray};
use arrow_schema::SchemaRef;
use postrider_core::{Diagnostic, ErrorKind, Format, JsonForm, SinkError};

use self::csv::CsvEncoder;
pub(crate) use self::csv::check as check_csv;
use super::{json::JsonEncoder, raw_string};

/// Turns rows into the bytes of a file.
#[derive(Debug, Clone)]
pub(crate) enum RecordEncoder {
    Json(JsonEncoder),
    Csv(Arc<CsvEncoder>),
    /// The only column, a line a row.
    RawString,
}

impl RecordEncoder {
    /// For rows of these columns.
    ///
    /// # Errors
    /// The format can't be written, or does not hold the columns.
    pub(crate) fn new(
        format: Format,
        json: JsonForm,
        schema: &SchemaRef,
    ) -> Result<Self, Vec<Diagnostic>> {
        match format {
            Format::Json | Format::DebeziumJson => Ok(Self::Json(JsonEncoder::new(json))),
            Format::Csv => {
                check_csv(schema)?;
                Ok(Self::Csv(Arc::new(CsvEncoder::new(schema))))
            }
            Format::RawString => {
                raw_string::check(schema)?;
                Ok(Self::RawString)
            }
            Format::Parquet => Err(vec![not_cut_back()]),
        }
    }

    /// How the names of files end.
    pub(crate) const fn extension(&self) -> &'static str {
        match self {
            Self::Json(_) => "ndjson",
            Self::Csv(_) => "csv",
            Self::RawString => "txt",
        }
    }

    /// Appends what a file begins with.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        if let Self::Csv(csv) = self {
            csv.header(out);
        }
    }

    /// Appends rows.
    pub(crate) fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SinkError> {
        match self {
            Self::Json(json) => json.encode(rows, out),
            Self::Csv(csv) => csv.encode(rows, out).map_err(|error| SinkError {
                kind: ErrorKind::Bug,
                message: format!("can't write these rows as CSV: {error}; please report this"),
            }),
            Self::RawString => {
                for texts in
                    rows.columns().iter().filter_map(|column| column.as_string_opt::<i32>())
                {
                    for row in 0..texts.len() {
                        if texts.is_valid(row) {
                            out.extend_from_slice(texts.value(row).as_bytes());
                        }
                        out.push(b'\n');
                    }
                }
                Ok(())
            }
        }
    }
}

/// The last bytes of a Parquet file say where everything before them is, so a file that grows can't be cut back to what was sealed.
pub(crate) fn not_cut_back() -> Diagnostic {
    Diagnostic::error("PR0301", "format 'parquet' can be read, but not written").hint(
        "write 'csv' or 'json': a Parquet file is whole only once it ends, and a restart could not cut it back",
    )
}
