//! The contract of `DataSink`, tested on sinks that write files.

use std::{
    fs,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use postrider_core::{DataSink, Diagnostic, ErrorKind, Format, JsonForm, Polled};

use super::{options, source::StoppedClock};
use crate::{SharedWriter, SinkSpec, SourceSpec, open_sink, open_source};

/// A table that writes below a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSinkCase {
    pub(crate) connector: &'static str,
    pub(crate) format: Format,
    pub(crate) path: &'static str,
    /// An option that is set to 1, or empty.
    pub(crate) options: &'static str,
}

fn schema() -> SchemaRef {
    let fields =
        vec![Field::new("n", DataType::Int64, false), Field::new("s", DataType::Utf8, true)];
    Arc::new(Schema::new(fields))
}

/// Rows that tell their number.
pub(crate) fn batch(rows: Range<i64>) -> RecordBatch {
    let texts: StringArray = rows.clone().map(|row| Some(format!("row {row}"))).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(rows)), Arc::new(texts)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The rows as they are written, but for what a file begins with.
fn lines(case: &FileSinkCase, rows: Range<i64>) -> String {
    let line = |row| match case.format {
        Format::Csv => format!("{row},row {row}\n"),
        _ => format!("{{\"n\":{row},\"s\":\"row {row}\"}}\n"),
    };
    rows.map(line).collect()
}

/// What a file begins with.
const CSV_HEADER: &str = "n,s\n";

/// Opens a sink of [`batch`]'s columns.
pub(crate) fn open_with(
    connector: &str,
    dir: &Path,
    values: &[(&str, &str)],
    stdout: SharedWriter,
) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    open_as(connector, Format::Json, dir, values, stdout)
}

fn open_as(
    connector: &str,
    format: Format,
    dir: &Path,
    values: &[(&str, &str)],
    stdout: SharedWriter,
) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    let spec = SinkSpec {
        options: options(values),
        format,
        json: JsonForm::default(),
        schema: schema(),
        base_dir: dir,
        env: &|_| None,
        stdout,
    };
    open_sink(connector, spec)
}

fn open(case: &FileSinkCase, dir: &Path) -> Box<dyn DataSink> {
    let mut values = vec![("path", case.path)];
    if !case.options.is_empty() {
        values.push((case.options, "1"));
    }
    let stdout = Arc::new(Mutex::new(Vec::new()));
    open_as(case.connector, case.format, dir, &values, stdout).unwrap()
}

/// What is in the sink's files, in the order of their names, without what each begins with.
fn contents(case: &FileSinkCase, dir: &Path) -> String {
    let path = dir.join(case.path);
    let read = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        if case.format != Format::Csv || text.is_empty() {
            return text;
        }
        text.strip_prefix(CSV_HEADER).unwrap().to_owned()
    };
    if path.is_file() {
        return read(&path);
    }
    let mut files: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

pub(crate) async fn crash_after_flush(case: &FileSinkCase) {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(case, dir.path());
    sink.restore(None).await.unwrap();
    sink.write(&batch(0..3)).await.unwrap();
    let sealed = sink.flush().await.unwrap();
    assert_eq!(contents(case, dir.path()), lines(case, 0..3));
    sink.write(&batch(3..5)).await.unwrap();
    sink.flush().await.unwrap();
    sink.write(&batch(5..6)).await.unwrap();
    drop(sink);

    let mut sink = open(case, dir.path());
    sink.restore(Some(sealed)).await.unwrap();
    assert_eq!(contents(case, dir.path()), lines(case, 0..3));
    sink.write(&batch(3..4)).await.unwrap();
    let end = sink.flush().await.unwrap();
    assert_eq!(contents(case, dir.path()), lines(case, 0..4));
    assert_eq!(sink.flush().await.unwrap(), end, "an empty epoch moves nothing");
}

pub(crate) async fn crash_at_every_epoch(case: &FileSinkCase) {
    let dir = tempfile::tempdir().unwrap();
    let mut sealed = None;
    for epoch in 0..6 {
        // The first attempt dies after its flush, the second is sealed.
        for attempt in 0..2 {
            let mut sink = open(case, dir.path());
            sink.restore(sealed).await.unwrap();
            sink.write(&batch(2 * epoch..2 * epoch + 2)).await.unwrap();
            let position = sink.flush().await.unwrap();
            if attempt == 1 {
                sealed = Some(position);
            }
        }
    }
    assert_eq!(contents(case, dir.path()), lines(case, 0..12));
}

pub(crate) async fn starts_empty(case: &FileSinkCase) {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut sink = open(case, dir.path());
        sink.restore(None).await.unwrap();
        assert_eq!(contents(case, dir.path()), "");
        assert_eq!(sink.flush().await.unwrap(), 0);
        sink.write(&batch(0..2)).await.unwrap();
        sink.flush().await.unwrap();
        sink.write(&batch(2..4)).await.unwrap();
        sink.flush().await.unwrap();
    }
}

pub(crate) async fn notices_loss(case: &FileSinkCase) {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(case, dir.path());
    sink.restore(None).await.unwrap();
    sink.write(&batch(0..2)).await.unwrap();
    let sealed = sink.flush().await.unwrap();
    let error = open(case, dir.path()).restore(Some(sealed + 1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.message.contains("sealed"), "{error}");
}

pub(crate) async fn round_trip(case: &FileSinkCase) {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(case, dir.path());
    sink.restore(None).await.unwrap();
    for epoch in 0..3 {
        sink.write(&batch(5 * epoch..5 * epoch + 5)).await.unwrap();
        sink.flush().await.unwrap();
    }
    let spec = SourceSpec {
        options: options(&[("path", case.path)]),
        format: case.format,
        json: JsonForm::default(),
        schema: schema(),
        base_dir: dir.path(),
        env: &|_| None,
        clock: Arc::new(StoppedClock::default()),
    };
    let mut parts = open_source(case.connector, spec).unwrap();
    let mut rows = Vec::new();
    while let Polled::Chunk(chunk) = parts.source.poll(None).await.unwrap() {
        let decoded = parts.decoder.decode(&chunk).unwrap();
        assert!(decoded.rejects.is_empty());
        rows.push(decoded.rows);
    }
    let first = |rows: &RecordBatch| rows.slice(0, 1);
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 15);
    assert_eq!(first(&rows[0]), batch(0..1));
}
