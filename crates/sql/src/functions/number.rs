//! `format_number` and `format_currency`: numbers as people of a place write them.
//!
//! Rounding is commercial, half away from zero, and on the decimal digits of a value: 2.675 becomes 2.68, though the DOUBLE is a
//! little less. So do browsers.

mod locale;

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, StringBuilder},
        datatypes::{DataType, Decimal128Type, DecimalType, Float64Type, Int64Type, UInt64Type},
    },
    common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err},
    logical_expr::{Signature, Volatility},
};

use self::locale::{Locale, currency_digits, symbol};
use super::scalar::{Argument, Arguments, Planned, Scalar, refused};

/// A DOUBLE has no more digits behind its point that mean something to a reader.
const MAX_DECIMALS: i64 = 20;
const DEFAULT_LOCALE: &str = "en";
const NO_BREAK_SPACE: char = '\u{a0}';

/// The functions of this file.
pub(super) fn all() -> [Scalar; 2] {
    let function = |name, check, compute| Scalar {
        name,
        signature: Signature::user_defined(Volatility::Immutable),
        coerce: Some(coerce),
        returns: DataType::Utf8,
        check,
        compute,
    };
    [
        function("format_number", check_number, format_number),
        function("format_currency", check_currency, format_currency),
    ]
}

/// The types that the arguments are converted to: a number as wide as it is, and what says how to write it.
pub(super) fn coerce(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    let (second, rest) = match types {
        [_, second] => (second, 0),
        [_, second, locale] if is_text(locale) => (second, 1),
        _ => return plan_err!("{name} takes a number, how to write it, and perhaps a locale"),
    };
    let how = match name {
        "format_number" if second.is_integer() || second.is_null() => DataType::Int64,
        "format_currency" if is_text(second) => DataType::Utf8,
        "format_number" => return plan_err!("the decimals of format_number are a whole number"),
        _ => return plan_err!("the currency of format_currency is a text, such as 'EUR'"),
    };
    let number = match types.first() {
        Some(data_type @ (DataType::UInt64 | DataType::Decimal128(..))) => data_type.clone(),
        Some(data_type) if data_type.is_integer() => DataType::Int64,
        Some(data_type) if data_type.is_numeric() || data_type.is_null() => DataType::Float64,
        _ => return plan_err!("{name} can't write what is no number"),
    };
    Ok([number, how].into_iter().chain(vec![DataType::Utf8; rest]).collect())
}

fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_null()
}

fn check_number(call: &Planned<'_>) -> Result<()> {
    let decimals = call.literals.get(1).copied().flatten();
    let decimals = decimals.and_then(|value| value.cast_to(&DataType::Int64).ok());
    if let Some(ScalarValue::Int64(Some(decimals))) = decimals
        && !(0..=MAX_DECIMALS).contains(&decimals)
    {
        return Err(refused(
            format!("format_number can't write {decimals} decimals"),
            "give 0 to 20 decimals",
        ));
    }
    check_locale(call)
}

fn check_currency(call: &Planned<'_>) -> Result<()> {
    match call.text(1) {
        Some(code) if !is_currency(code) => Err(refused(
            format!("'{code}' is no code of a currency"),
            "write three capital letters of ISO 4217, such as 'EUR'",
        )),
        _ => check_locale(call),
    }
}

fn check_locale(call: &Planned<'_>) -> Result<()> {
    match call.text(2) {
        Some(name) if Locale::find(name).is_none() => Err(refused(
            format!("the locale '{name}' is not supported"),
            &format!("locales: {}", Locale::names().join(", ")),
        )),
        _ => Ok(()),
    }
}

fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn format_number(call: &Arguments) -> Result<ArrayRef> {
    let decimals = call.numbers::<Int64Type>(1)?;
    each(call, |row, number, locale, out| {
        let decimals = decimals.get(row).filter(|decimals| (0..=MAX_DECIMALS).contains(decimals));
        let Some(decimals) = decimals.and_then(|decimals| usize::try_from(decimals).ok()) else {
            return Ok(false);
        };
        let rounded = Rounded::new(number, decimals);
        if rounded.negative {
            out.write_str(locale.minus)?;
        }
        rounded.write(locale, locale.group, out)?;
        Ok(true)
    })
}

fn format_currency(call: &Arguments) -> Result<ArrayRef> {
    let codes = call.text(1)?;
    each(call, |row, number, locale, out| {
        let Some(code) = codes.get(row).filter(|code| is_currency(code)) else { return Ok(false) };
        let rounded = Rounded::new(number, currency_digits(code));
        let symbol = symbol(code, locale);
        let pattern = if rounded.negative { locale.negative } else { locale.positive };
        for part in pattern.chars() {
            match part {
                '¤' => out.write_str(symbol)?,
                '#' => {
                    // Letters do not touch digits: CHF 5.00, but $5.00.
                    if pattern.ends_with("¤#") && symbol.ends_with(char::is_alphabetic) {
                        out.write_char(NO_BREAK_SPACE)?;
                    }
                    rounded.write(locale, locale.currency_group, out)?;
                }
                '-' => out.write_str(locale.minus)?,
                _ => out.write_char(NO_BREAK_SPACE)?,
            }
        }
        Ok(true)
    })
}

/// Calls `write` with the digits and locale of each row that has both; the row is NULL where it has not, or returns false.
fn each(
    call: &Arguments,
    write: impl Fn(usize, &str, &Locale, &mut StringBuilder) -> std::result::Result<bool, fmt::Error>,
) -> Result<ArrayRef> {
    let Some(numbers) = call.values.first() else { return exec_err!("a number is missing") };
    let names = if call.values.len() > 2 { Some(call.text(2)?) } else { None };
    let mut results = StringBuilder::new();
    let mut digits = String::new();
    for row in 0..call.rows {
        digits.clear();
        let name = names.as_ref().map_or(Some(DEFAULT_LOCALE), |names| names.get(row));
        let locale = name.and_then(Locale::find);
        let known = write_digits(numbers, numbers.index(row), &mut digits)?;
        let written = match locale.filter(|_| known) {
            Some(locale) => write(row, &digits, locale, &mut results)
                .map_err(|_| exec_datafusion_err!("a number could not be written"))?,
            None => false,
        };
        if written { results.append_value("") } else { results.append_null() }
    }
    Ok(Arc::new(results.finish()))
}

/// Writes all digits of a number, such as `-1234.5`; false if it has none.
fn write_digits(numbers: &Argument, index: usize, out: &mut String) -> Result<bool> {
    let values = &numbers.values;
    if values.is_null(index) {
        return Ok(false);
    }
    let written = match values.data_type() {
        DataType::Int64 => write!(out, "{}", values.as_primitive::<Int64Type>().value(index)),
        DataType::UInt64 => write!(out, "{}", values.as_primitive::<UInt64Type>().value(index)),
        DataType::Float64 => match values.as_primitive::<Float64Type>().value(index) {
            // The shortest text that stands for this number alone, never with an exponent.
            value if value.is_finite() => write!(out, "{value}"),
            _ => return Ok(false),
        },
        DataType::Decimal128(precision, scale) => {
            let value = values.as_primitive::<Decimal128Type>().value(index);
            out.push_str(&Decimal128Type::format_decimal(value, *precision, *scale));
            Ok(())
        }
        other => return exec_err!("{other} can't be written as a number"),
    };
    written.map(|()| true).map_err(|_| exec_datafusion_err!("a number could not be written"))
}

/// A number to some decimals.
struct Rounded {
    /// Below zero; what is rounded to zero is not.
    negative: bool,
    digits: Vec<u8>,
    decimals: usize,
}

impl Rounded {
    fn new(text: &str, decimals: usize) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = fraction.as_bytes();
        let kept = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(decimals);
        let mut digits: Vec<u8> = integer.bytes().chain(kept).collect();
        if fraction.get(decimals).is_some_and(|next| *next >= b'5') {
            carry(&mut digits);
        }
        let negative = negative && digits.iter().any(|digit| *digit != b'0');
        Self { negative, digits, decimals }
    }

    /// Writes the digits without the sign.
    fn write(&self, locale: &Locale, group: char, out: &mut StringBuilder) -> fmt::Result {
        let integers = self.digits.len().saturating_sub(self.decimals);
        let grouped = integers >= 3 + locale.min_group;
        for (index, digit) in self.digits.iter().enumerate() {
            if index == integers {
                out.write_char(locale.decimal)?;
            } else if grouped
                && index > 0
                && index < integers
                && (integers - index).is_multiple_of(3)
            {
                out.write_char(group)?;
            }
            out.write_char(char::from(*digit))?;
        }
        Ok(())
    }
}

/// Adds one to the last digit.
fn carry(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit == b'9' {
            *digit = b'0';
        } else {
            *digit += 1;
            return;
        }
    }
    digits.insert(0, b'1');
}

#[cfg(test)]
mod tests;
