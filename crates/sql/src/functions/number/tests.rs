//! What a browser writes, and what a reader expects of a rule.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, UInt64Array},
        datatypes::DataType,
    },
    common::{ScalarValue, config::ConfigOptions},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl},
};

use super::{Locale, all, coerce};

/// One call over one number.
fn call(name: &str, number: ArrayRef, how: ScalarValue, locale: Option<&str>) -> Option<String> {
    let function = all().into_iter().find(|function| function.name == name).unwrap();
    let locale = locale.map(|locale| ColumnarValue::Scalar(ScalarValue::from(locale)));
    let args = [ColumnarValue::Array(number), ColumnarValue::Scalar(how)].into_iter().chain(locale);
    let result = function.invoke_with_args(ScalarFunctionArgs {
        args: args.collect(),
        arg_fields: Vec::new(),
        number_rows: 1,
        return_field: Arc::new(datafusion::arrow::datatypes::Field::new("x", DataType::Utf8, true)),
        config_options: Arc::new(ConfigOptions::new()),
    });
    let result = result.unwrap().into_array(1).unwrap();
    let texts = result.as_string::<i32>();
    texts.is_valid(0).then(|| texts.value(0).to_owned())
}

fn float(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}

#[test]
fn a_number_is_written_as_icu_writes_it() {
    let mut compared = 0;
    for line in include_str!("icu.tsv").lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [locale, number, whole, two, euros, code, own] = fields.as_slice() else {
            panic!("{line}");
        };
        let number = || float(number.parse().unwrap());
        let written = |name, how| call(name, number(), how, Some(locale)).unwrap();
        assert_eq!(written("format_number", ScalarValue::from(0_i64)), *whole, "{line}");
        assert_eq!(written("format_number", ScalarValue::from(2_i64)), *two, "{line}");
        assert_eq!(written("format_currency", ScalarValue::from("EUR")), *euros, "{line}");
        assert_eq!(written("format_currency", ScalarValue::from(*code)), *own, "{line}");
        compared += 1;
    }
    assert_eq!(compared, Locale::names().len() * 11);
}

#[test]
fn wide_numbers_keep_every_digit() {
    let two = || ScalarValue::from(2_i64);
    let write = |number: ArrayRef| call("format_number", number, two(), None).unwrap();
    assert_eq!(write(Arc::new(Int64Array::from(vec![i64::MIN]))), "-9,223,372,036,854,775,808.00");
    assert_eq!(write(Arc::new(UInt64Array::from(vec![u64::MAX]))), "18,446,744,073,709,551,615.00");
    let decimal = Decimal128Array::from(vec![-1_234_567_890_123_456_789_995_i128]);
    let decimal = decimal.with_precision_and_scale(30, 3).unwrap();
    assert_eq!(write(Arc::new(decimal)), "-1,234,567,890,123,456,790.00");
    assert_eq!(write(float(1e21)), "1,000,000,000,000,000,000,000.00");
    assert_eq!(write(float(1e-7)), "0.00");
}

#[test]
fn what_is_no_number_locale_or_currency_is_null() {
    let number =
        |value, locale| call("format_number", float(value), ScalarValue::from(2_i64), locale);
    assert_eq!(number(f64::NAN, None), None);
    assert_eq!(number(f64::INFINITY, None), None);
    assert_eq!(number(1.0, Some("tlh")), None);
    assert_eq!(number(1234.5, Some("de_at")).as_deref(), Some("1\u{a0}234,50"));
    assert_eq!(number(1234.5, Some("de-LI")).as_deref(), Some("1.234,50"));
    let money = |code| call("format_currency", float(1234.5), ScalarValue::from(code), None);
    assert_eq!(money("eur"), None);
    assert_eq!(money("JPY").as_deref(), Some("¥1,235"));
    assert_eq!(money("KWD").as_deref(), Some("KWD\u{a0}1,234.500"));
    let decimals = |count: i64| call("format_number", float(1.0), ScalarValue::from(count), None);
    assert_eq!((decimals(-1), decimals(21)), (None, None));
    assert_eq!(decimals(20).as_deref(), Some("1.00000000000000000000"));
}

#[test]
fn a_call_takes_numbers_and_says_what_else_it_takes() {
    let types = |types: &[DataType]| coerce("format_number", types).ok();
    let (int, text) = (DataType::Int64, DataType::Utf8);
    assert_eq!(types(&[DataType::Int32, int.clone()]), Some(vec![int.clone(), int.clone()]));
    let decimal = DataType::Decimal128(10, 2);
    let wanted = vec![decimal.clone(), int.clone(), text.clone()];
    assert_eq!(types(&[decimal, DataType::Int8, DataType::Utf8View]), Some(wanted));
    assert_eq!(types(&[text.clone(), int.clone()]), None);
    assert_eq!(types(&[int.clone(), DataType::Float64]), None);
    assert_eq!(types(std::slice::from_ref(&int)), None);
    assert_eq!(coerce("format_currency", &[int.clone(), int]).ok(), None);
}
