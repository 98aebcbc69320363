use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
    cast::AsArray,
    types::{Int32Type, TimestampNanosecondType},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use postrider_core::{Chunk, Decoded, Decoder, ErrorKind, Format, Position};

use super::{ParquetFile, RowsDecoder};
use crate::{
    conformance::{source::SourceCase, source_conformance},
    format::files::PartFile,
};

/// Writes row groups of so many rows.
fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group: usize) {
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Utf8, false),
        Field::new("n", DataType::Int32, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("not_there", DataType::Float64, true),
    ]))
}

fn events(path: &Path, rows: i64, group: usize) {
    let users: LargeStringArray = (0..rows).map(|n| Some(format!("u{n}"))).collect();
    let n: Int64Array = (0..rows).map(|n| (n % 7 > 0).then_some(n)).collect();
    let ts: TimestampMicrosecondArray = (0..rows).map(|n| Some(n * 1_000_000)).collect();
    let other: StringViewArray = (0..rows).map(|_| Some("not asked for")).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("other", Arc::new(other)),
        ("ts", Arc::new(ts.with_timezone("Europe/Berlin"))),
        ("user_id", Arc::new(users)),
        ("n", Arc::new(n)),
    ];
    write(path, columns, group);
}

fn first_chunk(path: &Path) -> Chunk {
    let mut file = ParquetFile::open(path, "", &schema()).unwrap();
    file.chunk(0, None).unwrap().unwrap()
}

fn decode(path: &Path) -> Decoded {
    let parts = [(String::new(), path.to_owned())];
    RowsDecoder::open(schema(), &parts).unwrap().decode(&first_chunk(path)).unwrap()
}

#[test]
fn columns_are_found_by_name_and_get_the_types_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.parquet");
    events(&path, 10, 4);
    let decoded = decode(&path);
    assert!(decoded.rejects.is_empty());
    let rows = decoded.rows;
    assert_eq!(rows.schema(), schema());
    assert_eq!(rows.column(0).as_string::<i32>().value(9), "u9");
    let n: Vec<_> = rows.column(1).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(n[6..], [Some(6), None, Some(8), Some(9)]);
    let ts = rows.column(2).as_primitive::<TimestampNanosecondType>();
    assert_eq!(ts.value(3), 3_000_000_000, "a moment keeps its UTC time");
    assert_eq!(rows.column(3).null_count(), 10);
}

#[test]
fn a_value_that_does_not_fit_costs_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.parquet");
    let users = StringViewArray::from(vec![Some("u1"), Some("u2"), None, Some("u4")]);
    let n = Int64Array::from(vec![Some(1), Some(3_000_000_000), Some(3), None]);
    write(&path, vec![("user_id", Arc::new(users)), ("n", Arc::new(n))], 100);
    let decoded = decode(&path);
    assert_eq!(decoded.rows.num_rows(), 2);
    let rejects: Vec<_> = decoded.rejects.iter().map(|r| (r.position.offset, r.reason)).collect();
    assert_eq!(rejects, [(1, "out_of_range"), (2, "missing_value")]);
    assert_eq!(decoded.rejects[0].message, "column `n` is INT, which can't hold 3000000000");
    assert_eq!(decoded.rejects[0].raw.trim_ascii(), br#"{"user_id":"u2","n":3000000000}"#);
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.parquet");
    let n: ArrayRef = Arc::new(StringViewArray::from(vec!["1"]));
    write(&path, vec![("id", Arc::new(Int32Array::from(vec![1]))), ("n", n)], 100);
    let faults = RowsDecoder::open(schema(), &[(String::new(), path)]).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(faults[0].message.ends_with("in.parquet has no column `user_id`"), "{}", faults[0]);
    assert_eq!(faults[0].hint.as_deref(), Some("it has: id, n"));
    assert!(faults[1].message.starts_with("column `n` is INT, but TEXT in "), "{}", faults[1]);
    let text = dir.path().join("text.parquet");
    std::fs::write(&text, "no parquet at all").unwrap();
    let faults = RowsDecoder::open(schema(), &[(String::new(), text)]).unwrap_err();
    assert_eq!(faults[0].code, "PR0601");
    assert!(faults[0].hint.as_ref().unwrap().contains("option `format`"), "{}", faults[0]);
}

#[test]
fn a_chunk_depends_on_its_start_alone_and_a_file_that_shrank_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.parquet");
    events(&path, 30_000, 5_000);
    let mut file = ParquetFile::open(&path, "", &schema()).unwrap();
    // Backwards, across borders of row groups, and on from where one was cut short.
    for (from, until) in
        [(20_000, None), (4_999, None), (0, Some(3)), (3, Some(4)), (4, None), (29_999, None)]
    {
        let chunk = file.chunk(from, until).unwrap().unwrap();
        assert_eq!(chunk.start.offset, from);
        let other =
            ParquetFile::open(&path, "", &schema()).unwrap().chunk(from, until).unwrap().unwrap();
        assert_eq!(format!("{chunk:?}"), format!("{other:?}"));
        let decoder = RowsDecoder { schema: schema() };
        let rows = decoder.decode(&chunk).unwrap().rows;
        assert_eq!(rows.column(0).as_string::<i32>().value(0), format!("u{from}"));
        assert_eq!(rows.num_rows() as u64, chunk.end.offset - from);
    }
    assert!(file.chunk(30_000, None).unwrap().is_none());
    let error = file.record_start(30_001).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.message.contains("in.parquet has 30000 rows"), "{error}");
    assert_eq!(Position::at(file.record_start(30_000).unwrap()), Position::at(30_000));
}

mod folder {
    use super::{Format, Path, SourceCase, events, schema, source_conformance};

    fn prepare(dir: &Path) {
        let dir = dir.join("in");
        std::fs::create_dir_all(&dir).unwrap();
        events(&dir.join("1.parquet"), 20_000, 3_000);
        events(&dir.join("2.parquet"), 1, 1);
        events(&dir.join("3.parquet"), 0, 1);
        events(&dir.join("4.parquet"), 8_192, 100_000);
    }

    source_conformance!(SourceCase {
        connector: "filesystem",
        format: Format::Parquet,
        options: &[("path", "in")],
        schema,
        prepare,
        chunks: 5,
    });
}
