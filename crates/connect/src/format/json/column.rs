//! One growing column: JSON values in, an Arrow array out, and back to an earlier length when a
//! record turns out bad.

use arrow_array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use arrow_schema::{DataType, Field, TimeUnit};

use super::{
    cursor::Cursor,
    fields::Fields,
    number::{Whole, scaled, whole},
    reason::{Bad, Parsed},
    text::{Texts, decode_base64},
    time::{Moment, moment, time_of_day},
};

const NS_PER_DAY: i64 = 24 * 3_600 * 1_000_000_000;

/// The values of a column by physical type.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, i8),
    Date(Vec<i32>),
    Time(Vec<i64>),
    /// And how many of its units a second has.
    Timestamp(Vec<i64>, i64),
    Text(Texts),
    Binary(Texts),
    Struct(Box<Fields>),
    List(Vec<i32>, Box<Column>),
}

/// A column that grows by one value a record.
#[derive(Debug)]
pub(super) struct Column {
    /// The dotted path, for messages.
    pub(super) name: String,
    pub(super) data_type: DataType,
    nullable: bool,
    /// One bit a value; its length is the column's.
    pub(super) validity: NullBufferBuilder,
    pub(super) values: Values,
}

impl Column {
    /// An empty column with room for `rows` values. `None`: JSON has no form of this type.
    pub(super) fn new(field: &Field, path: &str, rows: usize) -> Option<Self> {
        let name =
            if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Int8 => Values::Int8(Vec::with_capacity(rows)),
            DataType::Int16 => Values::Int16(Vec::with_capacity(rows)),
            DataType::Int32 => Values::Int32(Vec::with_capacity(rows)),
            DataType::Int64 => Values::Int64(Vec::with_capacity(rows)),
            DataType::UInt8 => Values::UInt8(Vec::with_capacity(rows)),
            DataType::UInt16 => Values::UInt16(Vec::with_capacity(rows)),
            DataType::UInt32 => Values::UInt32(Vec::with_capacity(rows)),
            DataType::UInt64 => Values::UInt64(Vec::with_capacity(rows)),
            DataType::Float32 => Values::Float32(Vec::with_capacity(rows)),
            DataType::Float64 => Values::Float64(Vec::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal(Vec::with_capacity(rows), *precision, *scale)
            }
            DataType::Date32 => Values::Date(Vec::with_capacity(rows)),
            DataType::Time64(TimeUnit::Nanosecond) => Values::Time(Vec::with_capacity(rows)),
            DataType::Timestamp(unit, _) => {
                Values::Timestamp(Vec::with_capacity(rows), units_per_second(*unit))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Values::Text(Texts::new(rows))
            }
            DataType::Binary => Values::Binary(Texts::new(rows)),
            DataType::Struct(fields) => {
                Values::Struct(Box::new(Fields::new(fields, &name, rows).ok()?))
            }
            DataType::List(item) => Values::List(vec![0], Box::new(Self::new(item, &name, rows)?)),
            _ => return None,
        };
        Some(Self {
            name,
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            validity: NullBufferBuilder::new(rows),
            values,
        })
    }

    /// How many values it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.validity.len()
    }

    /// Takes the value that comes next. After an error the column must be truncated.
    #[inline]
    pub(super) fn append(&mut self, cursor: &mut Cursor<'_>, scratch: &mut String) -> Parsed<()> {
        match cursor.peek() {
            b'"' => self.append_string(cursor, scratch)?,
            b'-' | b'0'..=b'9' => {
                let text = cursor.number()?;
                self.append_number(text)?;
            }
            b'n' => {
                cursor.literal("null")?;
                return self.append_null("null");
            }
            b't' => {
                cursor.literal("true")?;
                self.append_boolean(true)?;
            }
            b'f' => {
                cursor.literal("false")?;
                self.append_boolean(false)?;
            }
            _ => self.append_nested(cursor, scratch)?,
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// The record has no value for this column.
    pub(super) fn append_missing(&mut self) -> Parsed<()> {
        self.append_null("missing")
    }

    fn append_null(&mut self, found: &str) -> Parsed<()> {
        if !self.nullable {
            return Err(Bad::missing(&self.name, found));
        }
        self.append_default();
        self.validity.append_null();
        Ok(())
    }

    /// A place holder below a NULL.
    fn append_default(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::UInt8(values) => values.push(0),
            Values::UInt16(values) => values.push(0),
            Values::UInt32(values) => values.push(0),
            Values::UInt64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values, ..) => values.push(0),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp(values, _) => {
                values.push(0);
            }
            Values::Text(values) | Values::Binary(values) => values.push_empty(),
            Values::Struct(fields) => fields.append_default(),
            Values::List(offsets, _) => offsets.push(offsets.last().copied().unwrap_or(0)),
        }
    }

    /// [`append_default`](Self::append_default) with its validity: NULL where the column allows it.
    pub(super) fn append_place_holder(&mut self) {
        self.append_default();
        self.validity.append(!self.nullable);
    }

    #[inline]
    fn append_string(&mut self, cursor: &mut Cursor<'_>, scratch: &mut String) -> Parsed<()> {
        let start = cursor.at();
        cursor.bump();
        let text = cursor.string(scratch)?;
        let fault = |wanted| Bad::bad_value(&self.name, &self.data_type, text, wanted);
        match &mut self.values {
            Values::Text(values) => return values.push(text.as_bytes(), &self.name),
            Values::Timestamp(values, per_second) => {
                let moment = moment(text)
                    .ok_or_else(|| fault("'2026-11-24T10:00:00Z' or a number of milliseconds"))?;
                let value = moment
                    .in_units(*per_second)
                    .ok_or_else(|| Bad::out_of_range(&self.name, &self.data_type, text))?;
                values.push(value);
            }
            Values::Decimal(values, precision, scale) => {
                let value = scaled(text, i32::from(*scale))
                    .ok_or_else(|| fault("a number such as 19.99"))?;
                if !fits(value, *precision) {
                    return Err(Bad::out_of_range(&self.name, &self.data_type, text));
                }
                values.push(value);
            }
            Values::Date(values) => {
                let day = moment(text).and_then(Moment::day);
                values.push(day.ok_or_else(|| fault("'2026-11-24'"))?);
            }
            Values::Time(values) => {
                values.push(time_of_day(text).ok_or_else(|| fault("'10:00:00'"))?);
            }
            Values::Binary(values) => {
                let bytes = decode_base64(text).ok_or_else(|| fault("base64"))?;
                return values.push(&bytes, &self.name);
            }
            _ => return Err(Bad::wrong_type(&self.name, &self.data_type, cursor.since(start))),
        }
        Ok(())
    }

    #[inline]
    fn append_number(&mut self, text: &str) -> Parsed<()> {
        macro_rules! push_whole {
            ($values:expr) => {{
                let Whole::Number(number) = whole(text) else { return Err(self.no_whole(text)) };
                match number.try_into() {
                    Ok(number) => $values.push(number),
                    Err(_) => return Err(Bad::out_of_range(&self.name, &self.data_type, text)),
                }
            }};
        }
        match &mut self.values {
            Values::Int64(values) => push_whole!(values),
            Values::Float64(values) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => values.push(number),
                _ => return Err(Bad::out_of_range(&self.name, &self.data_type, text)),
            },
            Values::Int8(values) => push_whole!(values),
            Values::Int16(values) => push_whole!(values),
            Values::Int32(values) => push_whole!(values),
            Values::UInt8(values) => push_whole!(values),
            Values::UInt16(values) => push_whole!(values),
            Values::UInt32(values) => push_whole!(values),
            Values::UInt64(values) => push_whole!(values),
            Values::Float32(values) => match text.parse::<f32>() {
                Ok(number) if number.is_finite() => values.push(number),
                _ => return Err(Bad::out_of_range(&self.name, &self.data_type, text)),
            },
            Values::Decimal(values, precision, scale) => {
                match scaled(text, i32::from(*scale)).filter(|value| fits(*value, *precision)) {
                    Some(value) => values.push(value),
                    None => return Err(Bad::out_of_range(&self.name, &self.data_type, text)),
                }
            }
            Values::Timestamp(values, per_second) => {
                // A number counts milliseconds; six more digits make them nanoseconds.
                let moment = scaled(text, 6).and_then(Moment::from_nanos);
                match moment.and_then(|moment| moment.in_units(*per_second)) {
                    Some(value) => values.push(value),
                    None => return Err(Bad::out_of_range(&self.name, &self.data_type, text)),
                }
            }
            Values::Text(values) => return values.push(text.as_bytes(), &self.name),
            _ => return Err(Bad::wrong_type(&self.name, &self.data_type, text)),
        }
        Ok(())
    }

    #[cold]
    fn no_whole(&self, text: &str) -> Box<Bad> {
        match whole(text) {
            Whole::Fraction => Bad::wrong_type(&self.name, &self.data_type, text),
            _ => Bad::out_of_range(&self.name, &self.data_type, text),
        }
    }

    fn append_boolean(&mut self, value: bool) -> Parsed<()> {
        let text = if value { "true" } else { "false" };
        match &mut self.values {
            Values::Boolean(values) => values.append(value),
            Values::Text(values) => return values.push(text.as_bytes(), &self.name),
            _ => return Err(Bad::wrong_type(&self.name, &self.data_type, text)),
        }
        Ok(())
    }

    fn append_nested(&mut self, cursor: &mut Cursor<'_>, scratch: &mut String) -> Parsed<()> {
        match (cursor.peek(), &mut self.values) {
            (b'{' | b'[', Values::Text(values)) => {
                return values.push(cursor.skip()?.as_bytes(), &self.name);
            }
            (b'{', Values::Struct(fields)) => {
                cursor.bump();
                fields.read(cursor, scratch)?;
            }
            (b'[', Values::List(offsets, item)) => {
                cursor.bump();
                append_items(cursor, item, scratch)?;
                let end = i32::try_from(item.len()).map_err(|_| {
                    Bad::out_of_range(&self.name, &self.data_type, "so many items in one chunk")
                })?;
                offsets.push(end);
            }
            (b'{' | b'[', _) => {
                let raw = cursor.skip()?;
                return Err(Bad::wrong_type(&self.name, &self.data_type, raw));
            }
            _ => return Err(cursor.unexpected("a value")),
        }
        Ok(())
    }

    /// Takes a moment that Postrider knows itself; `false` if the type has no form of it.
    pub(super) fn append_moment(&mut self, ns: i64) -> Parsed<bool> {
        let moment = Moment::from_nanos(i128::from(ns));
        match &mut self.values {
            Values::Timestamp(values, per_second) => {
                let Some(value) = moment.and_then(|moment| moment.in_units(*per_second)) else {
                    return Ok(false);
                };
                values.push(value);
            }
            Values::Date(values) => {
                let Ok(day) = i32::try_from(ns.div_euclid(NS_PER_DAY)) else { return Ok(false) };
                values.push(day);
            }
            Values::Int64(values) => values.push(ns.div_euclid(1_000_000)),
            Values::Text(values) => {
                values.push(postrider_core::format_time(ns).as_bytes(), &self.name)?;
            }
            _ => return Ok(false),
        }
        self.validity.append_non_null();
        Ok(true)
    }

    /// Forgets every value from number `len` on, also one that was taken by half.
    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int8(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) | Values::Date(values) => values.truncate(len),
            Values::UInt8(values) => values.truncate(len),
            Values::UInt16(values) => values.truncate(len),
            Values::UInt32(values) => values.truncate(len),
            Values::UInt64(values) => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal(values, ..) => values.truncate(len),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp(values, _) => {
                values.truncate(len);
            }
            Values::Text(values) | Values::Binary(values) => values.truncate(len),
            Values::Struct(fields) => fields.truncate(len),
            Values::List(offsets, item) => {
                offsets.truncate(len + 1);
                let items = offsets.last().and_then(|end| usize::try_from(*end).ok());
                item.truncate(items.unwrap_or(0));
            }
        }
        self.validity.truncate(len);
    }
}

/// Reads the items of a list whose opening bracket was stepped over.
fn append_items(cursor: &mut Cursor<'_>, item: &mut Column, scratch: &mut String) -> Parsed<()> {
    if cursor.peek() == b']' {
        cursor.bump();
        return Ok(());
    }
    loop {
        item.append(cursor, scratch)?;
        match cursor.peek() {
            b',' => cursor.bump(),
            b']' => {
                cursor.bump();
                return Ok(());
            }
            _ => return Err(cursor.unexpected("',' or ']'")),
        }
    }
}

/// Whether `value` has at most `precision` digits.
fn fits(value: i128, precision: u8) -> bool {
    10_u128.checked_pow(u32::from(precision)).is_some_and(|limit| value.unsigned_abs() < limit)
}

/// How many units of time a second has.
pub(super) fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
