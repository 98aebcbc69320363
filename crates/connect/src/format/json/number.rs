//! Numbers from their JSON text.

/// 2^53: up to here every whole number is exact as a double.
const EXACT_IN_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// What a number is as a whole number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// This one.
    Number(i128),
    /// It has a fraction.
    Fraction,
    /// More than 2^127, or a double too large to be exact.
    TooLarge,
}

/// Reads a whole number. `3.0` and `1e3` are whole too: some producers know doubles only.
#[inline]
pub(super) fn whole(text: &str) -> Whole {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    // 19 nines are below 2^64.
    if digits.len() <= 19 {
        let mut value = 0_u64;
        let mut plain = true;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            plain &= digit <= 9;
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        if plain {
            let value = i128::from(value);
            return Whole::Number(if negative { -value } else { value });
        }
    }
    whole_slow(text)
}

#[cold]
fn whole_slow(text: &str) -> Whole {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return text.parse().map_or(Whole::TooLarge, Whole::Number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.fract() != 0.0 => Whole::Fraction,
        // The comparison also keeps infinities out; below 2^53 the conversion is exact.
        Ok(number) if number.abs() <= EXACT_IN_DOUBLE => Whole::Number(number as i128),
        _ => Whole::TooLarge,
    }
}

/// Reads `text` as a whole number of `10^-scale`, rounding half away from zero as SQL does.
/// `None`: no number, or beyond 38 digits.
pub(super) fn scaled(text: &str, scale: i32) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() {
        return None;
    }
    // The power of ten of the digit at hand, counted in units of 10^-scale.
    let mut power = i64::try_from(whole.len()).ok()? - 1 + i64::from(exponent) + i64::from(scale);
    let mut value = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = i128::from(byte - b'0');
        match power {
            0.. => value = value.checked_mul(10)?.checked_add(digit)?,
            -1 if digit >= 5 => value = value.checked_add(1)?,
            _ => {}
        }
        power -= 1;
    }
    // Every place down to the unit that the text did not write is a zero.
    if value != 0 {
        for _ in 0..=power {
            value = value.checked_mul(10)?;
        }
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::{Whole, scaled, whole};

    #[test]
    fn whole_numbers_in_every_spelling() {
        assert_eq!(whole("-9223372036854775808"), Whole::Number(i128::from(i64::MIN)));
        assert_eq!(whole("18446744073709551615"), Whole::Number(i128::from(u64::MAX)));
        assert_eq!(whole("3.0"), Whole::Number(3));
        assert_eq!(whole("-1e3"), Whole::Number(-1000));
        assert_eq!(whole("3.5"), Whole::Fraction);
        assert_eq!(whole("1e300"), Whole::TooLarge);
        assert_eq!(whole(&"9".repeat(60)), Whole::TooLarge);
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        assert_eq!(scaled("19.99", 2), Some(1999));
        assert_eq!(scaled("-0.005", 2), Some(-1));
        assert_eq!(scaled("0.0049", 2), Some(0));
        assert_eq!(scaled("1.5e3", 2), Some(150_000));
        assert_eq!(scaled("12e-1", 0), Some(1));
        assert_eq!(scaled("7", 6), Some(7_000_000));
        assert_eq!(scaled("1e40", 2), None);
        assert_eq!(scaled("0e999999999", 2), Some(0));
        assert_eq!(scaled("1e-999999999", 2), Some(0));
        assert_eq!(scaled("x", 2), None);
        assert_eq!(scaled(&"1".repeat(400), 0), None);
    }
}
