//! `format = 'raw_string'`: a line is the text of the table's only column.

use std::sync::Arc;

use arrow_array::{ArrayRef, builder::StringBuilder};
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;
use postrider_core::{Chunk, ChunkData, Decoded, Decoder, Diagnostic, Position, SourceError};

use super::{rejects::Rejects, text_lines};
use crate::failure::source_bug;

/// Checks the declared columns.
///
/// # Errors
/// It is not one column of text.
pub(crate) fn check(schema: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    match &schema.fields()[..] {
        [field] if *field.data_type() == DataType::Utf8 => Ok(()),
        _ => {
            let fault = Diagnostic::error(
                "PR0210",
                "format 'raw_string' fills one TEXT column, and no other",
            );
            Err(vec![fault.hint("such as CREATE TABLE lines (value TEXT NOT NULL)")])
        }
    }
}

/// Decodes lines. A query that needs no text of them still gets its rows.
#[derive(Debug)]
pub(crate) struct RawStringDecoder {
    schema: SchemaRef,
}

impl RawStringDecoder {
    pub(crate) const fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Decoder for RawStringDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let ChunkData::Lines(bytes) = &chunk.data else {
            return Err(source_bug("the decoder of lines was given none"));
        };
        let (mut texts, mut lines, mut rejects) =
            (StringBuilder::new(), Vec::new(), Rejects::default());
        text_lines::for_each(bytes, |at, line, text| {
            match text {
                Ok(text) => texts.append_value(text),
                Err(bad) => {
                    rejects.add(lines.len(), *bad);
                    texts.append_null();
                }
            }
            lines.push(at..at + line.len());
        });
        let texts: ArrayRef = Arc::new(texts.finish());
        let columns = self.schema.fields().iter().map(|_| Arc::clone(&texts)).collect();
        rejects.finish(&self.schema, columns, lines.len(), |row| place(chunk, bytes, &lines, row))
    }
}

/// Where a line is, and its bytes.
pub(super) fn place(
    chunk: &Chunk,
    bytes: &Bytes,
    lines: &[std::ops::Range<usize>],
    row: usize,
) -> (Position, Bytes) {
    let line = lines.get(row).cloned().unwrap_or_default();
    let offset = chunk.start.offset + line.start as u64;
    (Position { part: chunk.start.part.clone(), offset }, bytes.slice(line))
}

#[cfg(test)]
mod tests;
