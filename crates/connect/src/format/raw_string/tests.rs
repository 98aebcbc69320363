use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use postrider_core::{Chunk, ChunkData, Decoder, Position};

use super::{RawStringDecoder, check};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, false)]))
}

fn chunk(bytes: &'static [u8]) -> Chunk {
    let (start, end) = (Position::at(100), Position::at(100 + bytes.len() as u64));
    Chunk { start, end, data: ChunkData::Lines(Bytes::from_static(bytes)) }
}

#[test]
fn each_line_is_a_row_also_an_empty_one_and_one_without_a_line_break() {
    let decoded = RawStringDecoder::new(schema())
        .decode(&chunk(b"a b\r\n\n{\"c\":1}\n\xff\xfe\nlast"))
        .unwrap();
    let texts: Vec<_> = decoded.rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(texts, ["a b", "", "{\"c\":1}", "last"]);
    let reject = &decoded.rejects[0];
    assert_eq!(
        (reject.position.offset, reject.reason, &reject.raw[..]),
        (114, "bad_utf8", &b"\xff\xfe"[..])
    );
}

#[test]
fn rows_are_counted_where_no_text_is_needed() {
    let none = RawStringDecoder::new(Arc::new(Schema::empty()));
    assert_eq!(none.decode(&chunk(b"a\nb\n")).unwrap().rows.num_rows(), 2);
}

#[test]
fn one_column_of_text_and_no_other_is_taken() {
    let of = |fields: Vec<Field>| check(&Arc::new(Schema::new(fields)));
    assert!(check(&schema()).is_ok());
    for fields in [
        vec![],
        vec![Field::new("n", DataType::Int64, true)],
        vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)],
    ] {
        assert_eq!(of(fields).unwrap_err()[0].code, "PR0210");
    }
}
