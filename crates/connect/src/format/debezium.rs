//! `format = 'debezium_json'`: a change a record, as Debezium and our own sinks write them.
//!
//! ```json
//! {"before": {"id": 1, "n": 2}, "after": {"id": 1, "n": 3}, "op": "u"}
//! ```
//!
//! `op` is `c` (created), `r` (read in a snapshot), `u` (updated) or `d` (deleted). All this may also stand in an object `payload`. What
//! else a record says is left out. An update is two rows, the one taken back and the one in its place; each row has its kind in a last
//! column.
//!
//! Whoever adds rows up has to know what a row was before its change, so `before` must hold all of it. A change without it costs its
//! record: reasons `missing_before`, `missing_after`, `bad_op`, and those of JSON.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    UInt64Array, cast::AsArray,
};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::{interleave::interleave, take::take};
use bytes::Bytes;
use postrider_core::{
    Chunk, ChunkData, Decoded, Decoder, Diagnostic, Format, Position, Reject, SourceError, changes,
};

use super::{
    json::{JsonDecoder, JsonOptions, quote},
    metadata::places,
};
use crate::failure::source_bug;

/// Decodes changes of rows of a table.
#[derive(Debug)]
pub struct DebeziumDecoder {
    /// The columns of a row, and the kind.
    schema: SchemaRef,
    records: JsonDecoder,
}

impl DebeziumDecoder {
    /// For rows of these columns, whose kind will be one more.
    ///
    /// # Errors
    /// One diagnostic for each column whose type JSON can't fill.
    pub fn new(schema: &SchemaRef) -> Result<Self, Vec<Diagnostic>> {
        // Faults name the columns of the table.
        JsonDecoder::new(Arc::clone(schema), JsonOptions::default())?;
        let row = DataType::Struct(schema.fields().clone());
        let change = vec![
            Field::new("before", row.clone(), true),
            Field::new("after", row, true),
            Field::new("op", DataType::Utf8, true),
        ];
        let payload = DataType::Struct(Fields::from(change.clone()));
        let record: Vec<Field> =
            change.into_iter().chain([Field::new("payload", payload, true)]).collect();
        let records = JsonDecoder::new(Arc::new(Schema::new(record)), JsonOptions::default())?;
        let fields = schema.fields().iter().cloned().chain([Arc::new(changes::field())]);
        let schema = Arc::new(Schema::new(fields.collect::<Fields>()));
        Ok(Self { schema, records })
    }
}

/// The two rows of changes, and what happened.
struct Sides<'a> {
    before: &'a StructArray,
    after: &'a StructArray,
    op: &'a StringArray,
}

impl<'a> Sides<'a> {
    /// Of records, or of what is wrapped in them.
    fn of(columns: &'a [ArrayRef]) -> Option<Self> {
        let [before, after, op, ..] = columns else { return None };
        let (before, after) = (before.as_struct_opt()?, after.as_struct_opt()?);
        Some(Self { before, after, op: op.as_string_opt()? })
    }

    /// The rows that a change makes: those of before and after it, and whether it is an update.
    fn rows(&self, record: usize) -> Result<Rows, Fault> {
        let op = if self.op.is_valid(record) { self.op.value(record) } else { "" };
        let has = |side: &StructArray| side.is_valid(record);
        let missing = |side: &'static str| {
            let reason = if side == "before" { "missing_before" } else { "missing_after" };
            let hint = if side == "before" {
                "; have the database log whole rows (REPLICA IDENTITY FULL)"
            } else {
                ""
            };
            Fault { reason, message: format!("a change with op \"{op}\" needs `{side}`{hint}") }
        };
        match op {
            "c" | "r" if has(self.after) => Ok(Rows { before: false, after: true }),
            "u" if has(self.before) && has(self.after) => Ok(Rows { before: true, after: true }),
            "d" if has(self.before) => Ok(Rows { before: true, after: false }),
            "u" | "d" if !has(self.before) => Err(missing("before")),
            "c" | "r" | "u" => Err(missing("after")),
            "" => Err(Fault { reason: "bad_op", message: "the change has no `op`".to_owned() }),
            other => {
                let message = format!("`op` is {}, which is no change of a row", quote(other));
                Err(Fault { reason: "bad_op", message })
            }
        }
    }
}

struct Rows {
    before: bool,
    after: bool,
}

struct Fault {
    reason: &'static str,
    message: String,
}

/// Rows in the making: for each its record, its kind, and in which of four columns it stands.
#[derive(Default)]
struct Taken {
    records: Vec<u64>,
    kinds: Vec<i8>,
    places: Vec<(usize, usize)>,
}

impl Taken {
    fn add(&mut self, record: usize, column: usize, kind: i8) {
        self.records.push(record as u64);
        self.kinds.push(kind);
        self.places.push((column, record));
    }
}

impl Decoder for DebeziumDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let Decoded { rows: records, received_at, mut rejects } = self.records.decode(chunk)?;
        let broken = || source_bug("records of changes have other columns");
        let flat = Sides::of(records.columns()).ok_or_else(broken)?;
        let payload =
            records.columns().last().and_then(|c| c.as_struct_opt()).ok_or_else(broken)?;
        let wrapped = Sides::of(payload.columns()).ok_or_else(broken)?;
        let (mut taken, mut faults) = (Taken::default(), Vec::new());
        for record in 0..records.num_rows() {
            let is_wrapped = payload.is_valid(record);
            let (sides, first) = if is_wrapped { (&wrapped, 2) } else { (&flat, 0) };
            match sides.rows(record) {
                Ok(Rows { before: true, after: true }) => {
                    taken.add(record, first, changes::UPDATE_BEFORE);
                    taken.add(record, first + 1, changes::UPDATE_AFTER);
                }
                Ok(Rows { before: true, .. }) => taken.add(record, first, changes::DELETE),
                Ok(Rows { .. }) => taken.add(record, first + 1, changes::INSERT),
                Err(fault) => faults.push((record, fault)),
            }
        }
        if !faults.is_empty() {
            let found = rejected(chunk, &rejects, faults);
            rejects.extend(found);
            rejects.sort_by(|one, other| one.position.cmp(&other.position));
        }
        let sides = [flat.before, flat.after, wrapped.before, wrapped.after];
        let rows = self
            .rows(&sides, &taken)
            .map_err(|error| source_bug(format!("rows of changes don't fit together: {error}")))?;
        let received_at = received_at.map(|times| {
            take(&times, &UInt64Array::from(taken.records), None)
                .map(|times| times.as_primitive().clone())
                .map_err(|error| source_bug(format!("times of changes are lost: {error}")))
        });
        Ok(Decoded { rows, received_at: received_at.transpose()?, rejects })
    }
}

impl DebeziumDecoder {
    fn rows(
        &self,
        sides: &[&StructArray; 4],
        taken: &Taken,
    ) -> Result<RecordBatch, arrow_schema::ArrowError> {
        let count = self.schema.fields().len().saturating_sub(1);
        let mut columns = Vec::with_capacity(count + 1);
        for index in 0..count {
            let parts = sides.map(|side| side.column(index).as_ref());
            columns.push(interleave(&parts, &taken.places)?);
        }
        columns.push(Arc::new(Int8Array::from(taken.kinds.clone())) as ArrayRef);
        let options = RecordBatchOptions::new().with_row_count(Some(taken.kinds.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

/// The dead letters of records that are JSON, but no changes.
fn rejected(chunk: &Chunk, before: &[Reject], faults: Vec<(usize, Fault)>) -> Vec<Reject> {
    let mut faults: HashMap<usize, Fault> = faults.into_iter().collect();
    let places = places(chunk, Format::Json, before);
    let rejects = places.into_iter().enumerate().filter_map(|(record, place)| {
        let Fault { reason, message } = faults.remove(&record)?;
        let raw = match &chunk.data {
            ChunkData::Records(records) => records.get(place.record?)?.body.clone(),
            ChunkData::Lines(bytes) => {
                let from = usize::try_from(place.offset - chunk.start.offset).ok()?;
                let line = bytes.get(from..)?;
                let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
                // A copy, so that a kept reject does not keep its whole chunk in memory.
                Bytes::copy_from_slice(line.get(..end)?)
            }
            ChunkData::Rows(_) | ChunkData::Numbers => return None,
        };
        let position = Position { part: chunk.start.part.clone(), offset: place.offset };
        Some(Reject { position, reason, message, raw })
    });
    rejects.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};
    use postrider_core::{Chunk, ChunkData, Decoder, Position};

    use super::DebeziumDecoder;

    fn lines(text: &str) -> Chunk {
        let data = ChunkData::Lines(text.as_bytes().to_vec().into());
        Chunk { start: Position::at(0), end: Position::at(text.len() as u64), data }
    }

    #[test]
    fn a_change_is_the_rows_before_and_behind_it() {
        let fields =
            vec![Field::new("id", DataType::Int64, false), Field::new("n", DataType::Utf8, true)];
        let decoder = DebeziumDecoder::new(&Arc::new(Schema::new(fields))).unwrap();
        let text = r#"{"before": null, "after": {"id": 1, "n": "a"}, "op": "c", "ts_ms": 5}
{"before": {"id": 1, "n": "a"}, "after": {"id": 1}, "op": "u"}

{"schema": {"a": 1}, "payload": {"op": "d", "before": {"id": 1, "n": null}, "after": null}}
{"after": {"id": 2}, "op": "u"}
{"after": {"id": 2}, "op": "r"}
{"before": {"id": 2}, "op": "u"}
{"before": {"n": "x"}, "op": "d"}
{"op": "t"}
{"after": {"id": 3}}
{"payload": {"after": {"id": 4}, "op": "c"}}"#;
        let decoded = decoder.decode(&lines(text)).unwrap();
        let shown = arrow_cast::pretty::pretty_format_batches(&[decoded.rows]).unwrap().to_string();
        let wanted = "\
+----+---+----+
| id | n | op |
+----+---+----+
| 1  | a | 0  |
| 1  | a | 1  |
| 1  |   | 2  |
| 1  |   | 3  |
| 2  |   | 0  |
| 4  |   | 0  |
+----+---+----+";
        assert_eq!(shown, wanted);
        let rejects: Vec<_> = decoded
            .rejects
            .iter()
            .map(|reject| (reject.reason, str::from_utf8(&reject.raw).unwrap()))
            .collect();
        let wanted = [
            ("missing_before", r#"{"after": {"id": 2}, "op": "u"}"#),
            ("missing_after", r#"{"before": {"id": 2}, "op": "u"}"#),
            ("missing_value", r#"{"before": {"n": "x"}, "op": "d"}"#),
            ("bad_op", r#"{"op": "t"}"#),
            ("bad_op", r#"{"after": {"id": 3}}"#),
        ];
        assert_eq!(rejects, wanted);
        assert!(decoded.rejects.is_sorted_by_key(|reject| reject.position.offset));
    }

    #[test]
    fn changes_are_counted_without_any_column() {
        let decoder = DebeziumDecoder::new(&Arc::new(Schema::empty())).unwrap();
        let text = "{\"before\": {}, \"after\": {\"a\": 1}, \"op\": \"u\"}\n{\"before\": {}, \"op\": \"d\"}\n";
        let decoded = decoder.decode(&lines(text)).unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.rows.num_columns()), (3, 1));
        assert!(decoded.rejects.is_empty());
    }
}
