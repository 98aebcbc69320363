//! The values of generated rows.

use std::{fmt::Write, sync::Arc};

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    builder::StringBuilder,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use postrider_core::{Chunk, ChunkData, Decoded, Decoder, Diagnostic, SourceError};

use super::GeneratorOptions;
use crate::failure::source_bug;

const DAY_NS: i64 = 86_400_000_000_000;

/// Refuses columns that can't be generated.
pub(super) fn check(schema: &Schema) -> Result<(), Vec<Diagnostic>> {
    let faults: Vec<Diagnostic> = schema
        .fields()
        .iter()
        .filter(|field| !can_generate(field.data_type()))
        .map(|field| {
            let what = format!("column `{}` has a type that `generator` can't fill", field.name());
            Diagnostic::error("PR0211", what)
                .hint("it fills numbers, TEXT, BOOLEAN, DATE and TIMESTAMP")
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn can_generate(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Float32
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        )
}

/// Computes rows from their numbers.
#[derive(Debug)]
pub(super) struct GeneratorDecoder {
    schema: SchemaRef,
    options: GeneratorOptions,
}

impl GeneratorDecoder {
    pub(super) fn new(schema: SchemaRef, options: GeneratorOptions) -> Self {
        Self { schema, options }
    }

    fn key(&self, row: u64) -> u64 {
        mix(self.options.seed, row) % self.options.keys
    }

    fn time(&self, row: u64) -> i64 {
        let row = i64::try_from(row).unwrap_or(i64::MAX);
        self.options.start.saturating_add(row.saturating_mul(self.options.interval))
    }

    /// A number from 0 up to 1 for a cell.
    fn fraction(&self, row: u64, column: u64) -> f64 {
        let bits = mix(self.options.seed.wrapping_add(column + 1), row);
        // The 53 bits that a double holds exactly.
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn column(&self, field: &Field, column: u64, rows: &[u64]) -> Result<ArrayRef, ArrowError> {
        let name = field.name();
        let by_key = name == "key" || name.ends_with("_key") || name.ends_with("_id");
        let number = |row: u64| if by_key { self.key(row) } else { row };
        let percent = |row: u64| self.fraction(row, column) * 100.0;
        macro_rules! integers {
            ($kind:ty, $native:ty) => {{
                let limit = <$native>::MAX as u64;
                let value = |row: u64| {
                    let number = number(row);
                    let number = if number > limit { number % (limit + 1) } else { number };
                    <$native>::try_from(number).unwrap_or_default()
                };
                primitive::<$kind>(field, rows, value)
            }};
        }
        Ok(match field.data_type() {
            DataType::Int8 => integers!(Int8Type, i8),
            DataType::Int16 => integers!(Int16Type, i16),
            DataType::Int32 => integers!(Int32Type, i32),
            DataType::Int64 => integers!(Int64Type, i64),
            DataType::UInt8 => integers!(UInt8Type, u8),
            DataType::UInt16 => integers!(UInt16Type, u16),
            DataType::UInt32 => integers!(UInt32Type, u32),
            DataType::UInt64 => primitive::<UInt64Type>(field, rows, number),
            DataType::Float32 => primitive::<Float32Type>(field, rows, |row| percent(row) as f32),
            DataType::Float64 => primitive::<Float64Type>(field, rows, percent),
            DataType::Decimal128(precision, scale) => {
                let unit = 10_i128.checked_pow(u32::try_from(*scale).unwrap_or(0)).unwrap_or(1);
                let limit = 10_i128.checked_pow(u32::from(*precision)).unwrap_or(i128::MAX);
                let value = |row| (percent(row) * unit as f64) as i128 % limit;
                primitive::<Decimal128Type>(field, rows, value)
            }
            DataType::Boolean => {
                let values = rows.iter().map(|row| Some(self.fraction(*row, column) < 0.5));
                Arc::new(values.collect::<BooleanArray>())
            }
            DataType::Date32 => primitive::<Date32Type>(field, rows, |row| {
                i32::try_from(self.time(row).div_euclid(DAY_NS)).unwrap_or(i32::MAX)
            }),
            DataType::Timestamp(unit, _) => self.times(field, *unit, rows),
            other => arrow_cast::cast(&self.texts(name, rows), other)?,
        })
    }

    fn times(&self, field: &Field, unit: TimeUnit, rows: &[u64]) -> ArrayRef {
        let every = |ns: i64| move |row| self.time(row).div_euclid(ns);
        match unit {
            TimeUnit::Second => primitive::<TimestampSecondType>(field, rows, every(1_000_000_000)),
            TimeUnit::Millisecond => {
                primitive::<TimestampMillisecondType>(field, rows, every(1_000_000))
            }
            TimeUnit::Microsecond => {
                primitive::<TimestampMicrosecondType>(field, rows, every(1_000))
            }
            TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(field, rows, every(1)),
        }
    }

    fn texts(&self, name: &str, rows: &[u64]) -> ArrayRef {
        let prefix = name.strip_suffix("_id").unwrap_or(name);
        let mut texts = StringBuilder::with_capacity(rows.len(), rows.len() * (prefix.len() + 5));
        let mut text = String::new();
        for row in rows {
            text.clear();
            text.push_str(prefix);
            // Writing to a String can't fail.
            write!(text, "-{}", self.key(*row)).unwrap_or_default();
            texts.append_value(&text);
        }
        Arc::new(texts.finish())
    }
}

fn primitive<T: ArrowPrimitiveType>(
    field: &Field,
    rows: &[u64],
    value: impl Fn(u64) -> T::Native,
) -> ArrayRef {
    let values = rows.iter().map(|row| value(*row));
    let array = PrimitiveArray::<T>::from_iter_values(values);
    Arc::new(array.with_data_type(field.data_type().clone()))
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators"), as a hash of
/// a seed and a row number.
fn mix(seed: u64, row: u64) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bits = seed.wrapping_mul(GOLDEN) ^ row.wrapping_add(1).wrapping_mul(GOLDEN);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Decoder for GeneratorDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        if !matches!(chunk.data, ChunkData::Numbers) {
            return Err(source_bug("the generator was given records"));
        }
        let numbers: Vec<u64> = (chunk.start.offset..chunk.end.offset).collect();
        let arrays: Result<Vec<ArrayRef>, ArrowError> = (0..)
            .zip(self.schema.fields())
            .map(|(column, field)| self.column(field, column, &numbers))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let rows = arrays
            .and_then(|arrays| {
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            })
            .map_err(|error| source_bug(format!("generated columns don't fit: {error}")))?;
        Ok(Decoded { rows, received_at: None, rejects: Vec::new() })
    }
}
