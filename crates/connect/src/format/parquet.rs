//! `format = 'parquet'`: files of Apache Parquet, read in the order of their rows.
//!
//! A column of the table is found by its name; one that a file does not have is NULL. Whole numbers, floats, texts, times and
//! decimals of any width fit a column of their kind; a value that is too large for it costs its row. Only the columns that
//! a query needs are read.
//!
//! Positions count rows. A chunk starts at any row and holds the next [`PARQUET_ROWS`], so its borders depend on its start alone. The file
//! is decoded where it is read, so that no more of it is in memory than a chunk and the pages that it is in.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
        ParquetRecordBatchReaderBuilder,
    },
};
use postrider_core::{
    Chunk, ChunkData, Decoded, Decoder, Diagnostic, ErrorKind, Position, SourceError, suggest,
};

use super::{
    files::PartFile,
    json::{JsonEncoder, sql_name},
    rejects::Rejects,
};
use crate::{
    failure::{open_failed, read_failed, source_bug},
    limits::PARQUET_ROWS,
};

/// Checks the declared columns.
///
/// # Errors
/// None: Parquet holds every type that a column can have.
pub(crate) const fn check(_schema: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    Ok(())
}

/// A file that is read by ranges of rows.
pub(crate) struct ParquetFile {
    path: PathBuf,
    part: String,
    file: File,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    rows: u64,
    /// What is `pending`, and then what `reader` gives, begins at row `next`.
    reader: Option<ParquetRecordBatchReader>,
    pending: Option<RecordBatch>,
    next: u64,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Opens a file and reads what it says of itself at its end.
fn open(path: &Path) -> Result<(File, ArrowReaderMetadata), std::io::Error> {
    let file = File::open(path)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(false);
    let metadata = ArrowReaderMetadata::load(&file, options)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
    Ok((file, metadata))
}

impl ParquetFile {
    pub(crate) fn open(path: &Path, part: &str, schema: &SchemaRef) -> Result<Self, SourceError> {
        let (file, metadata) = open(path).map_err(|error| read_failed("read", path, &error))?;
        let found = metadata.schema().fields().iter().enumerate();
        let wanted = found.filter(|(_, field)| schema.column_with_name(field.name()).is_some());
        let roots: Vec<_> = wanted.map(|(index, _)| index).collect();
        let projection = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let rows = metadata.metadata().file_metadata().num_rows();
        Ok(Self {
            path: path.to_owned(),
            part: part.to_owned(),
            file,
            metadata,
            projection,
            rows: u64::try_from(rows).unwrap_or(0),
            reader: None,
            pending: None,
            next: 0,
        })
    }

    /// Reads from a row on: row groups before it are not touched.
    fn go_to(&mut self, row: u64) -> Result<(), SourceError> {
        let (mut first, mut groups) = (0_u64, Vec::new());
        let mut skipped = None;
        for (index, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            if first + rows > row {
                skipped.get_or_insert_with(|| row.saturating_sub(first));
                groups.push(index);
            }
            first += rows;
        }
        let file = self.file.try_clone().map_err(|error| self.failed(&error))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_projection(self.projection.clone())
                .with_batch_size(PARQUET_ROWS)
                .with_row_groups(groups)
                .with_offset(usize::try_from(skipped.unwrap_or(0)).unwrap_or(usize::MAX));
        self.reader = Some(builder.build().map_err(|error| self.damaged(&error))?);
        (self.pending, self.next) = (None, row);
        Ok(())
    }

    /// So many rows from `next` on.
    fn take(&mut self, rows: usize) -> Result<RecordBatch, SourceError> {
        let mut taken: Vec<RecordBatch> = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            let batch = match (self.pending.take(), &mut self.reader) {
                (Some(pending), _) => pending,
                (None, Some(reader)) => match reader.next() {
                    Some(batch) => batch.map_err(|error| self.damaged(&error))?,
                    None => return Err(self.damaged(&"it has fewer rows than it says")),
                },
                (None, None) => return Err(source_bug("a Parquet file was not opened")),
            };
            let part = missing.min(batch.num_rows());
            if part < batch.num_rows() {
                self.pending = Some(batch.slice(part, batch.num_rows() - part));
            }
            missing -= part;
            taken.push(batch.slice(0, part));
        }
        self.next += rows as u64;
        match &taken[..] {
            [only] => Ok(only.clone()),
            [first, ..] => {
                concat_batches(&first.schema(), &taken).map_err(|error| self.damaged(&error))
            }
            [] => Err(source_bug("no rows were asked for")),
        }
    }

    fn failed(&self, error: &std::io::Error) -> SourceError {
        read_failed("read", &self.path, error)
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> SourceError {
        let message = format!("can't read {}: {error}; check the file", self.path.display());
        SourceError { kind: ErrorKind::Data, message }
    }
}

impl PartFile for ParquetFile {
    fn record_start(&mut self, offset: u64) -> Result<u64, SourceError> {
        if offset <= self.rows {
            return Ok(offset);
        }
        let message = format!(
            "{} has {} rows, but {offset} rows of it were read before; put the old file back, or start with a new state directory",
            self.path.display(),
            self.rows
        );
        Err(SourceError { kind: ErrorKind::Data, message })
    }

    fn chunk(&mut self, from: u64, until: Option<u64>) -> Result<Option<Chunk>, SourceError> {
        let end = (from + PARQUET_ROWS as u64).min(self.rows).min(until.unwrap_or(u64::MAX));
        if end <= from {
            return Ok(None);
        }
        if self.reader.is_none() || self.next != from {
            self.go_to(from)?;
        }
        let rows = self.take((end - from) as usize)?;
        let place = |offset| Position { part: self.part.clone(), offset };
        Ok(Some(Chunk { start: place(from), end: place(end), data: ChunkData::Rows(rows) }))
    }
}

/// Gives rows of a file the types of the table.
#[derive(Debug)]
pub(crate) struct RowsDecoder {
    schema: SchemaRef,
}

impl RowsDecoder {
    /// For these files, which must have the columns that the table needs.
    pub(crate) fn open(
        schema: SchemaRef,
        parts: &[(String, PathBuf)],
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        for (_, path) in parts {
            let (_, metadata) =
                open(path).map_err(|error| vec![open_failed("read", path, &error)])?;
            faults.extend(unfit(&schema, metadata.schema(), path));
        }
        if faults.is_empty() { Ok(Self { schema }) } else { Err(faults) }
    }
}

/// What a file does not have, or in another type.
fn unfit(wanted: &Schema, found: &Schema, path: &Path) -> Vec<Diagnostic> {
    let fault = |field: &Arc<Field>| match found.column_with_name(field.name()) {
        None if field.is_nullable() => None,
        None => {
            let names = found.fields().iter().map(|field| field.name().as_str());
            let message = format!("{} has no column `{}`", path.display(), field.name());
            let hint = suggest::hint_and_all(field.name(), '`', "it has", names);
            Some(Diagnostic::error("PR0602", message).hint(hint))
        }
        Some((_, other)) if fits(other.data_type(), field.data_type()) => None,
        Some((_, other)) => {
            let (wanted, found) = (sql_name(field.data_type()), sql_name(other.data_type()));
            let message =
                format!("column `{}` is {wanted}, but {found} in {}", field.name(), path.display());
            let hint = format!("declare it as {found}, and CAST it in the query");
            Some(Diagnostic::error("PR0602", message).hint(hint))
        }
    };
    wanted.fields().iter().filter_map(fault).collect()
}

/// Whether values of a type can be in a column of another: those of its kind, and whole numbers in any kind of number.
fn fits(found: &DataType, wanted: &DataType) -> bool {
    let found = match found {
        DataType::Dictionary(_, values) => values,
        found => found,
    };
    found == wanted
        || match wanted {
            wanted if wanted.is_integer() => found.is_integer(),
            wanted if wanted.is_floating() => found.is_integer() || found.is_floating(),
            DataType::Decimal128(_, _) => {
                found.is_integer()
                    || matches!(found, DataType::Decimal128(_, _) | DataType::Decimal256(_, _))
            }
            DataType::Utf8 => found.is_string(),
            DataType::Binary => {
                matches!(
                    found,
                    DataType::Binary
                        | DataType::LargeBinary
                        | DataType::BinaryView
                        | DataType::FixedSizeBinary(_)
                )
            }
            DataType::Timestamp(_, _) => matches!(found, DataType::Timestamp(_, _)),
            DataType::Date32 => matches!(found, DataType::Date32 | DataType::Date64),
            DataType::Time64(_) => matches!(found, DataType::Time32(_) | DataType::Time64(_)),
            _ => false,
        }
}

impl Decoder for RowsDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let ChunkData::Rows(rows) = &chunk.data else {
            return Err(source_bug("the decoder of rows was given none"));
        };
        let mut rejects = Rejects::default();
        let columns = self.schema.fields().iter().map(|field| {
            let none = || new_null_array(field.data_type(), rows.num_rows());
            let column: ArrayRef = rows.column_by_name(field.name()).cloned().unwrap_or_else(none);
            rejects.convert(&column, field)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        rejects.finish(&self.schema, columns, rows.num_rows(), |row| {
            let offset = chunk.start.offset + row as u64;
            let position = Position { part: chunk.start.part.clone(), offset };
            (position, as_json(rows, row).unwrap_or_default())
        })
    }
}

/// A row as its dead letter shows it.
fn as_json(rows: &RecordBatch, row: usize) -> Result<Bytes, ArrowError> {
    let mut json = Vec::new();
    let encoded = JsonEncoder::default().encode(&rows.slice(row, 1), &mut json);
    encoded.map_err(|error| ArrowError::JsonError(error.to_string()))?;
    Ok(Bytes::from(json))
}

#[cfg(test)]
mod tests;
