//! JSON: one object a record, projected straight into Arrow.
//!
//! A record is visited once. Fields that the schema does not ask for are stepped over, the others
//! are parsed into their column at once; nothing is kept in between.
//!
//! | column | takes |
//! |---|---|
//! | BOOLEAN | `true`, `false` |
//! | whole numbers | a number without a fraction (`3`, `3.0`, `1e3`) in range |
//! | FLOAT, DOUBLE | a number; finite |
//! | DECIMAL | a number or a text with one; rounded half away from zero |
//! | TEXT | a text; any other value as its JSON text |
//! | BYTEA | a text in standard base64 |
//! | DATE, TIME | `'2026-11-24'` (or a timestamp: its UTC day), `'10:00:00.5'` |
//! | TIMESTAMP | RFC 3339 and relatives (see `time.rs`), without a zone in UTC; a number counts ms |
//! | STRUCT, list | an object, a list |
//!
//! `null` and a missing field are NULL; in a NOT NULL column they are a fault. Of a repeated key
//! the first field wins. Blank lines are no records.
//!
//! **What is checked.** UTF-8 and the syntax of the whole record (RFC 8259), also of fields that
//! nobody asks for, and that nothing follows the object. Not checked: the types and ranges of
//! fields that nobody asks for, whether an escaped surrogate in them has its other half, and that
//! keys are unique. A nested value in a TEXT column is passed on as written.
//!
//! A fault costs its record only. Reasons: `bad_utf8`, `bad_json`, `not_an_object`, `too_deep`,
//! `too_large`, `missing_value`, `wrong_type`, `out_of_range`, `bad_value`.

mod column;
mod cursor;
mod encode;
mod envelope;
mod fields;
mod finish;
mod layout;
mod number;
mod reason;
mod scan;
mod text;
mod time;
mod whole;

#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc};

use arrow_array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, SchemaRef};
use bytes::Bytes;
use postrider_core::{
    Chunk, ChunkData, Decoded, Decoder, Diagnostic, Position, Reject, SourceError,
};

use self::{
    column::Column,
    cursor::Cursor,
    envelope::{Envelope, Located},
    fields::Fields,
    reason::Parsed,
};
pub(crate) use self::{
    encode::JsonEncoder,
    reason::{Bad, quote, sql_name},
    text::encode_base64,
    whole::Whole,
};
use crate::{
    failure::source_bug,
    limits::{OVERSIZE_RAW_BYTES, RECORD_BYTES_MAX},
};

/// How [`JsonDecoder`] finds columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Records are collector events in the Segment envelope: a column may also be found in
    /// `properties`, `traits` and `context`, and a snake-case column in a camel-case field.
    /// Otherwise a column reads the top-level field of its exact name.
    pub envelope: bool,
}

/// Decodes NDJSON and pushed JSON events into the columns of a schema.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
    envelope: Option<Envelope>,
}

impl JsonDecoder {
    /// A decoder for these columns.
    ///
    /// # Errors
    /// One diagnostic for each column whose type JSON can't fill, or which can't hold the time that an event was received at.
    pub fn new(schema: SchemaRef, options: JsonOptions) -> Result<Self, Vec<Diagnostic>> {
        let faults: Vec<Diagnostic> = schema
            .fields()
            .iter()
            .filter_map(|field| match field {
                field if Column::new(field, "", 0).is_none() => Some(unsupported(field)),
                field if options.envelope && !Envelope::takes(field) => Some(no_time(field)),
                _ => None,
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let envelope = options.envelope.then(|| Envelope::new(&schema));
        Ok(Self { schema, envelope })
    }
}

fn unsupported(field: &Field) -> Diagnostic {
    let name = sql_name(field.data_type());
    Diagnostic::error(
        "PR0210",
        format!("column `{}` is {name}, which JSON can't hold", field.name()),
    )
    .hint("declare it as TEXT: it then gets the field's JSON text")
}

fn no_time(field: &Field) -> Diagnostic {
    let (name, kind) = (field.name(), sql_name(field.data_type()));
    let message = format!("column `{name}` is {kind}, but holds when an event was received");
    Diagnostic::error("PR0210", message).hint("declare it as TIMESTAMP")
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        match &chunk.data {
            ChunkData::Lines(bytes) => {
                let mut rows = Rows::new(self, estimate_rows(bytes))?;
                rows.read_lines(bytes, &chunk.start);
                rows.finish(None)
            }
            ChunkData::Records(records) => {
                let mut rows = Rows::new(self, records.len())?;
                let mut received_at = Vec::with_capacity(records.len());
                for record in records {
                    let before = rows.fields.rows();
                    rows.read_record(&record.body, record.received_at.0, &record.position);
                    if rows.fields.rows() > before {
                        received_at.push(record.received_at.0);
                    }
                }
                rows.finish(Some(Int64Array::from(received_at)))
            }
            ChunkData::Numbers | ChunkData::Rows(_) => {
                Err(source_bug("the JSON decoder was given no JSON"))
            }
        }
    }
}

/// About how many lines a chunk has, from the length of its first.
fn estimate_rows(bytes: &[u8]) -> usize {
    let first = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let slack = 8;
    bytes.len() / (first + 1) + slack
}

/// The rows of one chunk while they grow.
struct Rows<'d> {
    decoder: &'d JsonDecoder,
    fields: Fields,
    located: Option<Located>,
    rejects: Vec<Reject>,
    /// Where texts with escapes are unescaped.
    scratch: String,
}

impl<'d> Rows<'d> {
    fn new(decoder: &'d JsonDecoder, rows: usize) -> Result<Self, SourceError> {
        let fields = Fields::new(decoder.schema.fields(), "", rows)
            .map_err(|column| source_bug(format!("column `{column}` passed the type check")))?;
        let located = decoder.envelope.as_ref().map(Envelope::located);
        Ok(Self { decoder, fields, located, rejects: Vec::new(), scratch: String::new() })
    }

    fn read_lines(&mut self, bytes: &Bytes, start: &Position) {
        // One pass over the chunk is cheaper than one over each line; a chunk with a fault is
        // checked line by line.
        let text = simdutf8::basic::from_utf8(bytes).ok();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
            let result = match text {
                _ if end - from > RECORD_BYTES_MAX => Err(too_large(end - from)),
                Some(text) => self.read_text(text, from..end, None),
                None => match simdutf8::basic::from_utf8(&bytes[from..end]) {
                    Ok(line) => self.read_text(line, 0..line.len(), None),
                    Err(_) => Err(bad_utf8()),
                },
            };
            if let Err(bad) = result {
                let offset = start.offset + from as u64;
                let position = Position { part: start.part.clone(), offset };
                self.reject(*bad, &bytes[from..end], position);
            }
            from = end + 1;
        }
    }

    fn read_record(&mut self, body: &Bytes, received_at: i64, position: &Position) {
        let result = if body.len() > RECORD_BYTES_MAX {
            Err(too_large(body.len()))
        } else {
            simdutf8::basic::from_utf8(body)
                .map_err(|_| bad_utf8())
                .and_then(|text| self.read_text(text, 0..text.len(), Some(received_at)))
        };
        if let Err(bad) = result {
            self.reject(*bad, body, position.clone());
        }
    }

    /// Reads one record, if the line is not blank; after an error no trace of it is left in the
    /// columns.
    #[inline]
    fn read_text(
        &mut self,
        text: &str,
        mut record: Range<usize>,
        received_at: Option<i64>,
    ) -> Parsed<()> {
        // The mark that some editors put before the first line.
        if record.start == 0 && text.starts_with('\u{feff}') {
            record.start = '\u{feff}'.len_utf8().min(record.end);
        }
        let mut cursor = Cursor::new(text, record);
        if received_at.is_none() && cursor.at_end() {
            return Ok(());
        }
        let rows = self.fields.rows();
        let result = self.read_object(&mut cursor, received_at);
        if result.is_err() {
            self.fields.truncate(rows);
        }
        result
    }

    #[inline]
    fn read_object(&mut self, cursor: &mut Cursor<'_>, received_at: Option<i64>) -> Parsed<()> {
        if cursor.peek() != b'{' {
            return Err(not_an_object(cursor));
        }
        cursor.bump();
        match (&self.decoder.envelope, &mut self.located) {
            (Some(envelope), Some(located)) => {
                let (fields, scratch) = (&mut self.fields, &mut self.scratch);
                envelope.read(cursor, received_at, fields, located, scratch)?;
            }
            _ => self.fields.read(cursor, &mut self.scratch)?,
        }
        if cursor.at_end() { Ok(()) } else { Err(cursor.unexpected("the end of the record")) }
    }

    #[cold]
    fn reject(&mut self, bad: Bad, raw: &[u8], position: Position) {
        // A copy, so that a kept reject does not keep its whole chunk in memory.
        let kept = if raw.len() > RECORD_BYTES_MAX { OVERSIZE_RAW_BYTES } else { raw.len() };
        let raw = Bytes::copy_from_slice(raw.get(..kept).unwrap_or_default());
        self.rejects.push(Reject { position, reason: bad.reason, message: bad.message, raw });
    }

    fn finish(self, received_at: Option<Int64Array>) -> Result<Decoded, SourceError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.fields.rows()));
        let schema = Arc::clone(&self.decoder.schema);
        let rows = self
            .fields
            .finish()
            .and_then(|arrays| RecordBatch::try_new_with_options(schema, arrays, &options))
            .map_err(|error| source_bug(format!("JSON columns don't fit together: {error}")))?;
        Ok(Decoded { rows, received_at, rejects: self.rejects })
    }
}

#[cold]
pub(crate) fn bad_utf8() -> Box<Bad> {
    Bad::new("bad_utf8", "the record is no UTF-8 text; write it as UTF-8".to_owned())
}

#[cold]
pub(crate) fn too_large(bytes: usize) -> Box<Bad> {
    Bad::new(
        "too_large",
        format!("the record has more than {} bytes (at least {bytes}); split it", RECORD_BYTES_MAX),
    )
}

#[cold]
fn not_an_object(cursor: &mut Cursor<'_>) -> Box<Bad> {
    match cursor.skip() {
        Ok(_) => Bad::new(
            "not_an_object",
            "the record is no JSON object; write one {..} a line".to_owned(),
        ),
        Err(bad) => bad,
    }
}

/// Whether the JSON sinks can write columns of this type, and the decoder read them back.
pub(crate) fn holds(data_type: &DataType) -> bool {
    Column::new(&Field::new("", data_type.clone(), true), "", 0).is_some()
}

/// Reads a time in any form that TIMESTAMP columns take, as nanoseconds since the Unix epoch.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    time::moment(text).and_then(|moment| moment.in_units(1_000_000_000))
}
