//! What a format does with the files of a table.
//!
//! A new format gets one arm in each `match` here.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_schema::SchemaRef;
use postrider_core::{Chunk, Decoder, Diagnostic, Format, JsonForm, SourceError};

use super::{
    csv,
    debezium::DebeziumDecoder,
    json::{JsonDecoder, JsonOptions},
    parquet::{self, ParquetFile},
    raw_string,
    unstructured::{self, UnstructuredDecoder},
};
use crate::source::LineFile;

/// A file that is read by ranges of an offset, which counts bytes or rows.
pub(crate) trait PartFile: fmt::Debug + Send {
    /// The start of the first record at or behind `offset`.
    ///
    /// # Errors
    /// The file can't be read, or is shorter than that.
    fn record_start(&mut self, offset: u64) -> Result<u64, SourceError>;

    /// The records from `from` on, up to `until` or the end of the file. `None` if there are none. What it holds depends on
    /// the file, `from` and `until` alone.
    ///
    /// # Errors
    /// The file can't be read.
    fn chunk(&mut self, from: u64, until: Option<u64>) -> Result<Option<Chunk>, SourceError>;
}

/// How the files of a table are cut into chunks.
#[derive(Debug, Clone)]
pub(crate) enum FileFormat {
    /// A record a line.
    Lines,
    /// Rows of these columns.
    Parquet(SchemaRef),
}

impl FileFormat {
    /// For the files of a table, with what decodes their chunks into `schema`.
    pub(crate) fn open(
        (format, json): (Format, JsonForm),
        schema: SchemaRef,
        parts: &[(String, PathBuf)],
    ) -> Result<(Self, Arc<dyn Decoder>), Vec<Diagnostic>> {
        let files = match format {
            Format::Parquet => Self::Parquet(Arc::clone(&schema)),
            _ => Self::Lines,
        };
        let decoder: Arc<dyn Decoder> = match format {
            Format::Json if json.unstructured => Arc::new(UnstructuredDecoder::new(schema)?),
            Format::Json => Arc::new(JsonDecoder::new(schema, JsonOptions::default())?),
            Format::Csv => Arc::new(csv::CsvDecoder::open(schema, parts)?),
            Format::RawString => Arc::new(raw_string::RawStringDecoder::new(schema)),
            Format::Parquet => Arc::new(parquet::RowsDecoder::open(schema, parts)?),
            Format::DebeziumJson => Arc::new(DebeziumDecoder::new(&schema)?),
        };
        Ok((files, decoder))
    }

    /// Opens one of them.
    pub(crate) fn file(&self, path: &Path, part: &str) -> Result<Box<dyn PartFile>, SourceError> {
        Ok(match self {
            Self::Lines => Box::new(LineFile::open(path, part)?),
            Self::Parquet(schema) => Box::new(ParquetFile::open(path, part, schema)?),
        })
    }
}

/// Checks the declared columns of a table, without touching its files.
///
/// # Errors
/// What the format can't fill them with.
pub(crate) fn check(
    format: Format,
    json: JsonForm,
    schema: &SchemaRef,
) -> Result<(), Vec<Diagnostic>> {
    match format {
        Format::Json if json.unstructured => unstructured::check(schema),
        Format::Json => JsonDecoder::new(Arc::clone(schema), JsonOptions::default()).map(drop),
        Format::Csv => csv::check(schema),
        Format::RawString => raw_string::check(schema),
        Format::Parquet => parquet::check(schema),
        Format::DebeziumJson => DebeziumDecoder::new(schema).map(drop),
    }
}
