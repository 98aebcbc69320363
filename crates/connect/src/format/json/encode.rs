//! Rows to NDJSON, in the forms that the decoder reads back.
//!
//! `arrow-json` writes the rows. Two types are ours: a timestamp is RFC 3339 in UTC (`arrow-json`
//! leaves the zone off), and bytes are base64 (`arrow-json` writes hex). NULL fields are left out.
//! A double that is no number is written as `null`.

use std::sync::Arc;

use arrow_array::{
    Array, ArrowPrimitiveType, BinaryArray, Int64Array, PrimitiveArray, RecordBatch,
    cast::AsArray,
    types::{
        Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
};
use arrow_cast::cast;
use arrow_json::{
    Encoder, EncoderFactory, EncoderOptions,
    writer::{LineDelimited, NullableEncoder, WriterBuilder},
};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};
use postrider_core::{ErrorKind, JsonForm, SinkError, format_time};

use super::{column::units_per_second, text::encode_base64};

/// Writes rows as NDJSON.
#[derive(Debug, Clone)]
pub(crate) struct JsonEncoder {
    forms: Arc<OwnForms>,
}

impl Default for JsonEncoder {
    fn default() -> Self {
        Self::new(JsonForm::default())
    }
}

impl JsonEncoder {
    pub(crate) fn new(form: JsonForm) -> Self {
        Self { forms: Arc::new(OwnForms { unix_millis: form.unix_millis }) }
    }

    /// Appends one line a row to `out`.
    pub(crate) fn encode(&self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let forms: Arc<OwnForms> = Arc::clone(&self.forms);
        let mut writer =
            WriterBuilder::new().with_encoder_factory(forms).build::<_, LineDelimited>(out);
        writer.write(rows).and_then(|()| writer.finish()).map_err(|error| SinkError {
            kind: ErrorKind::Bug,
            message: format!("can't write these rows as JSON: {error}; please report this"),
        })
    }
}

/// The types that are not written as `arrow-json` does.
#[derive(Debug)]
struct OwnForms {
    /// Whether times are numbers of milliseconds.
    unix_millis: bool,
}

impl EncoderFactory for OwnForms {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Binary => Box::new(Base64(array.as_binary())),
            DataType::Timestamp(unit, _) if self.unix_millis => {
                let counts = cast(array, &DataType::Int64)?;
                Box::new(Millis(counts.as_primitive::<Int64Type>().clone(), *unit))
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                Box::new(Times(array.as_primitive::<TimestampSecondType>(), TimeUnit::Second))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                let array = array.as_primitive::<TimestampMillisecondType>();
                Box::new(Times(array, TimeUnit::Millisecond))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let array = array.as_primitive::<TimestampMicrosecondType>();
                Box::new(Times(array, TimeUnit::Microsecond))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                let array = array.as_primitive::<TimestampNanosecondType>();
                Box::new(Times(array, TimeUnit::Nanosecond))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Base64<'a>(&'a BinaryArray);

impl Encoder for Base64<'_> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(encode_base64(self.0.value(index)).as_bytes());
        out.push(b'"');
    }
}

struct Times<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>, TimeUnit);

impl<T: ArrowPrimitiveType<Native = i64>> Encoder for Times<'_, T> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let value = self.0.value(index);
        let per_second = units_per_second(self.1);
        match value.checked_mul(1_000_000_000 / per_second) {
            Some(ns) => {
                out.push(b'"');
                out.extend_from_slice(format_time(ns).as_bytes());
                out.push(b'"');
            }
            None => write_milliseconds(value, per_second, out),
        }
    }
}

/// Whole milliseconds since 1970, rounded down.
struct Millis(Int64Array, TimeUnit);

impl Encoder for Millis {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let millis = i128::from(self.0.value(index)) * 1000;
        let millis = millis.div_euclid(i128::from(units_per_second(self.1)));
        out.extend_from_slice(millis.to_string().as_bytes());
    }
}

/// A time outside the years 1677 to 2262, which [`format_time`] does not reach: a number of
/// milliseconds, which is read back exactly.
fn write_milliseconds(value: i64, per_second: i64, out: &mut Vec<u8>) {
    let micros = i128::from(value) * i128::from(1_000_000 / per_second);
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, fraction) = (micros.unsigned_abs() / 1000, micros.unsigned_abs() % 1000);
    out.extend_from_slice(format!("{sign}{whole}.{fraction:03}").as_bytes());
}
