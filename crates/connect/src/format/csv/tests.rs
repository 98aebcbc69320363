use std::{fs, path::Path, sync::Arc};

use arrow_array::{
    RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampMillisecondType},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use postrider_core::{Chunk, ChunkData, Decoded, Decoder, Format, Position};

use super::{CsvDecoder, check};
use crate::conformance::{source::SourceCase, source_conformance};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("note", DataType::Utf8, true),
    ]))
}

fn decode(text: &str) -> Decoded {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.csv");
    fs::write(&path, text).unwrap();
    let decoder = CsvDecoder::open(schema(), &[(String::new(), path)]).unwrap();
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let end = Position::at(bytes.len() as u64);
    decoder.decode(&Chunk { start: Position::at(0), end, data: ChunkData::Lines(bytes) }).unwrap()
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = rows.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn columns_are_found_by_name_quotes_are_undone_and_empty_is_null() {
    let decoded = decode(
        "\u{feff}ts,other,user_id,note,n\r\n\
         2026-11-24T10:00:00+01:00,x,u1,\"say \"\"hi\"\", Ö\",42\r\n\
         \n\
         ,,,,",
    );
    assert_eq!(decoded.rejects.len(), 0, "{:?}", decoded.rejects);
    let rows = &decoded.rows;
    assert_eq!(texts(rows, "user_id"), [Some("u1".to_owned()), Some(String::new())]);
    assert_eq!(texts(rows, "note"), [Some("say \"hi\", Ö".to_owned()), None]);
    let n: Vec<_> = rows.column(1).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(n, [Some(42), None]);
    let ts: Vec<_> = rows.column(2).as_primitive::<TimestampMillisecondType>().iter().collect();
    assert_eq!(ts, [Some(1_795_510_800_000), None]);
}

#[test]
fn a_bad_record_costs_itself_and_says_why() {
    let decoded = decode(
        "user_id,n,ts,note\nu1,1,,\nu2,one,,\nu3\nu4,4,\"2026\nu5,5,soon,\nu6,6,,x,y\nu7,7,,\n",
    );
    assert_eq!(texts(&decoded.rows, "user_id"), ["u1", "u7"].map(|text| Some(text.to_owned())));
    let rejects: Vec<_> = decoded
        .rejects
        .iter()
        .map(|reject| (reject.position.offset, reject.reason, reject.message.as_str()))
        .collect();
    assert_eq!(rejects[0], (25, "wrong_type", "column `n` is BIGINT, which can't hold one"));
    assert_eq!(rejects[1], (34, "bad_csv", "the record has 1 field, the first line of its file 4"));
    assert_eq!((rejects[2].0, rejects[2].1), (37, "bad_csv"));
    assert!(rejects[2].2.starts_with("a quote is not closed in its line"), "{}", rejects[2].2);
    assert_eq!((rejects[3].0, rejects[3].1), (48, "wrong_type"));
    assert_eq!(rejects[4].2, "the record has 5 fields, the first line of its file 4");
    assert_eq!(rejects.len(), 5);
    assert_eq!(&decoded.rejects[1].raw[..], b"u3");
}

#[test]
fn a_file_without_a_column_that_must_have_values_is_refused_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.csv");
    fs::write(&path, "id,n\n").unwrap();
    let faults = CsvDecoder::open(schema(), &[(String::new(), path)]).unwrap_err();
    assert_eq!(faults[0].code, "PR0602");
    assert!(faults[0].message.ends_with("in.csv has no column `user_id`"), "{}", faults[0]);
    assert_eq!(faults[0].hint.as_deref(), Some("its first line names: id, n"));
    let empty = dir.path().join("empty.csv");
    fs::write(&empty, "").unwrap();
    assert!(CsvDecoder::open(schema(), &[(String::new(), empty)]).is_ok(), "no rows, no columns");
}

#[test]
fn what_a_text_can_not_say_is_refused() {
    let list = DataType::new_list(DataType::Int64, true);
    let bad =
        Schema::new(vec![Field::new("a", list, true), Field::new("b", DataType::Binary, true)]);
    assert_eq!(check(&Arc::new(bad)).unwrap_err().len(), 2);
    assert!(check(&schema()).is_ok());
}

mod folder {
    use super::{Format, Path, SourceCase, fs, schema, source_conformance};

    fn prepare(dir: &Path) {
        let dir = dir.join("in");
        fs::create_dir_all(&dir).unwrap();
        let lines: String =
            (0..90_000).map(|n| format!("{n},u{n},2026-11-24,\"a, b\"\n")).collect();
        fs::write(dir.join("1.csv"), format!("n,user_id,ts,note\n{lines}")).unwrap();
        fs::write(dir.join("2.csv"), "user_id\nu1\nu2").unwrap();
        fs::write(dir.join("3.csv"), "user_id\n").unwrap();
    }

    source_conformance!(SourceCase {
        connector: "filesystem",
        format: Format::Csv,
        options: &[("path", "in")],
        schema,
        prepare,
        chunks: 4,
    });
}
