//! `METADATA FROM 'key'`: columns that tell about a record instead of holding a part of it.
//!
//! They are filled behind the format, which knows nothing of them: a table without such columns gets the format's own decoder. Everything
//! they tell is in the log, or in a file at the place that the log names, so that a replay tells the same.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampNanosecondArray,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use postrider_core::{
    Chunk, ChunkData, Decoded, Decoder, Diagnostic, Format, METADATA_KEY, Record, Reject,
    SourceError, suggest,
};

use super::{json::sql_name, text_lines::is_blank};
use crate::failure::source_bug;

/// The code of a metadata column that can't be filled.
const BAD_METADATA: &str = "PR0212";

/// What can be told about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// The sender's id.
    MessageId,
    /// When it was received.
    ReceivedAt,
    /// Whose key it came with.
    KeyRole,
    /// The name of its file within its folder.
    Path,
    /// Where it is: in the log, in its file, or its number.
    Position,
}

/// A key, whether it may be NULL, and what it tells.
type Key = (&'static str, bool, Fact);

const COLLECTOR: &[Key] = &[
    ("key_role", false, Fact::KeyRole),
    ("message_id", true, Fact::MessageId),
    ("position", false, Fact::Position),
    ("received_at", false, Fact::ReceivedAt),
];
const FILES: &[Key] = &[("path", false, Fact::Path), ("position", false, Fact::Position)];
const GENERATOR: &[Key] = &[("position", false, Fact::Position)];

/// The keys that the source tables of a connector know.
fn keys(connector: &str) -> &'static [Key] {
    match connector {
        "collector" => COLLECTOR,
        "single_file" | "filesystem" => FILES,
        "generator" => GENERATOR,
        _ => &[],
    }
}

impl Fact {
    /// The type of its column, but for the unit of a time.
    const fn data_type(self) -> DataType {
        match self {
            Self::MessageId | Self::KeyRole | Self::Path => DataType::Utf8,
            Self::ReceivedAt => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Self::Position => DataType::Int64,
        }
    }
}

/// Columns of a table in two halves.
struct Halves {
    /// Those that records hold.
    held: SchemaRef,
    /// The others: where each stands among all, and what it tells.
    told: Vec<(usize, Fact)>,
}

fn halves(connector: &str, format: Format, schema: &Schema) -> Result<Halves, Vec<Diagnostic>> {
    let (mut held, mut told, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (index, field) in schema.fields().iter().enumerate() {
        match field.metadata().get(METADATA_KEY) {
            None => held.push(Arc::clone(field)),
            Some(key) => match fact(connector, format, field, key) {
                Ok(fact) => told.push((index, fact)),
                Err(fault) => faults.push(fault),
            },
        }
    }
    let held = Arc::new(Schema::new(held));
    if faults.is_empty() { Ok(Halves { held, told }) } else { Err(faults) }
}

fn fact(connector: &str, format: Format, field: &Field, key: &str) -> Result<Fact, Diagnostic> {
    let name = field.name();
    let wrong = |message: String| Diagnostic::error(BAD_METADATA, message);
    let known = keys(connector);
    if known.is_empty() {
        let message = format!("column `{name}`: a `{connector}` table has no metadata");
        return Err(wrong(message).hint("metadata is that of records that are read"));
    }
    if format == Format::DebeziumJson {
        let message = format!("column `{name}`: the changes of 'debezium_json' have no metadata");
        return Err(wrong(message).hint("remove the column"));
    }
    let Some((_, nullable, fact)) = known.iter().find(|(other, ..)| *other == key) else {
        let names = known.iter().map(|(key, ..)| *key);
        let message = format!("column `{name}`: a `{connector}` table has no metadata '{key}'");
        return Err(wrong(message).hint(suggest::hint_and_all(key, '\'', "it has", names)));
    };
    let (is, wanted) = (field.data_type(), fact.data_type());
    let fits = match is {
        DataType::Timestamp(_, _) => matches!(wanted, DataType::Timestamp(_, _)),
        _ => *is == wanted,
    };
    if !fits {
        let (is, wanted) = (sql_name(is), sql_name(&wanted));
        let message = format!("column `{name}` is {is}, but metadata '{key}' is {wanted}");
        return Err(
            wrong(message).hint(format!("declare it as {wanted}, and CAST it in the query"))
        );
    }
    if *nullable && !field.is_nullable() {
        let message = format!("column `{name}` is NOT NULL, but metadata '{key}' may be missing");
        return Err(wrong(message).hint("declare it without NOT NULL"));
    }
    Ok(*fact)
}

/// Checks the columns of a source table; `rest` those that its records hold.
///
/// # Errors
/// A key that the connector does not know, or a column that can't take what it tells.
pub fn check_metadata(
    connector: &str,
    format: Format,
    schema: &Schema,
    rest: impl FnOnce(&SchemaRef) -> Result<(), Vec<Diagnostic>>,
) -> Result<(), Vec<Diagnostic>> {
    rest(&halves(connector, format, schema)?.held)
}

/// A decoder of all columns, over one for those that records hold. `files` names the file of each part.
///
/// # Errors
/// As [`check_metadata`].
pub fn with_metadata(
    connector: &str,
    format: Format,
    schema: &SchemaRef,
    files: HashMap<String, String>,
    open: impl FnOnce(SchemaRef) -> Result<Arc<dyn Decoder>, Vec<Diagnostic>>,
) -> Result<Arc<dyn Decoder>, Vec<Diagnostic>> {
    let Halves { held, told } = halves(connector, format, schema)?;
    let inner = open(held)?;
    if told.is_empty() {
        return Ok(inner);
    }
    // Rows have the columns as the rest of the dataflow knows them.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<Field> = fields.map(|field| field.with_metadata(HashMap::new())).collect();
    let schema = Arc::new(Schema::new(fields));
    Ok(Arc::new(MetadataDecoder { inner, format, schema, told, files }))
}

/// Tells about the records that another decoder reads.
#[derive(Debug)]
struct MetadataDecoder {
    inner: Arc<dyn Decoder>,
    format: Format,
    schema: SchemaRef,
    told: Vec<(usize, Fact)>,
    /// By part.
    files: HashMap<String, String>,
}

impl Decoder for MetadataDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let Decoded { rows, received_at, rejects } = self.inner.decode(chunk)?;
        let places = places(chunk, self.format, &rejects);
        if places.len() != rows.num_rows() {
            let (places, rows) = (places.len(), rows.num_rows());
            return Err(source_bug(format!("{rows} rows are said to be of {places} records")));
        }
        let mut held = rows.columns().iter();
        let mut told = self.told.iter().peekable();
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (index, field) in self.schema.fields().iter().enumerate() {
            let column = match told.next_if(|(at, _)| *at == index) {
                Some((_, fact)) => self.tell(*fact, field, chunk, &places)?,
                None => held.next().cloned().ok_or_else(|| source_bug("a column is missing"))?,
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| {
            source_bug(format!("metadata does not fit its column: {error}"))
        })?;
        Ok(Decoded { rows, received_at, rejects })
    }
}

impl MetadataDecoder {
    fn tell(
        &self,
        fact: Fact,
        field: &Field,
        chunk: &Chunk,
        places: &[Place],
    ) -> Result<ArrayRef, SourceError> {
        let records: &[Record] = match &chunk.data {
            ChunkData::Records(records) => records,
            _ => &[],
        };
        let records = places.iter().map(|place| records.get(place.record?));
        let column: ArrayRef = match fact {
            Fact::MessageId => {
                let ids = records.map(|record| record.map(|record| record.message_id.as_str()));
                Arc::new(ids.map(|id| id.filter(|id| !id.is_empty())).collect::<StringArray>())
            }
            Fact::KeyRole => {
                Arc::new(records.map(|record| record.map(|r| r.key_role)).collect::<StringArray>())
            }
            Fact::ReceivedAt => {
                let times = records.map(|record| record.map(|record| record.received_at.0));
                let times: TimestampNanosecondArray = times.collect();
                Arc::new(match field.data_type() {
                    DataType::Timestamp(_, zone) => times.with_timezone_opt(zone.clone()),
                    _ => times,
                })
            }
            Fact::Path => {
                let part = &chunk.start.part;
                let name = self.files.get(part).unwrap_or(part).as_str();
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, places.len())))
            }
            Fact::Position => {
                let at = places.iter().map(|place| i64::try_from(place.offset).unwrap_or(i64::MAX));
                Arc::new(Int64Array::from_iter_values(at))
            }
        };
        cast(&column, field.data_type())
            .map_err(|error| source_bug(format!("metadata does not fit its column: {error}")))
    }
}

/// Where the record of a row is.
pub(super) struct Place {
    pub(super) offset: u64,
    /// Its number among the pushed events of the chunk.
    pub(super) record: Option<usize>,
}

/// The record of each row: every record of the chunk that was not rejected, in order.
pub(super) fn places(chunk: &Chunk, format: Format, rejects: &[Reject]) -> Vec<Place> {
    let mut rejected = rejects.iter().map(|reject| reject.position.offset).peekable();
    let mut is_row = |offset: u64| rejected.next_if_eq(&offset).is_none();
    let at = |offset: u64| Place { offset, record: None };
    match &chunk.data {
        ChunkData::Records(records) => {
            let records = records.iter().enumerate().map(|(index, record)| Place {
                offset: record.position.offset,
                record: Some(index),
            });
            records.filter(|place| is_row(place.offset)).collect()
        }
        ChunkData::Rows(rows) => {
            let offsets = (0..rows.num_rows() as u64).map(|row| chunk.start.offset + row);
            offsets.filter(|offset| is_row(*offset)).map(at).collect()
        }
        ChunkData::Numbers => (chunk.start.offset..chunk.end.offset).map(at).collect(),
        ChunkData::Lines(bytes) => {
            let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
            let lines = ends.scan(0, |from, end| {
                let line = (*from, bytes.get(*from..end).unwrap_or_default());
                *from = end + 1;
                Some(line)
            });
            let records = lines.filter(|(from, line)| {
                let offset = chunk.start.offset + *from as u64;
                let is_last = from + line.len() == bytes.len();
                is_row(offset) && is_record(format, offset, line, is_last)
            });
            records.map(|(from, _)| at(chunk.start.offset + from as u64)).collect()
        }
    }
}

/// Whether a line is a record of a format.
fn is_record(format: Format, offset: u64, line: &[u8], is_last: bool) -> bool {
    match format {
        // Blank lines are none, whatever they are made of; neither is the mark that some editors put first.
        Format::Json | Format::DebeziumJson => {
            let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            !is_blank(line)
        }
        Format::Csv => offset > 0 && !line.strip_suffix(b"\r").unwrap_or(line).is_empty(),
        Format::RawString | Format::Parquet => !(is_last && line.is_empty()),
    }
}

#[cfg(test)]
mod tests;
