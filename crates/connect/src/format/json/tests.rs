//! The decoder against `serde_json` and against garbage.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int64Array, RecordBatch, StringArray, Time64NanosecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    cast::AsArray,
    types::{Float64Type, Int64Type, TimestampMillisecondType, TimestampNanosecondType},
};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use postrider_core::{Chunk, ChunkData, ClockTime, Decoded, Decoder, Position, Record};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use super::{JsonDecoder, JsonEncoder, JsonOptions};

fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields: Vec<Field> =
        columns.iter().map(|(name, kind, null)| Field::new(*name, kind.clone(), *null)).collect();
    Arc::new(Schema::new(fields))
}

fn lines(text: impl Into<Vec<u8>>) -> Chunk {
    let bytes = Bytes::from(text.into());
    let end = Position::at(100 + bytes.len() as u64);
    Chunk { start: Position::at(100), end, data: ChunkData::Lines(bytes) }
}

fn decode(schema: &SchemaRef, text: impl Into<Vec<u8>>) -> Decoded {
    let decoder = JsonDecoder::new(Arc::clone(schema), JsonOptions::default()).unwrap();
    decoder.decode(&lines(text)).unwrap()
}

/// The rows as JSON objects without their nulls.
fn as_json(decoded: &Decoded) -> Vec<Value> {
    let mut out = Vec::new();
    JsonEncoder::default().encode(&decoded.rows, &mut out).unwrap();
    out.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The only reject of a one-line chunk.
fn fault(data_type: DataType, nullable: bool, value: &str) -> (&'static str, String) {
    let schema = schema(&[("x", data_type, nullable)]);
    let mut decoded = decode(&schema, format!("{{\"x\":{value}}}\n{{\"x\":}}\n"));
    assert_eq!(decoded.rows.num_rows(), 0, "{value} was taken");
    let reject = decoded.rejects.swap_remove(0);
    assert_eq!(reject.position, Position::at(100));
    (reject.reason, reject.message)
}

/// The value that a TEXT-free type reads from `value`, written back.
fn taken(data_type: DataType, value: &str) -> Value {
    let decoded = decode(&schema(&[("x", data_type, true)]), format!("{{\"x\":{value}}}"));
    assert_eq!(decoded.rejects.len(), 0, "{:?}", decoded.rejects);
    as_json(&decoded).swap_remove(0).get("x").cloned().unwrap_or(Value::Null)
}

const NS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

#[test]
fn every_type_takes_its_values() {
    assert_eq!(taken(DataType::Boolean, "true"), json!(true));
    assert_eq!(taken(DataType::Int8, "-128"), json!(-128));
    assert_eq!(taken(DataType::UInt64, "18446744073709551615"), json!(u64::MAX));
    assert_eq!(taken(DataType::Int32, "3.0"), json!(3));
    assert_eq!(taken(DataType::Float64, "1e-3"), json!(0.001));
    assert_eq!(taken(DataType::Float32, "16777217.0"), json!(16_777_216.0));
    assert_eq!(taken(DataType::Decimal128(10, 2), "19.995"), json!(20.0));
    assert_eq!(taken(DataType::Decimal128(10, 2), "\"-7\""), json!(-7.0));
    assert_eq!(taken(DataType::Binary, "\"aGk\""), json!("aGk="));
    assert_eq!(taken(DataType::Date32, "\"2026-11-24\""), json!("2026-11-24"));
    assert_eq!(
        taken(DataType::Time64(TimeUnit::Nanosecond), "\"10:00:00.5\""),
        json!("10:00:00.500")
    );
    assert_eq!(taken(NS, "\"2026-11-24 12:00:00+02:00\""), json!("2026-11-24T10:00:00Z"));
    assert_eq!(taken(NS, "1700000000000"), json!("2023-11-14T22:13:20Z"));
    assert_eq!(taken(NS, "1700000000000.25"), json!("2023-11-14T22:13:20.000250Z"));
    let far = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    assert_eq!(taken(far, "\"9999-12-31T23:59:59Z\""), json!(253_402_300_799_000.0));
    assert_eq!(taken(DataType::Utf8View, "\"a\\u00e9\\n\""), json!("aé\n"));
    assert_eq!(taken(DataType::Utf8, "null"), Value::Null);
}

#[test]
fn a_text_column_takes_any_value_as_json_text() {
    for value in ["1.50", "true", "{ \"a\": [1, 2] }", "[]"] {
        assert_eq!(taken(DataType::Utf8, value), json!(value));
    }
}

#[test]
fn nested_values_and_their_faults() {
    let item = Fields::from(vec![
        Field::new("sku", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
    ]);
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Struct(item), true)));
    let schema = schema(&[("id", DataType::Int64, false), ("items", list, true)]);
    let decoded = decode(
        &schema,
        concat!(
            r#"{"id":1,"items":[{"sku":"a","n":1},null,{"n":2,"sku":"b","other":[{}]}]}"#,
            "\n",
            r#"{"id":2,"items":[{"sku":"c"},{"n":1}]}"#,
            "\n",
            r#"{"items":[],"id":3}"#,
            "\n",
            r#"{"id":4,"items":null}"#,
        ),
    );
    assert_eq!(
        as_json(&decoded),
        [
            json!({"id": 1, "items": [{"sku": "a", "n": 1}, null, {"sku": "b", "n": 2}]}),
            json!({"id": 3, "items": []}),
            json!({"id": 4}),
        ]
    );
    assert_eq!(decoded.rejects.len(), 1);
    assert_eq!(
        decoded.rejects[0].message,
        "column `items.item.sku` is NOT NULL, but its field is missing"
    );
}

#[test]
fn faults_name_the_column_and_what_was_found() {
    let cases = [
        (
            fault(DataType::Int64, false, "null"),
            "missing_value",
            "column `x` is NOT NULL, but its field is null",
        ),
        (
            fault(DataType::Int64, true, "\"7\""),
            "wrong_type",
            "column `x` is BIGINT, but its field is the text \"7\"",
        ),
        (
            fault(DataType::Int64, true, "1.5"),
            "wrong_type",
            "column `x` is BIGINT, but its field is the number 1.5",
        ),
        (
            fault(DataType::Int8, true, "128"),
            "out_of_range",
            "column `x` is TINYINT, which can't hold 128",
        ),
        (
            fault(DataType::UInt8, true, "-1"),
            "out_of_range",
            "column `x` is TINYINT UNSIGNED, which can't hold -1",
        ),
        (
            fault(DataType::Float64, true, "1e999"),
            "out_of_range",
            "column `x` is DOUBLE, which can't hold 1e999",
        ),
        (
            fault(DataType::Decimal128(3, 2), true, "10"),
            "out_of_range",
            "column `x` is DECIMAL(3, 2), which can't hold 10",
        ),
        (
            fault(DataType::Boolean, true, "{\"a\":1}"),
            "wrong_type",
            "column `x` is BOOLEAN, but its field is the object {\"a\":1}",
        ),
        (
            fault(NS, true, "\"soon\""),
            "bad_value",
            "column `x` is TIMESTAMP, but its field is 'soon'; write '2026-11-24T10:00:00Z' or a number of milliseconds",
        ),
        (fault(NS, true, "1e30"), "out_of_range", "column `x` is TIMESTAMP, which can't hold 1e30"),
        (
            fault(DataType::Utf8, true, "tru"),
            "bad_json",
            "invalid JSON at byte 5: expected true, found 't'",
        ),
        (
            fault(DataType::Utf8, true, "1}x"),
            "bad_json",
            "invalid JSON at byte 7: expected the end of the record, found 'x'",
        ),
    ];
    for ((reason, message), expected_reason, expected) in cases {
        assert_eq!((reason, message.as_str()), (expected_reason, expected));
    }
}

#[test]
fn a_bad_record_costs_that_record_only() {
    let schema = schema(&[("a", DataType::Int64, false), ("s", DataType::Utf8, true)]);
    let deep = format!("{{\"a\":1,\"z\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let long = format!("{{\"a\":2,\"s\":\"{}\"}}", "x".repeat(1 << 20));
    let mut text = Vec::new();
    for line in [
        b"\xef\xbb\xbf{\"a\":1}\r".as_slice(),
        b"  ",
        b"{\"s\":\"\xff\",\"a\":2}",
        b"[1]",
        deep.as_bytes(),
        long.as_bytes(),
        b"{\"a\":3,\"a\":\"second\",\"s\":\"y\"}",
        b"{\"a\":4,}",
        b"{\"a\":5,\"z\":\"\\ud800\"}",
        b"{\"a\":6,\"s\":\"\\ud800\"}",
        b"{\"a\":7}\0",
        &[b'['; 1 << 19],
    ] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let decoded = decode(&schema, text);
    assert_eq!(decoded.rows.column(0).as_primitive::<Int64Type>().values()[..], [1, 3, 5]);
    let reasons: Vec<_> = decoded.rejects.iter().map(|reject| reject.reason).collect();
    assert_eq!(
        reasons,
        [
            "bad_utf8",
            "not_an_object",
            "too_deep",
            "too_large",
            "bad_json",
            "bad_json",
            "bad_json",
            "too_deep",
        ]
    );
    assert_eq!(decoded.rejects[3].raw.len(), 64 << 10);
}

#[test]
fn other_white_space_and_order_are_learned_again() {
    let schema = schema(&[("a", DataType::Int64, true), ("b", DataType::Utf8, true)]);
    let decoded = decode(
        &schema,
        "{\"a\":1,\"b\":\"x\"}\n{ \"a\" : 2 , \"b\" : \"y\" }\n{\"b\":\"z\",\"a\":3}\n{}\n{\"\\u0061\":4}\n",
    );
    assert_eq!(
        as_json(&decoded),
        [
            json!({"a": 1, "b": "x"}),
            json!({"a": 2, "b": "y"}),
            json!({"a": 3, "b": "z"}),
            json!({}),
            json!({"a": 4}),
        ]
    );
}

fn record(body: &str, received_at: i64) -> Record {
    Record {
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at: ClockTime(received_at),
        position: Position::at(7),
        message_id: String::new(),
        key_role: "server",
    }
}

#[test]
fn envelope_columns_come_from_where_segment_puts_them() {
    let text = DataType::Utf8;
    let schema = schema(&[
        ("ts", NS, false),
        ("received_at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ("user_id", text.clone(), true),
        ("event", text.clone(), true),
        ("cart_id", text.clone(), true),
        ("price", DataType::Float64, true),
        ("plan", text.clone(), true),
        ("context_campaign_source", text.clone(), true),
        ("context_user_agent", text.clone(), true),
        ("properties", text, true),
    ]);
    let decoder = JsonDecoder::new(schema, JsonOptions { envelope: true }).unwrap();
    let first = r#"{"properties":{"cartId":"c1","price":9.5,"user_id":"no"},"userId":"u1","user_id":null,
        "event":"Product Added","timestamp":"2026-11-24T10:00:00Z","received_at":"1999-01-01T00:00:00Z",
        "context":{"campaign":{"source":"mail"},"userAgent":"curl"}}"#;
    let second = r#"{"traits":{"plan":"pro","price":1},"price":2,"price":3,"context":null}"#;
    let bad = r#"{"traits":{"price":"much"}}"#;
    let records = vec![record(first, 5_000_000), record(bad, 6_000_000), record(second, 7_000_000)];
    let chunk =
        Chunk { start: Position::at(7), end: Position::at(8), data: ChunkData::Records(records) };
    let decoded = decoder.decode(&chunk).unwrap();
    assert_eq!(
        as_json(&decoded),
        [
            json!({"ts": "2026-11-24T10:00:00Z", "received_at": "1970-01-01T00:00:00.005Z",
                "user_id": "u1", "event": "Product Added", "cart_id": "c1", "price": 9.5,
                "context_campaign_source": "mail", "context_user_agent": "curl",
                "properties": r#"{"cartId":"c1","price":9.5,"user_id":"no"}"#}),
            json!({"ts": "1970-01-01T00:00:00.007Z", "received_at": "1970-01-01T00:00:00.007Z",
                "price": 2.0, "plan": "pro"}),
        ]
    );
    assert_eq!(decoded.received_at, Some(Int64Array::from(vec![5_000_000, 7_000_000])));
    assert_eq!(decoded.rejects[0].position, Position::at(7));
    let ms = decoded.rows.column(1).as_primitive::<TimestampMillisecondType>();
    assert_eq!(ms.value(0), 5);
    assert_eq!(decoded.rows.column(0).as_primitive::<TimestampNanosecondType>().null_count(), 0);
}

#[test]
fn a_producer_can_not_forge_when_an_event_was_received() {
    const DAY: i64 = 86_400_000_000_000;
    let forged = r#"{"received_at":"1999-01-01","properties":{"received_at":"1999-01-01"}}"#;
    let decode = |kind: DataType| {
        let schema = schema(&[("received_at", kind, true)]);
        let decoder = JsonDecoder::new(schema, JsonOptions { envelope: true })?;
        let records = vec![record(forged, DAY + 5_000_000)];
        let (start, end) = (Position::at(7), Position::at(8));
        let chunk = Chunk { start, end, data: ChunkData::Records(records) };
        Ok::<_, Vec<postrider_core::Diagnostic>>(as_json(&decoder.decode(&chunk).unwrap()))
    };
    for (kind, expected) in [
        (NS, json!("1970-01-02T00:00:00.005Z")),
        (DataType::Date32, json!("1970-01-02")),
        (DataType::Int64, json!(86_400_005)),
        (DataType::Utf8, json!("1970-01-02T00:00:00.005Z")),
    ] {
        assert_eq!(decode(kind).unwrap(), [json!({ "received_at": expected })]);
    }
    for kind in [DataType::Time64(TimeUnit::Nanosecond), DataType::Float64, DataType::Boolean] {
        assert_eq!(decode(kind).unwrap_err()[0].code, "PR0210");
    }
}

#[test]
fn a_type_that_json_cannot_hold_is_refused() {
    let schema = schema(&[("d", DataType::Duration(TimeUnit::Second), true)]);
    let faults = JsonDecoder::new(schema, JsonOptions::default()).unwrap_err();
    assert_eq!(faults[0].code, "PR0210");
}

/// The columns of the property tests.
fn tested_schema() -> SchemaRef {
    let inner = Fields::from(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ]);
    let numbers = Field::new_list_field(DataType::Float64, true);
    schema(&[
        ("i", DataType::Int64, true),
        ("f", DataType::Float64, true),
        ("s", DataType::Utf8, true),
        ("t", DataType::Boolean, true),
        ("st", DataType::Struct(inner), true),
        ("l", DataType::List(Arc::new(numbers)), true),
    ])
}

/// Any JSON value, a few levels deep.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A record that fits [`tested_schema`], with fields that it doesn't have.
fn good_record() -> impl Strategy<Value = Vec<(String, Value)>> {
    // Exact in binary, so that the oracle's own rounding does not matter.
    let finite = any::<i32>().prop_map(|eighths| f64::from(eighths) / 8.0);
    let columns = (
        option::of(any::<i64>()),
        option::of(finite.clone()),
        option::of(any::<String>()),
        option::of(any::<bool>()),
        option::of((option::of(any::<i64>()), option::of(any::<String>()))),
        option::of(vec(option::of(finite), 0..5)),
    );
    (columns, vec((any::<String>(), any_value()), 0..4), any::<u64>()).prop_map(
        |((i, f, s, t, st, l), extra, order)| {
            let mut fields = vec![
                ("i".to_owned(), json!(i)),
                ("f".to_owned(), json!(f)),
                ("s".to_owned(), json!(s)),
                ("t".to_owned(), json!(t)),
                ("st".to_owned(), json!(st.map(|(a, b)| json!({"a": a, "b": b})))),
                ("l".to_owned(), json!(l)),
            ];
            fields.extend(extra.into_iter().map(|(key, value)| (format!("x{key}"), value)));
            let turn = usize::try_from(order % 7).unwrap_or(0) % fields.len();
            if order % 3 == 0 {
                fields.rotate_left(turn);
            }
            fields
        },
    )
}

/// Writes a record with white space that depends on `style`.
fn write(fields: &[(String, Value)], style: usize) -> String {
    let (comma, colon) = [(",", ":"), (", ", ": "), (" ,\t", " :\t")][style % 3];
    let body: Vec<String> =
        fields.iter().map(|(key, value)| format!("{}{colon}{value}", json!(key))).collect();
    format!("{{{}}}", body.join(comma))
}

/// What the decoder should make of a record, from `serde_json`'s reading of its text.
fn expected(text: &str) -> Value {
    let record: Map<String, Value> = serde_json::from_str(text).unwrap();
    let mut row = Map::new();
    for column in ["i", "f", "s", "t", "st", "l"] {
        match record.get(column) {
            None | Some(Value::Null) => {}
            Some(Value::Object(inner)) => {
                let kept = inner.iter().filter(|(_, value)| !value.is_null());
                row.insert(column.to_owned(), kept.map(|(k, v)| (k.clone(), v.clone())).collect());
            }
            Some(value) => {
                row.insert(column.to_owned(), value.clone());
            }
        }
    }
    Value::Object(row)
}

/// Columns of every flat type, nulls included.
fn any_columns() -> impl Strategy<Value = Vec<ArrayRef>> {
    let times = vec(option::of(any::<i64>()), 6);
    let days = vec(option::of(-700_000..2_900_000), 6);
    let clocks = vec(option::of(0..86_400_000_000_000_i64), 6);
    let decimals = vec(option::of(-(10_i128.pow(38)) + 1..10_i128.pow(38)), 6);
    let bytes = vec(option::of(vec(any::<u8>(), 0..9)), 6);
    let singles = vec(option::of(proptest::num::f32::NORMAL | proptest::num::f32::ZERO), 6);
    let doubles = vec(option::of(proptest::num::f64::NORMAL), 6);
    let texts = vec(option::of(any::<String>()), 6);
    ((times, days, clocks, decimals), (bytes, singles, doubles, texts)).prop_map(
        |((times, days, clocks, decimals), (bytes, singles, doubles, texts))| -> Vec<ArrayRef> {
            let decimals = Decimal128Array::from(decimals).with_precision_and_scale(38, 10);
            let zoned = TimestampNanosecondArray::from(times.clone()).with_timezone("UTC");
            vec![
                Arc::new(TimestampSecondArray::from(times.clone())),
                Arc::new(TimestampMillisecondArray::from(times.clone())),
                Arc::new(TimestampMicrosecondArray::from(times.clone())),
                Arc::new(TimestampNanosecondArray::from(times.clone())),
                Arc::new(zoned),
                Arc::new(Int64Array::from(times)),
                Arc::new(Date32Array::from(days)),
                Arc::new(Time64NanosecondArray::from(clocks)),
                Arc::new(decimals.unwrap()),
                Arc::new(bytes.iter().map(Option::as_ref).collect::<BinaryArray>()),
                Arc::new(Float32Array::from(singles)),
                Arc::new(Float64Array::from(doubles)),
                Arc::new(StringArray::from(texts)),
            ]
        },
    )
}

proptest! {
    #[test]
    fn every_type_is_read_back_as_it_was_written(columns in any_columns()) {
        let fields: Vec<Field> = (0..)
            .zip(&columns)
            .map(|(n, column)| Field::new(format!("c{n}"), column.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let mut out = Vec::new();
        JsonEncoder::default().encode(&rows, &mut out).unwrap();
        let decoded = decode(&schema, out);
        prop_assert_eq!(decoded.rejects.len(), 0, "{:?}", decoded.rejects);
        prop_assert_eq!(decoded.rows, rows);
    }

    #[test]
    fn good_records_decode_as_serde_json_reads_them(
        records in vec((good_record(), any::<usize>()), 1..8),
    ) {
        let texts: Vec<String> =
            records.iter().map(|(fields, style)| write(fields, *style)).collect();
        let decoded = decode(&tested_schema(), texts.join("\n"));
        prop_assert_eq!(decoded.rejects.len(), 0, "{:?}", decoded.rejects);
        let wanted: Vec<Value> = texts.iter().map(|text| expected(text)).collect();
        prop_assert_eq!(as_json(&decoded), wanted);
    }

    #[test]
    fn doubles_are_exact(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
        let decoded = decode(&schema(&[("f", DataType::Float64, true)]), format!("{{\"f\":{number:?}}}"));
        prop_assert_eq!(decoded.rows.column(0).as_primitive::<Float64Type>().value(0), number);
    }

    #[test]
    fn written_rows_are_read_back(records in vec(good_record(), 1..8)) {
        let texts: Vec<String> = records.iter().map(|fields| write(fields, 0)).collect();
        let once = decode(&tested_schema(), texts.join("\n"));
        let mut out = Vec::new();
        JsonEncoder::default().encode(&once.rows, &mut out).unwrap();
        let twice = decode(&tested_schema(), out);
        prop_assert_eq!(once.rows, twice.rows);
    }

    #[test]
    fn damaged_records_are_rows_or_rejects_and_broken_syntax_is_noticed(
        records in vec((good_record(), any::<usize>()), 1..5),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let texts: Vec<String> =
            records.iter().map(|(fields, style)| write(fields, *style)).collect();
        let mut bytes = texts.join("\n").into_bytes();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        check_garbage(&bytes)?;
    }

    #[test]
    fn no_bytes_panic(bytes in vec(prop_oneof![any::<u8>(), proptest::sample::select(
        b"{}[]\",:\\ntfu0123456789.-eE \n".to_vec())], 0..200)) {
        check_garbage(&bytes)?;
    }
}

/// Every line is a row or a reject, and what `serde_json` calls no JSON is no row.
fn check_garbage(bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = decode(&tested_schema(), bytes);
    let mut lines = 0;
    let mut offset = 100;
    for line in bytes.split(|byte| *byte == b'\n') {
        // A form feed is white space, but none of JSON's (RFC 8259 section 2).
        if !line.iter().all(|byte| b" \t\r".contains(byte)) {
            lines += 1;
            let syntax: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(line);
            let rejected = decoded.rejects.iter().any(|reject| reject.position.offset == offset);
            let lenient = line.starts_with(b"\xef\xbb\xbf");
            prop_assert!(rejected || syntax.is_ok() || lenient, "{:?}", line);
        }
        offset += line.len() as u64 + 1;
    }
    prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), lines);
    let envelope = JsonDecoder::new(tested_schema(), JsonOptions { envelope: true }).unwrap();
    let again = envelope.decode(&self::lines(bytes)).unwrap();
    prop_assert_eq!(again.rows.num_rows() + again.rejects.len(), lines);
    Ok(())
}
