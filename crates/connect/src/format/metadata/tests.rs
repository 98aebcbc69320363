use std::{collections::HashMap, fs, sync::Arc};

use arrow_array::{Array, cast::AsArray, types::Int64Type};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use postrider_core::{
    Chunk, ChunkData, ClockTime, Decoder, Format, METADATA_KEY, Polled, Position, Record,
};

use super::{check_metadata, with_metadata};
use crate::{
    JsonDecoder, JsonOptions, SourceSpec,
    conformance::{options, source::StoppedClock},
    open_source,
};

fn told(name: &str, data_type: DataType, key: &str) -> Field {
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), key.to_owned())]);
    Field::new(name, data_type, true).with_metadata(metadata)
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// The rows of a file: its only column, its place and its name.
async fn rows_of(text: &str, format: Format, column: &str) -> Vec<(String, i64, String)> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.txt"), text).unwrap();
    let options = options(&[("path", "in.txt")]);
    let fields = vec![
        told("at", DataType::Int64, "position"),
        Field::new(column, DataType::Utf8, false),
        told("file", DataType::Utf8, "path"),
    ];
    let spec = SourceSpec {
        options,
        format,
        json: postrider_core::JsonForm::default(),
        schema: schema(fields),
        base_dir: dir.path(),
        env: &|_| None,
        clock: Arc::new(StoppedClock::default()),
    };
    let mut parts = open_source("single_file", spec).unwrap();
    let mut rows = Vec::new();
    while let Polled::Chunk(chunk) = parts.source.poll(None).await.unwrap() {
        let decoded = parts.decoder.decode(&chunk).unwrap();
        let (at, texts) = (decoded.rows.column(0), decoded.rows.column(1));
        let (at, texts) = (at.as_primitive::<Int64Type>(), texts.as_string::<i32>());
        let files = decoded.rows.column(2).as_string::<i32>();
        rows.extend(
            (0..texts.len()).map(|row| {
                (texts.value(row).to_owned(), at.value(row), files.value(row).to_owned())
            }),
        );
    }
    rows
}

#[tokio::test]
async fn the_position_of_a_row_is_where_its_record_begins() {
    let json =
        "\u{feff}{\"v\":\"a\"}\n \t\r\n{\"v\":1\n{\"x\":1}\n{\"v\":\"b\"}\r\n\n{\"v\":\"c\"}";
    let csv = "v,w\r\na,1\r\n\r\nb\n\"c,d\",2\n";
    let raw = "a\n\n b\nc";
    let name = "in.txt";
    for (text, format, found) in [
        (json, Format::Json, vec![("a", 0), ("b", 32), ("c", 44)]),
        (csv, Format::Csv, vec![("a", 5), ("c,d", 14)]),
        (raw, Format::RawString, vec![("a", 0), ("", 2), (" b", 3), ("c", 6)]),
    ] {
        let rows = rows_of(text, format, "v").await;
        let found = found.into_iter().map(|(v, at)| (v.to_owned(), at, name.to_owned()));
        assert_eq!(rows, found.collect::<Vec<_>>(), "{format:?}");
    }
}

#[test]
fn events_tell_what_was_noted_when_they_came() {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = vec![
        told("id", DataType::Utf8, "message_id"),
        Field::new("v", DataType::Int64, false),
        told("came", time, "received_at"),
        told("role", DataType::Utf8, "key_role"),
        told("at", DataType::Int64, "position"),
    ];
    let open = |schema| -> Result<Arc<dyn Decoder>, _> {
        Ok(Arc::new(JsonDecoder::new(schema, JsonOptions { envelope: true })?))
    };
    let schema = schema(fields);
    let decoder = with_metadata("collector", Format::Json, &schema, HashMap::new(), open).unwrap();
    let record = |body: &'static str, id: &str, at: u64| Record {
        body: body.into(),
        received_at: ClockTime(at as i64 * 1_000_000),
        position: Position::at(at),
        message_id: id.to_owned(),
        key_role: "server",
    };
    let records =
        vec![record(r#"{"v":1}"#, "m1", 3), record("{}", "m2", 5), record(r#"{"v":2}"#, "", 7)];
    let data = ChunkData::Records(records);
    let chunk = Chunk { start: Position::at(3), end: Position::at(9), data };
    let decoded = decoder.decode(&chunk).unwrap();
    assert_eq!(decoded.rejects.len(), 1);
    let shown = arrow_cast::pretty::pretty_format_batches(&[decoded.rows]).unwrap().to_string();
    let wanted = "\
+----+---+-------------------------+--------+----+
| id | v | came                    | role   | at |
+----+---+-------------------------+--------+----+
| m1 | 1 | 1970-01-01T00:00:00.003 | server | 3  |
|    | 2 | 1970-01-01T00:00:00.007 | server | 7  |
+----+---+-------------------------+--------+----+";
    assert_eq!(shown, wanted);
}

#[test]
fn unknown_keys_and_other_types_are_refused() {
    let check = |connector: &str, format, field: Field| {
        let faults =
            check_metadata(connector, format, &schema(vec![field]), |_| Ok(())).unwrap_err();
        faults.iter().map(|fault| format!("{} {:?}", fault.message, fault.hint)).collect::<String>()
    };
    let said = check("collector", Format::Json, told("a", DataType::Utf8, "mesage_id"));
    assert!(said.contains("did you mean 'message_id'") && said.contains("received_at"), "{said}");
    let said = check("filesystem", Format::Csv, told("a", DataType::Utf8, "position"));
    assert!(said.contains("is TEXT, but metadata 'position' is BIGINT"), "{said}");
    let said = check(
        "collector",
        Format::Json,
        told("a", DataType::Utf8, "message_id").with_nullable(false),
    );
    assert!(said.contains("NOT NULL"), "{said}");
    let said = check("stdout", Format::Json, told("a", DataType::Utf8, "path"));
    assert!(said.contains("has no metadata"), "{said}");
}
