//! Trigger rows as the email half sees them: identity and routing columns typed, the rest as template values.

use std::{io::Cursor, sync::Arc};

use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, cast::AsArray,
    types::TimestampNanosecondType,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use minijinja::{
    Value,
    value::{Enumerator, Object},
};
use postrider_core::format_time;

use crate::contract::{DEDUPE_KEY, EMAIL, EXPIRES_AT, FIRE_TS, RECIPIENT_KEY, TOPIC, is_variable};

/// The decoded rows of one sealed batch.
#[derive(Debug)]
pub(crate) struct TriggerRows {
    batch: Arc<Columns>,
    recipient_key: StringArray,
    dedupe_key: StringArray,
    email: Option<StringArray>,
    topic: Option<StringArray>,
    fire_ts: Option<TimestampNanosecondArray>,
    expires_at: Option<TimestampNanosecondArray>,
}

/// One trigger row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TriggerRow<'a> {
    /// Who.
    pub(crate) recipient_key: &'a str,
    /// What for.
    pub(crate) dedupe_key: &'a str,
    /// Where to.
    pub(crate) email: Option<&'a str>,
    /// What it is about, where the row and not the sink says so.
    pub(crate) topic: Option<&'a str>,
    /// When it fired (event time).
    pub(crate) fire_ts: Option<i64>,
    /// After which moment it is worth nothing.
    pub(crate) expires_at: Option<i64>,
}

/// What each message of an IPC stream starts with.
const CONTINUATION: [u8; 4] = [0xff; 4];

impl TriggerRows {
    /// Decodes an Arrow IPC stream of one batch.
    pub(crate) fn decode(stream: &[u8]) -> Result<Self, ArrowError> {
        // Without the marker the reader would take the first bytes for a length, and allocate that much.
        if !stream.starts_with(&CONTINUATION) {
            return Err(ArrowError::IpcError("it is no Arrow IPC stream".to_owned()));
        }
        let mut reader = StreamReader::try_new(Cursor::new(stream), None)?;
        let batch = reader
            .next()
            .ok_or_else(|| ArrowError::InvalidArgumentError("no batch in it".to_owned()))??;
        Self::of(&batch)
    }

    /// Takes the columns apart.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let required = |name: &str| {
            text_column(batch, name)?
                .ok_or_else(|| ArrowError::SchemaError(format!("column `{name}` is missing")))
        };
        Ok(Self {
            recipient_key: required(RECIPIENT_KEY)?,
            dedupe_key: required(DEDUPE_KEY)?,
            email: text_column(batch, EMAIL)?,
            topic: text_column(batch, TOPIC)?,
            fire_ts: time_column(batch, FIRE_TS)?,
            expires_at: time_column(batch, EXPIRES_AT)?,
            batch: Arc::new(Columns::of(batch)?),
        })
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.recipient_key.len()
    }

    /// One row. A NULL key reads as an empty text, which the decision refuses.
    pub(crate) fn row(&self, index: usize) -> TriggerRow<'_> {
        TriggerRow {
            recipient_key: text_at(&self.recipient_key, index).unwrap_or_default(),
            dedupe_key: text_at(&self.dedupe_key, index).unwrap_or_default(),
            email: self.email.as_ref().and_then(|column| text_at(column, index)),
            topic: self.topic.as_ref().and_then(|column| text_at(column, index)),
            fire_ts: self.fire_ts.as_ref().and_then(|column| time_at(column, index)),
            expires_at: self.expires_at.as_ref().and_then(|column| time_at(column, index)),
        }
    }

    /// The template variables of one row, converted only when the template asks for them.
    pub(crate) fn variables(&self, index: usize) -> Value {
        Value::from_object(RowVariables { columns: Arc::clone(&self.batch), index })
    }
}

fn text_at(column: &StringArray, index: usize) -> Option<&str> {
    column.is_valid(index).then(|| column.value(index))
}

fn time_at(column: &TimestampNanosecondArray, index: usize) -> Option<i64> {
    column.is_valid(index).then(|| column.value(index))
}

/// A failed conversion is an error, never a silent NULL.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow_cast::display::FormatOptions::new() };

fn text_column(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>, ArrowError> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    Ok(Some(cast_with_options(column, &DataType::Utf8, &STRICT)?.as_string::<i32>().clone()))
}

fn time_column(
    batch: &RecordBatch,
    name: &str,
) -> Result<Option<TimestampNanosecondArray>, ArrowError> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let wanted = DataType::Timestamp(TimeUnit::Nanosecond, zone);
    let times = cast_with_options(column, &wanted, &STRICT)?;
    Ok(Some(times.as_primitive::<TimestampNanosecondType>().clone()))
}

/// The columns that templates see.
#[derive(Debug)]
struct Columns {
    names: Vec<Arc<str>>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let mut columns = Self { names: Vec::new(), arrays: Vec::new() };
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            if !is_variable(field.name()) {
                continue;
            }
            columns.names.push(Arc::from(field.name().as_str()));
            columns.arrays.push(match field.data_type() {
                DataType::Dictionary(_, value) => cast_with_options(array, value, &STRICT)?,
                _ => Arc::clone(array),
            });
        }
        Ok(columns)
    }
}

#[derive(Debug)]
struct RowVariables {
    columns: Arc<Columns>,
    index: usize,
}

impl Object for RowVariables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let column = self.columns.names.iter().position(|name| **name == *key)?;
        Some(value_at(&self.columns.arrays[column], self.index))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.columns.names.iter().map(|name| Value::from(&**name)).collect())
    }
}

/// A cell as a template value. NULL is undefined, so that the `default` filter applies to it.
/// Timestamps are RFC 3339 texts in UTC; decimals are floating-point numbers, printed by `money` and `number`.
fn value_at(array: &dyn Array, index: usize) -> Value {
    if array.is_null(index) {
        return Value::UNDEFINED;
    }
    match array.data_type() {
        DataType::Utf8 => Value::from(array.as_string::<i32>().value(index)),
        DataType::LargeUtf8 => Value::from(array.as_string::<i64>().value(index)),
        DataType::Utf8View => Value::from(array.as_string_view().value(index)),
        DataType::Boolean => Value::from(array.as_boolean().value(index)),
        DataType::List(_) => list(&array.as_list::<i32>().value(index)),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(index)),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(index)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            Value::from_pairs(
                fields
                    .iter()
                    .zip(columns)
                    .map(|(field, column)| (field.name().clone(), value_at(column, index))),
            )
        }
        _ => scalar_at(array, index),
    }
}

fn list(items: &ArrayRef) -> Value {
    Value::from_iter((0..items.len()).map(|index| value_at(items, index)))
}

/// Numbers and times, through Arrow's own casts; anything else as Arrow prints it.
fn scalar_at(array: &dyn Array, index: usize) -> Value {
    use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
    let cell = array.slice(index, 1);
    let cast = |wanted: &DataType| cast_with_options(&cell, wanted, &STRICT).ok();
    let found = match array.data_type() {
        kind if kind.is_unsigned_integer() => cast(&DataType::UInt64)
            .map(|cell| Value::from(cell.as_primitive::<UInt64Type>().value(0))),
        kind if kind.is_integer() => cast(&DataType::Int64)
            .map(|cell| Value::from(cell.as_primitive::<Int64Type>().value(0))),
        kind if kind.is_floating() || kind.is_decimal() => cast(&DataType::Float64)
            .map(|cell| Value::from(cell.as_primitive::<Float64Type>().value(0))),
        DataType::Date32 | DataType::Date64 => {
            cast(&DataType::Timestamp(TimeUnit::Nanosecond, None)).map(|cell| time_value(&cell))
        }
        DataType::Timestamp(_, zone) => {
            cast(&DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))
                .map(|cell| time_value(&cell))
        }
        DataType::Dictionary(_, value) => cast(value).map(|cell| value_at(&cell, 0)),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let text = arrow_cast::display::array_value_to_string(&cell, 0).unwrap_or_default();
        Value::from(text)
    })
}

fn time_value(cell: &ArrayRef) -> Value {
    Value::from(format_time(cell.as_primitive::<TimestampNanosecondType>().value(0)))
}

#[cfg(test)]
mod tests;
