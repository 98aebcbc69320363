use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array, ListArray,
    RecordBatch, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    types::{Int32Type, Int64Type},
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field};
use minijinja::Environment;

use super::TriggerRows;

fn batch() -> RecordBatch {
    let texts =
        |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let product = StructArray::from(vec![(
        Arc::new(Field::new("name", DataType::Utf8, true)),
        texts(&[Some("Mug"), None]),
    )]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("recipient_key", texts(&[Some("u1"), Some("u2")])),
        ("dedupe_key", Arc::new(StringViewArray::from(vec!["c1", "c2"]))),
        ("email", texts(&[Some("a@b.example"), None])),
        (
            "fire_ts",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC"),
            ),
        ),
        ("n", Arc::new(Int32Array::from(vec![Some(-3), None]))),
        ("f", Arc::new(Float64Array::from(vec![2.5, 3.0]))),
        ("yes", Arc::new(BooleanArray::from(vec![true, false]))),
        (
            "price",
            Arc::new(Decimal128Array::from(vec![1250, 1]).with_precision_and_scale(10, 2).unwrap()),
        ),
        ("tag", Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("new"), Some("old")]))),
        (
            "ids",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
            ])),
        ),
        ("product", Arc::new(product)),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

#[test]
fn rows_survive_the_log_and_have_typed_keys() {
    let batch = batch();
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let rows = TriggerRows::decode(&stream).unwrap();
    assert_eq!(rows.len(), 2);
    let row = rows.row(0);
    assert_eq!((row.recipient_key, row.dedupe_key, row.email), ("u1", "c1", Some("a@b.example")));
    assert_eq!(row.fire_ts, Some(1_500_000_000));
    assert_eq!((rows.row(1).email, rows.row(1).fire_ts), (None, None));
}

#[test]
fn cells_are_template_values() {
    let rows = TriggerRows::of(&batch()).unwrap();
    let render = |row: usize, template: &str| {
        Environment::new().render_str(template, rows.variables(row)).unwrap()
    };
    assert_eq!(
        render(
            0,
            "{{ n }} {{ f }} {{ yes }} {{ price }} {{ tag }} {{ fire_ts }} {{ product.name }}"
        ),
        "-3 2.5 True 12.5 new 1970-01-01T00:00:01.500Z Mug"
    );
    assert_eq!(render(0, "{% for i in ids %}[{{ i }}]{% endfor %}"), "[1][]");
    assert_eq!(render(1, "{{ n | default('-') }}{{ ids | default('-') }}{{ product.name }}"), "--");
    assert_eq!(render(0, "{{ recipient_key }}{{ dedupe_key }}{{ email }}"), "a@b.example");
}

#[test]
fn damaged_rows_are_an_error() {
    assert!(TriggerRows::decode(b"nonsense").is_err());
    let keyless = batch().project(&[0, 2]).unwrap();
    assert!(TriggerRows::of(&keyless).is_err());
}
