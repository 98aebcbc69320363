//! `format = 'csv'`: comma-separated values (RFC 4180), a record a line.
//!
//! The first line of each file names its columns; a column of the table is found by its name, in any place. A field may be quoted with
//! `"`, a quote in it is written twice; a record with a line break in a field is no record. An empty field is NULL, in a
//! TEXT NOT NULL column the empty text. Numbers, dates and booleans are as Arrow reads them, times as in JSON.
//! A column that a file does not have is NULL.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{ArrayRef, builder::StringBuilder};
use arrow_schema::{DataType, Field, SchemaRef};
use csv_core::{ReadRecordResult, Reader};
use postrider_core::{Chunk, ChunkData, Decoded, Decoder, Diagnostic, SourceError};

use super::{
    json::{Bad, sql_name},
    raw_string::place,
    rejects::Rejects,
    text_lines,
};
use crate::{
    failure::{open_failed, source_bug},
    limits::RECORD_BYTES_MAX,
};

/// The mark that some editors put before the first line.
const MARK: &str = "\u{feff}";

/// Checks the declared columns.
///
/// # Errors
/// One for each that a text can't fill.
pub(crate) fn check(schema: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    let holds = |data_type: &DataType| {
        !data_type.is_nested() && !matches!(data_type, DataType::Binary | DataType::LargeBinary)
    };
    let bad = schema.fields().iter().filter(|field| !holds(field.data_type()));
    let faults: Vec<_> = bad
        .map(|field| {
            let (name, kind) = (field.name(), sql_name(field.data_type()));
            Diagnostic::error("PR0210", format!("column `{name}` is {kind}, which CSV can't hold"))
                .hint("declare it as TEXT")
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The columns of one file.
#[derive(Debug)]
struct Header {
    names: Vec<String>,
    /// For each column of the table, its field.
    fields: Vec<Option<usize>>,
}

impl Header {
    fn of(line: &str, schema: &SchemaRef) -> Option<Self> {
        let mut record = Record::default();
        record.read(line.strip_prefix(MARK).unwrap_or(line), usize::MAX).ok()?;
        let names: Vec<String> = record.fields().map(str::to_owned).collect();
        let place = |field: &Arc<Field>| names.iter().position(|name| name == field.name());
        let fields = schema.fields().iter().map(place).collect();
        Some(Self { names, fields })
    }

    /// What the table needs and the file does not have.
    fn missing(&self, schema: &SchemaRef, path: &Path) -> Vec<Diagnostic> {
        let fields = schema.fields().iter().zip(&self.fields);
        let missing = fields.filter(|(field, place)| place.is_none() && !field.is_nullable());
        let fault = |name: &str| {
            let message = format!("{} has no column `{name}`", path.display());
            let hint = format!("its first line names: {}", self.names.join(", "));
            Diagnostic::error("PR0602", message).hint(hint)
        };
        missing.map(|(field, _)| fault(field.name())).collect()
    }
}

/// Decodes the lines of files whose first lines are known.
#[derive(Debug)]
pub(crate) struct CsvDecoder {
    schema: SchemaRef,
    /// By part.
    headers: HashMap<String, Header>,
}

impl CsvDecoder {
    /// Reads the first line of each file.
    pub(crate) fn open(
        schema: SchemaRef,
        parts: &[(String, PathBuf)],
    ) -> Result<Self, Vec<Diagnostic>> {
        check(&schema)?;
        let (mut headers, mut faults) = (HashMap::new(), Vec::new());
        for (part, path) in parts {
            let line = first_line(path).map_err(|error| vec![open_failed("read", path, &error)])?;
            let Some(line) = line else { continue };
            match Header::of(&line, &schema) {
                Some(header) => {
                    faults.extend(header.missing(&schema, path));
                    headers.insert(part.clone(), header);
                }
                None => faults.push(no_header(path)),
            }
        }
        if faults.is_empty() { Ok(Self { schema, headers }) } else { Err(faults) }
    }
}

fn no_header(path: &Path) -> Diagnostic {
    let message = format!("the first line of {} does not name its columns", path.display());
    Diagnostic::error("PR0602", message).hint("begin it with a line such as user_id,ts,amount")
}

/// The first line of a file; `None` if it is empty.
fn first_line(path: &Path) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    BufReader::new(File::open(path)?.take(RECORD_BYTES_MAX as u64)).read_line(&mut line)?;
    Ok((!line.is_empty()).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

impl Decoder for CsvDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let ChunkData::Lines(bytes) = &chunk.data else {
            return Err(source_bug("the CSV decoder was given no lines"));
        };
        let Some(header) = self.headers.get(&chunk.start.part) else {
            return Err(source_bug(format!("the columns of {} are not known", chunk.start.part)));
        };
        let mut rows = Rows::new(&self.schema, header);
        text_lines::for_each(bytes, |at, line, text| {
            let is_header = chunk.start.offset == 0 && at == 0;
            if !line.is_empty() && !is_header {
                rows.add(at..at + line.len(), text);
            }
        });
        let (columns, lines, rejects) = rows.finish()?;
        rejects.finish(&self.schema, columns, lines.len(), |row| place(chunk, bytes, &lines, row))
    }
}

/// The rows of a chunk, as texts.
struct Rows<'d> {
    schema: &'d SchemaRef,
    header: &'d Header,
    record: Record,
    columns: Vec<StringBuilder>,
    lines: Vec<Range<usize>>,
    rejects: Rejects,
}

impl<'d> Rows<'d> {
    fn new(schema: &'d SchemaRef, header: &'d Header) -> Self {
        let columns = schema.fields().iter().map(|_| StringBuilder::new()).collect();
        let (record, lines, rejects) = (Record::default(), Vec::new(), Rejects::default());
        Self { schema, header, record, columns, lines, rejects }
    }

    fn add(&mut self, line: Range<usize>, text: Result<&str, Box<Bad>>) {
        let fields = self.header.names.len();
        let read = text.and_then(|text| self.record.read(text, fields));
        let bad = read.err().map(|bad| self.rejects.add(self.lines.len(), *bad));
        self.lines.push(line);
        let places = self.schema.fields().iter().zip(&self.header.fields);
        for ((field, place), column) in places.zip(&mut self.columns) {
            let value = place.and_then(|place| self.record.field(place)).filter(|_| bad.is_none());
            match value {
                Some("") if field.is_nullable() || *field.data_type() != DataType::Utf8 => {
                    column.append_null();
                }
                value => column.append_option(value),
            }
        }
    }

    fn finish(mut self) -> Result<(Vec<ArrayRef>, Vec<Range<usize>>, Rejects), SourceError> {
        let fields = self.schema.fields().iter().zip(&mut self.columns);
        let columns = fields.map(|(field, texts)| {
            let texts: ArrayRef = Arc::new(texts.finish());
            self.rejects.convert(&texts, field)
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok((columns, self.lines, self.rejects))
    }
}

/// The fields of one line.
#[derive(Default)]
struct Record {
    text: String,
    ends: Vec<usize>,
}

impl Record {
    /// Reads a line that must have so many fields, or any number if that is `usize::MAX`.
    fn read(&mut self, line: &str, fields: usize) -> Result<(), Box<Bad>> {
        self.text.clear();
        self.ends.clear();
        if memchr::memchr_iter(b'"', line.as_bytes()).count() % 2 > 0 {
            let what = "a quote is not closed in its line; a record is one line, and a quote in a field is written twice";
            return Err(Bad::new("bad_csv", what.to_owned()));
        }
        let mut text = std::mem::take(&mut self.text).into_bytes();
        text.resize(line.len(), 0);
        // One more than there are commas.
        let commas = memchr::memchr_iter(b',', line.as_bytes()).count();
        self.ends.resize(commas + 2, 0);
        let (length, ends) = split(line.as_bytes(), &mut text, &mut self.ends);
        text.truncate(length);
        self.ends.truncate(ends);
        // Quotes and commas are ASCII, so what is left of a text is one.
        self.text = String::from_utf8(text).unwrap_or_default();
        if fields != usize::MAX && ends != fields {
            let what =
                format!("the record has {}, the first line of its file {fields}", counted(ends));
            return Err(Bad::new("bad_csv", what));
        }
        Ok(())
    }

    fn field(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|at| self.field(at))
    }
}

fn counted(fields: usize) -> String {
    if fields == 1 { "1 field".to_owned() } else { format!("{fields} fields") }
}

/// Splits a line; how many bytes and ends it wrote.
fn split(line: &[u8], text: &mut [u8], ends: &mut [usize]) -> (usize, usize) {
    let mut reader = Reader::new();
    let (result, read, written, ended) = reader.read_record(line, text, ends);
    if result != ReadRecordResult::InputEmpty {
        return (written, ended);
    }
    // The end of the line ends the record.
    let rest = line.get(read..).unwrap_or_default();
    let (text, ends) = (&mut text[written..], &mut ends[ended..]);
    let (_, _, more, last) = reader.read_record(rest, text, ends);
    (written + more, ended + last)
}

#[cfg(test)]
mod tests;
