//! Filled columns to Arrow arrays.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, PrimitiveArray,
    StringArray, StructArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, TimeUnit};

use super::{
    column::{Column, Values},
    fields::Fields,
    text::Texts,
};

impl Fields {
    /// The arrays of its columns.
    pub(super) fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}

impl Column {
    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let Self { data_type, validity, values, .. } = self;
        let len = validity.len();
        let nulls = validity.build();
        Ok(match values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.build(), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, nulls, data_type),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls, data_type),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, data_type),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls, data_type),
            Values::UInt8(values) => primitive::<UInt8Type>(values, nulls, data_type),
            Values::UInt16(values) => primitive::<UInt16Type>(values, nulls, data_type),
            Values::UInt32(values) => primitive::<UInt32Type>(values, nulls, data_type),
            Values::UInt64(values) => primitive::<UInt64Type>(values, nulls, data_type),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, data_type),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, data_type),
            Values::Decimal(values, ..) => primitive::<Decimal128Type>(values, nulls, data_type),
            Values::Date(values) => primitive::<Date32Type>(values, nulls, data_type),
            Values::Time(values) => primitive::<Time64NanosecondType>(values, nulls, data_type),
            Values::Timestamp(values, _) => timestamps(values, nulls, data_type),
            Values::Text(texts) => strings(texts, nulls, &data_type)?,
            Values::Binary(Texts { offsets, bytes }) => {
                Arc::new(BinaryArray::try_new(ends(offsets), Buffer::from_vec(bytes), nulls)?)
            }
            Values::Struct(fields) => {
                let DataType::Struct(schema) = data_type else { return Err(mixed_up()) };
                if schema.is_empty() {
                    Arc::new(StructArray::new_empty_fields(len, nulls))
                } else {
                    Arc::new(StructArray::try_new(schema, fields.finish()?, nulls)?)
                }
            }
            Values::List(offsets, item) => {
                let DataType::List(field) = data_type else { return Err(mixed_up()) };
                Arc::new(ListArray::try_new(field, ends(offsets), item.finish()?, nulls)?)
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: DataType,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(data_type))
}

fn timestamps(values: Vec<i64>, nulls: Option<NullBuffer>, data_type: DataType) -> ArrayRef {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => {
            primitive::<TimestampSecondType>(values, nulls, data_type)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(values, nulls, data_type)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(values, nulls, data_type)
        }
        _ => primitive::<TimestampNanosecondType>(values, nulls, data_type),
    }
}

/// Texts in the wanted string type. `StringArray` checks UTF-8 once more over the whole buffer;
/// for ASCII that costs a few nanoseconds a row and spares an unsafe promise.
fn strings(
    texts: Texts,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let array = StringArray::try_new(ends(texts.offsets), Buffer::from_vec(texts.bytes), nulls)?;
    if *data_type == DataType::Utf8 {
        return Ok(Arc::new(array));
    }
    arrow_cast::cast(&array, data_type)
}

fn ends(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn mixed_up() -> ArrowError {
    ArrowError::SchemaError("a column's values don't belong to its type".to_owned())
}
