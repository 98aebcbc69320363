//! The conformance suite on both connectors, and records that are too long.

use std::{fs, path::Path, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use postrider_core::{ErrorKind, Format, Polled, Position, Source};

use super::FileSource;
use crate::{
    RECORD_BYTES_MAX,
    conformance::source::{SourceCase, rest},
    format::files::FileFormat,
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// `megabytes` of records of about 400 bytes, without a line break at the end.
fn records(megabytes: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        text.push_str(&format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(300 + n % 200)));
        if text.len() > megabytes << 20 {
            return text;
        }
        text.push('\n');
    }
    text
}

/// A record of one byte more than the limit, and one of several times the limit.
fn with_long_records() -> String {
    let long = "y".repeat(RECORD_BYTES_MAX + 1);
    let longer = "z".repeat(3 * RECORD_BYTES_MAX + 77);
    format!("{}\n{long}\n{}\n{longer}\n{}", records(1), records(1), records(0))
}

mod single_file {
    use super::{Format, Path, SourceCase, fs, schema, with_long_records};
    use crate::conformance::source_conformance;

    fn prepare(dir: &Path) {
        fs::write(dir.join("in.ndjson"), with_long_records()).unwrap();
    }

    source_conformance!(SourceCase {
        connector: "single_file",
        format: Format::Json,
        options: &[("path", "in.ndjson")],
        schema,
        prepare,
        chunks: 6,
    });
}

mod filesystem {
    use super::{Format, Path, SourceCase, fs, records, schema};
    use crate::conformance::source_conformance;

    fn prepare(dir: &Path) {
        let dir = dir.join("in");
        fs::create_dir_all(dir.join("folder.ndjson")).unwrap();
        for (name, text) in [
            ("2.ndjson", records(1)),
            ("10.ndjson", records(2)),
            ("empty.ndjson", String::new()),
            ("3.ndjson", records(0)),
            ("other.csv", "a,b\n".to_owned()),
            (".4.ndjson", "{}\n".to_owned()),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    source_conformance!(SourceCase {
        connector: "filesystem",
        format: Format::Json,
        options: &[("path", "in"), ("pattern", "*.ndjson")],
        schema,
        prepare,
        chunks: 6,
    });
}

fn source(dir: &Path, text: &str) -> FileSource {
    let path = dir.join("in.ndjson");
    fs::write(&path, text).unwrap();
    FileSource::new(FileFormat::Lines, vec![(String::new(), path)])
}

#[tokio::test]
async fn a_record_that_is_too_long_is_one_chunk_of_bounded_size() {
    let dir = tempfile::tempdir().unwrap();
    let exact = "a".repeat(RECORD_BYTES_MAX);
    let long = "b".repeat(5 * RECORD_BYTES_MAX);
    let mut source = source(dir.path(), &format!("{exact}\n{long}\n{{}}\n"));
    let chunks = rest(&mut source).await;
    let sizes: Vec<usize> =
        chunks.iter().map(|chunk| chunk.bytes.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [RECORD_BYTES_MAX + 1, RECORD_BYTES_MAX + 1, 3]);
    assert!(chunks[0].bytes.as_ref().unwrap().ends_with(b"\n"), "a record of the limit is whole");
    assert_eq!(chunks[1].end.offset, 6 * RECORD_BYTES_MAX as u64 + 2);
}

#[tokio::test]
async fn a_file_that_shrank_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = source(dir.path(), "{}\n");
    let error = source.seek(Some(Position::at(4))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.message.contains("in.ndjson has 3 bytes"), "{error}");
}

#[tokio::test]
async fn a_file_that_vanished_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = source(dir.path(), "{}\n");
    fs::remove_file(dir.path().join("in.ndjson")).unwrap();
    let error = source.poll(None).await.unwrap_err();
    assert!(error.message.contains("in.ndjson") && error.message.contains("check the path"));
}

#[tokio::test]
async fn a_part_that_vanished_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    fs::write(&path, "{}\n").unwrap();
    let mut source = FileSource::new(FileFormat::Lines, vec![("b".to_owned(), path)]);
    for part in ["a", "c"] {
        let position = Position { part: part.to_owned(), offset: 5 };
        let error = source.seek(Some(position)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data);
        assert!(error.message.contains("put the old file back"), "{error}");
    }
}

#[tokio::test]
async fn parts_are_read_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = Vec::new();
    for name in ["a", "b", "c"] {
        let path = dir.path().join(name);
        fs::write(&path, format!("{{\"{name}\":1}}\n")).unwrap();
        parts.push((name.to_owned(), path));
    }
    let mut source = FileSource::new(FileFormat::Lines, parts);
    // A part that is gone and of which nothing was read: reading goes on behind it.
    source.seek(Some(Position { part: "aa".to_owned(), offset: 0 })).await.unwrap();
    let until = Position { part: "bb".to_owned(), offset: 0 };
    assert!(matches!(source.poll(Some(&until)).await.unwrap(), Polled::Chunk(_)));
    assert!(matches!(source.poll(Some(&until)).await.unwrap(), Polled::Empty));
    assert_eq!(rest(&mut source).await[0].start.part, "c");
}
