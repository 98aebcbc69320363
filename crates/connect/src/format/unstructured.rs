//! `'json.unstructured' = 'true'`: a record is a JSON value of any shape, and the text of the table's only column.
//!
//! What becomes of the value is what a JSON column does with a part of a record: its text as written, a string without its quotes.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Fields as SchemaFields, SchemaRef};
use bytes::Bytes;
use postrider_core::{
    Chunk, ChunkData, Decoded, Decoder, Diagnostic, Position, Reject, SourceError,
};

use super::{
    json::{Bad, Whole, bad_utf8, too_large},
    text_lines,
};
use crate::{
    failure::source_bug,
    limits::{OVERSIZE_RAW_BYTES, RECORD_BYTES_MAX},
};

/// Checks the declared columns.
///
/// # Errors
/// It is not one column of text.
pub(crate) fn check(schema: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    match &schema.fields()[..] {
        [field] if *field.data_type() == DataType::Utf8 => Ok(()),
        _ => {
            let message = "'json.unstructured' fills one JSON column, and no other";
            let fault = Diagnostic::error("PR0210", message);
            Err(vec![fault.hint("such as CREATE TABLE events (value JSON NOT NULL)")])
        }
    }
}

/// Decodes whole records into one column. A query that needs no text of them still gets its rows.
#[derive(Debug)]
pub struct UnstructuredDecoder {
    schema: SchemaRef,
    column: Field,
}

impl UnstructuredDecoder {
    /// For the column of a table, or none of it.
    ///
    /// # Errors
    /// The table has other columns.
    pub fn new(schema: SchemaRef) -> Result<Self, Vec<Diagnostic>> {
        let column = match schema.fields().first() {
            None => Field::new("value", DataType::Utf8, true),
            Some(field) => {
                check(&schema)?;
                field.as_ref().clone()
            }
        };
        Ok(Self { schema, column })
    }
}

impl Decoder for UnstructuredDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let values = Whole::new(&self.column);
        let values = values.ok_or_else(|| source_bug("a column of text is none"))?;
        let mut rows = Rows { values, rejects: Vec::new() };
        let received_at = match &chunk.data {
            ChunkData::Lines(bytes) => {
                text_lines::for_each(bytes, |at, line, text| {
                    if text_lines::is_blank(line) {
                        return;
                    }
                    let offset = chunk.start.offset + at as u64;
                    let position = || Position { part: chunk.start.part.clone(), offset };
                    rows.take(text, line, position);
                });
                None
            }
            ChunkData::Records(records) => {
                let mut received_at = Vec::with_capacity(records.len());
                for record in records {
                    let text = if record.body.len() > RECORD_BYTES_MAX {
                        Err(too_large(record.body.len()))
                    } else {
                        simdutf8::basic::from_utf8(&record.body).map_err(|_| bad_utf8())
                    };
                    if rows.take(text, &record.body, || record.position.clone()) {
                        received_at.push(record.received_at.0);
                    }
                }
                Some(Int64Array::from(received_at))
            }
            ChunkData::Numbers | ChunkData::Rows(_) => {
                return Err(source_bug("the JSON decoder was given no JSON"));
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows.values.len()));
        let columns = rows.values.finish().and_then(|column| {
            let columns = SchemaFields::clone(self.schema.fields())
                .iter()
                .map(|_| Arc::clone(&column))
                .collect();
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
        });
        let rows_of =
            columns.map_err(|error| source_bug(format!("a JSON column does not fit: {error}")))?;
        Ok(Decoded { rows: rows_of, received_at, rejects: rows.rejects })
    }
}

/// The rows of one chunk while they grow.
struct Rows {
    values: Whole,
    rejects: Vec<Reject>,
}

impl Rows {
    /// Whether a record became a row.
    fn take(
        &mut self,
        text: Result<&str, Box<Bad>>,
        raw: &[u8],
        position: impl FnOnce() -> Position,
    ) -> bool {
        let Err(bad) = text.and_then(|text| self.values.append(text)) else { return true };
        let kept = if raw.len() > RECORD_BYTES_MAX { OVERSIZE_RAW_BYTES } else { raw.len() };
        let raw = Bytes::copy_from_slice(raw.get(..kept).unwrap_or_default());
        let Bad { reason, message } = *bad;
        self.rejects.push(Reject { position: position(), reason, message, raw });
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array, cast::AsArray};
    use arrow_schema::{DataType, Field, Schema};
    use postrider_core::{Chunk, ChunkData, Decoder, Position};

    use super::UnstructuredDecoder;

    #[test]
    fn a_record_is_a_value_of_any_shape() {
        let field = Field::new("value", DataType::Utf8, false);
        let decoder = UnstructuredDecoder::new(Arc::new(Schema::new(vec![field]))).unwrap();
        let text = "{\"a\": [1, {}]}\n\n 7 \r\n\"x\\ny\"\nnull\n{\"a\" 1}\n[true] []\ntrue";
        let data = ChunkData::Lines(text.as_bytes().to_vec().into());
        let chunk = Chunk { start: Position::at(100), end: Position::at(200), data };
        let decoded = decoder.decode(&chunk).unwrap();
        let texts = decoded.rows.column(0).as_string::<i32>();
        let texts: Vec<_> = (0..texts.len()).map(|row| texts.value(row)).collect();
        assert_eq!(texts, ["{\"a\": [1, {}]}", "7", "x\ny", "true"]);
        let rejects = decoded.rejects.iter().map(|reject| (reject.position.offset, reject.reason));
        let wanted = [(128, "missing_value"), (133, "bad_json"), (141, "bad_json")];
        assert_eq!(rejects.collect::<Vec<_>>(), wanted);
        let none = UnstructuredDecoder::new(Arc::new(Schema::empty())).unwrap();
        assert_eq!(none.decode(&chunk).unwrap().rows.num_rows(), 5);
    }
}
