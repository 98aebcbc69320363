//! Hashes that stay the same for ever: over several values of any type, and over one text.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Float64Array,
            Int64Array, Int64Builder, StringArray, UInt64Array,
        },
        compute::cast,
        datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type},
    },
    common::{Result, exec_err, internal_err},
    logical_expr::{Signature, TypeSignature, Volatility},
};
use twox_hash::{XxHash3_128, XxHash64};

use super::scalar::{Argument, Arguments, Planned, Scalar, refused, unchecked};

/// The functions of this file.
pub(super) fn all() -> [Scalar; 2] {
    let one_of = |types: [DataType; 2]| {
        TypeSignature::OneOf(types.map(|data_type| TypeSignature::Exact(vec![data_type])).to_vec())
    };
    let text_or_bytes = one_of([DataType::Utf8, DataType::Binary]);
    [
        Scalar {
            name: "multi_hash",
            signature: Signature::variadic_any(Volatility::Immutable),
            coerce: None,
            returns: DataType::Binary,
            check,
            compute: multi_hash,
        },
        Scalar {
            name: "xxhash64",
            signature: Signature::new(text_or_bytes, Volatility::Immutable),
            coerce: None,
            returns: DataType::Int64,
            check: unchecked,
            compute: xxhash64,
        },
    ]
}

fn check(call: &Planned<'_>) -> Result<()> {
    let unknown = call.types.iter().find(|field| form(field.data_type()).is_none());
    match unknown {
        Some(field) => Err(refused(
            format!("multi_hash can't take a value of type {}", field.data_type()),
            "make it a text: CAST(x AS TEXT)",
        )),
        None => Ok(()),
    }
}

/// What a value is hashed as. The numbers, and the bytes below, are part of every hash there is: they never change.
#[derive(Clone, Copy)]
enum Form {
    Null = 0,
    Boolean = 1,
    Integer = 2,
    /// A whole number that an i64 does not hold.
    Large = 3,
    Float = 4,
    Text = 5,
    Bytes = 6,
    /// Nanoseconds.
    Time = 7,
    /// Days.
    Date = 8,
}

/// How each type is hashed: whole numbers alike, however wide their column is.
fn form(data_type: &DataType) -> Option<(Form, DataType)> {
    Some(match data_type {
        DataType::Null => (Form::Null, DataType::Null),
        DataType::Boolean => (Form::Boolean, DataType::Boolean),
        DataType::UInt64 => (Form::Large, DataType::UInt64),
        data_type if data_type.is_integer() => (Form::Integer, DataType::Int64),
        data_type if data_type.is_floating() => (Form::Float, DataType::Float64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (Form::Text, DataType::Utf8),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            (Form::Bytes, DataType::Binary)
        }
        DataType::Timestamp(_, _) => (Form::Time, DataType::Int64),
        DataType::Date32 => (Form::Date, DataType::Int64),
        _ => return None,
    })
}

/// A column in the type that is hashed.
enum Column {
    Null,
    Boolean(BooleanArray),
    Integers(Form, Int64Array),
    Large(UInt64Array),
    Floats(Float64Array),
    Texts(StringArray),
    Bytes(BinaryArray),
}

impl Column {
    fn of(argument: &Argument) -> Result<Self> {
        let values = &argument.values;
        let Some((form, data_type)) = form(values.data_type()) else {
            return exec_err!("multi_hash can't take {}", values.data_type());
        };
        let values = match form {
            Form::Time => {
                cast(&cast(values, &DataType::Timestamp(TimeUnit::Nanosecond, None))?, &data_type)?
            }
            Form::Date => cast(&cast(values, &DataType::Int32)?, &data_type)?,
            _ => cast(values, &data_type)?,
        };
        Ok(match form {
            Form::Null => Self::Null,
            Form::Boolean => Self::Boolean(values.as_boolean().clone()),
            Form::Integer | Form::Time | Form::Date => {
                Self::Integers(form, values.as_primitive::<Int64Type>().clone())
            }
            Form::Large => Self::Large(values.as_primitive::<UInt64Type>().clone()),
            Form::Float => Self::Floats(values.as_primitive::<Float64Type>().clone()),
            Form::Text => Self::Texts(values.as_string::<i32>().clone()),
            Form::Bytes => Self::Bytes(values.as_binary::<i32>().clone()),
        })
    }

    /// Appends a value so that no two lists of values are the same bytes.
    fn append(&self, index: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Boolean(values) if values.is_valid(index) => {
                bytes.extend([Form::Boolean as u8, u8::from(values.value(index))]);
            }
            Self::Integers(form, values) if values.is_valid(index) => {
                number(*form, values.value(index).to_le_bytes(), bytes);
            }
            Self::Large(values) if values.is_valid(index) => {
                let value = values.value(index);
                let form = if i64::try_from(value).is_ok() { Form::Integer } else { Form::Large };
                number(form, value.to_le_bytes(), bytes);
            }
            Self::Floats(values) if values.is_valid(index) => {
                let value = values.value(index);
                // Equal numbers have equal bytes: there are two zeros and many NaNs.
                let value = if value == 0.0 { 0.0 } else { value };
                let value = if value.is_nan() { f64::NAN } else { value };
                number(Form::Float, value.to_bits().to_le_bytes(), bytes);
            }
            Self::Texts(values) if values.is_valid(index) => {
                counted(Form::Text, values.value(index).as_bytes(), bytes);
            }
            Self::Bytes(values) if values.is_valid(index) => {
                counted(Form::Bytes, values.value(index), bytes);
            }
            _ => bytes.push(Form::Null as u8),
        }
    }
}

fn number(form: Form, value: [u8; 8], bytes: &mut Vec<u8>) {
    bytes.push(form as u8);
    bytes.extend(value);
}

fn counted(form: Form, value: &[u8], bytes: &mut Vec<u8>) {
    number(form, (value.len() as u64).to_le_bytes(), bytes);
    bytes.extend(value);
}

fn multi_hash(call: &Arguments) -> Result<ArrayRef> {
    let columns = call.values.iter().map(Column::of).collect::<Result<Vec<_>>>()?;
    let mut results = BinaryBuilder::with_capacity(call.rows, call.rows * size_of::<u128>());
    let mut bytes = Vec::new();
    for row in 0..call.rows {
        bytes.clear();
        for (column, argument) in columns.iter().zip(&call.values) {
            column.append(argument.index(row), &mut bytes);
        }
        results.append_value(XxHash3_128::oneshot(&bytes).to_be_bytes());
    }
    Ok(Arc::new(results.finish()))
}

fn xxhash64(call: &Arguments) -> Result<ArrayRef> {
    let Some(argument) = call.values.first() else { return internal_err!("no argument") };
    let column = Column::of(argument)?;
    let mut results = Int64Builder::with_capacity(call.rows);
    for row in 0..call.rows {
        let index = argument.index(row);
        let bytes = match &column {
            Column::Texts(values) => values.is_valid(index).then(|| values.value(index).as_bytes()),
            Column::Bytes(values) => values.is_valid(index).then(|| values.value(index)),
            _ => None,
        };
        // BIGINT is signed: the same bits.
        results.append_option(bytes.map(|bytes| XxHash64::oneshot(0, bytes).cast_signed()));
    }
    Ok(Arc::new(results.finish()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::{
        arrow::{
            array::{
                ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float32Array,
                Float64Array, Int8Array, Int64Array, NullArray, StringArray,
                TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
            },
            datatypes::Int64Type,
        },
        logical_expr::ColumnarValue,
    };
    use twox_hash::XxHash3_128;

    use super::{multi_hash, xxhash64};
    use crate::functions::scalar::{Argument, Arguments};

    fn arguments(columns: Vec<ArrayRef>) -> Arguments {
        let values = columns.into_iter().map(|column| Argument::new(ColumnarValue::Array(column)));
        Arguments { rows: 1, values: values.collect::<Result<_, _>>().unwrap() }
    }

    fn multi(columns: Vec<ArrayRef>) -> Vec<u8> {
        multi_hash(&arguments(columns)).unwrap().as_binary::<i32>().value(0).to_vec()
    }

    fn text(value: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![value]))
    }

    #[test]
    fn xxhash64_is_that_of_its_authors() {
        let of = |value: &str| {
            xxhash64(&arguments(vec![text(value)])).unwrap().as_primitive::<Int64Type>().value(0)
        };
        // From the test vectors of xxHash.
        assert_eq!(of(""), 0xef46_db37_51d8_e999_u64.cast_signed());
        assert_eq!(of("abc"), 0x44bc_2cf5_ad77_0999_u64.cast_signed());
    }

    #[test]
    fn multi_hash_is_xxh3_over_bytes_that_never_change() {
        let bytes = b"\x05\x02\0\0\0\0\0\0\0ab\x02\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01\x01";
        let columns: Vec<ArrayRef> = vec![
            text("ab"),
            Arc::new(Int8Array::from(vec![-1])),
            Arc::new(NullArray::new(1)),
            Arc::new(BooleanArray::from(vec![true])),
        ];
        assert_eq!(multi(columns), XxHash3_128::oneshot(bytes).to_be_bytes());
    }

    #[test]
    fn equal_values_have_equal_hashes_whatever_their_column_is() {
        let one = |column: ArrayRef| multi(vec![column]);
        let wide = one(Arc::new(Int64Array::from(vec![7])));
        assert_eq!(one(Arc::new(Int8Array::from(vec![7]))), wide);
        assert_eq!(one(Arc::new(UInt64Array::from(vec![7]))), wide);
        let large = one(Arc::new(UInt64Array::from(vec![u64::MAX])));
        assert_ne!(large, one(Arc::new(Int64Array::from(vec![-1]))));
        let zero = one(Arc::new(Float64Array::from(vec![0.0])));
        assert_eq!(one(Arc::new(Float64Array::from(vec![-0.0]))), zero);
        assert_eq!(one(Arc::new(Float32Array::from(vec![0.0]))), zero);
        let nan = one(Arc::new(Float64Array::from(vec![f64::NAN])));
        assert_eq!(one(Arc::new(Float64Array::from(vec![-f64::NAN]))), nan);
        let time = one(Arc::new(TimestampNanosecondArray::from(vec![3_000_000])));
        assert_eq!(one(Arc::new(TimestampMillisecondArray::from(vec![3]))), time);
        // Of other kinds they are other values.
        assert_ne!(one(Arc::new(Date32Array::from(vec![7]))), wide);
        assert_ne!(one(Arc::new(BinaryArray::from(vec![b"7".as_slice()]))), one(text("7")));
    }

    #[test]
    fn what_is_split_otherwise_has_another_hash() {
        let two = |a, b| multi(vec![text(a), text(b)]);
        assert_ne!(two("ab", "c"), two("a", "bc"));
        assert_ne!(two("a", ""), two("", "a"));
        assert_ne!(multi(vec![text("")]), multi(vec![Arc::new(NullArray::new(1))]));
        assert_ne!(multi(vec![text("a")]), two("a", ""));
    }
}
