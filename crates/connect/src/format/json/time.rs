//! Times from text.
//!
//! RFC 3339 and its usual relatives: `2026-11-24T10:00:00Z`, with a fraction, with `+02:00`,
//! `+0200` or `+02`, with a space for the `T`, with ` UTC`, without a zone (then it is UTC), or a
//! date alone (midnight UTC). Digits behind the nanosecond are dropped. A leap second `:60` is the
//! second after it. Civil days follow H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".

/// A moment: seconds since the Unix epoch and nanoseconds behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

const DAY_SECONDS: i64 = 86_400;

impl Moment {
    /// From a count of nanoseconds; `None` beyond what 64 bits of seconds hold.
    pub(super) fn from_nanos(ns: i128) -> Option<Self> {
        let seconds = i64::try_from(ns.div_euclid(1_000_000_000)).ok()?;
        let nanos = u32::try_from(ns.rem_euclid(1_000_000_000)).ok()?;
        Some(Self { seconds, nanos })
    }

    /// In units of which a second has `per_second` (at most 10^9), rounded down.
    #[inline]
    pub(super) fn in_units(self, per_second: i64) -> Option<i64> {
        let nanos_per_unit = 1_000_000_000 / per_second;
        // In one multiplication the lowest representable second would overflow before its
        // nanoseconds are added.
        let units = i128::from(self.seconds) * i128::from(per_second)
            + i128::from(i64::from(self.nanos) / nanos_per_unit);
        i64::try_from(units).ok()
    }

    /// The day, counted from 1970-01-01.
    pub(super) fn day(self) -> Option<i32> {
        i32::try_from(self.seconds.div_euclid(DAY_SECONDS)).ok()
    }
}

/// Two digits at `at`; anything else gives a number that no field of a time allows.
#[inline]
fn two(bytes: &[u8], at: usize) -> u32 {
    const IMPOSSIBLE: u32 = 1000;
    let digit = |at: usize| u32::from(bytes.get(at).map_or(255, |byte| byte.wrapping_sub(b'0')));
    let (tens, ones) = (digit(at), digit(at + 1));
    if tens > 9 || ones > 9 { IMPOSSIBLE } else { tens * 10 + ones }
}

/// The day of `YYYY-MM-DD` at the start of `bytes`, counted from 1970-01-01.
#[inline]
fn civil_day(bytes: &[u8; 10]) -> Option<i64> {
    let (century, year_of_century) = (two(bytes, 0), two(bytes, 2));
    let (month, day) = (two(bytes, 5), two(bytes, 8));
    if century > 99 || year_of_century > 99 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = century * 100 + year_of_century;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    // March is the first month, so that the leap day is the last day of a year.
    let shifted_year = i64::from(year) - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = i64::from((month + 9) % 12);
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The second of the day of `HH:MM:SS` at `at`.
#[inline]
fn clock(bytes: &[u8], at: usize) -> Option<i64> {
    let (hour, minute, second) = (two(bytes, at), two(bytes, at + 3), two(bytes, at + 6));
    let colons = bytes.get(at + 2) == Some(&b':') && bytes.get(at + 5) == Some(&b':');
    if !colons || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(i64::from(hour * 3600 + minute * 60 + second))
}

/// Splits `.123456789..` off the front; its nanoseconds and the rest.
#[inline]
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.' | b',', digits @ ..] = bytes else { return Some((0, bytes)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + digits.get(place).map_or(0, |byte| u32::from(byte - b'0'));
    }
    Some((nanos, rest))
}

/// The offset of a zone in seconds east of UTC.
#[inline]
fn zone(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes {
        [] | [b'Z' | b'z'] | b" UTC" | b" Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (two(rest, 0), 0),
        4 => (two(rest, 0), two(rest, 2)),
        5 if rest.get(2) == Some(&b':') => (two(rest, 0), two(rest, 3)),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// Reads a moment in any of the accepted forms.
#[inline]
pub(super) fn moment(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_first_chunk::<10>()?;
    let day = civil_day(date)?;
    if rest.is_empty() {
        return Some(Moment { seconds: day * DAY_SECONDS, nanos: 0 });
    }
    if !matches!(rest[0], b'T' | b't' | b' ') {
        return None;
    }
    let second = clock(rest, 1)?;
    let (nanos, rest) = fraction(rest.get(9..)?)?;
    Some(Moment { seconds: day * DAY_SECONDS + second - zone(rest)?, nanos })
}

/// Reads `HH:MM:SS[.fraction]` as nanoseconds since midnight.
pub(super) fn time_of_day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let second = clock(bytes, 0).filter(|second| *second < DAY_SECONDS)?;
    let (nanos, rest) = fraction(bytes.get(8..)?)?;
    rest.is_empty().then(|| second * 1_000_000_000 + i64::from(nanos))
}

#[cfg(test)]
mod tests {
    use postrider_core::format_time;
    use proptest::{prop_assert_eq, proptest};

    use super::{Moment, moment, time_of_day};

    fn ns(text: &str) -> Option<i64> {
        moment(text).and_then(|moment| moment.in_units(1_000_000_000))
    }

    #[test]
    fn every_accepted_form_of_one_moment() {
        let expected = ns("2026-11-24T10:00:00Z");
        assert_eq!(expected.map(format_time).as_deref(), Some("2026-11-24T10:00:00Z"));
        for text in [
            "2026-11-24 10:00:00",
            "2026-11-24t10:00:00z",
            "2026-11-24T12:00:00+02:00",
            "2026-11-24T12:00:00.000+0200",
            "2026-11-24 04:30:00-05:30",
            "2026-11-24 12:00:00+02",
            "2026-11-24 10:00:00 UTC",
            "2026-11-24T10:00:00.0000000009Z",
        ] {
            assert_eq!(ns(text), expected, "{text}");
        }
        assert_eq!(ns("2026-11-24"), expected.map(|ns| ns - 10 * 3_600_000_000_000));
        assert_eq!(ns("2016-12-31T23:59:60Z"), ns("2017-01-01"));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-11-24T",
            "2026-11-24T24:00:00",
            "2026-11-24T10:00",
            "2026-11-24T10:00:00.",
            "2026-11-24T10:00:00+",
            "2026-11-24x10:00:00",
            "2026-11-24T10:00:00 +2",
            "2026-11-24T10:00:00é",
            "1700000000000",
            "２０２６-11-24",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn the_borders_of_64_bits_of_nanoseconds() {
        assert_eq!(ns("1677-09-21T00:12:43.145224192Z"), Some(i64::MIN));
        assert_eq!(ns("2262-04-11T23:47:16.854775807Z"), Some(i64::MAX));
        assert_eq!(ns("2262-04-11T23:47:16.854775808Z"), None);
        assert_eq!(moment("0000-01-01"), Some(Moment { seconds: -62_167_219_200, nanos: 0 }));
    }

    #[test]
    fn times_of_day() {
        assert_eq!(time_of_day("23:59:59.5"), Some(86_399_500_000_000));
        assert_eq!(time_of_day("24:00:00"), None);
        assert_eq!(time_of_day("10:00"), None);
    }

    proptest! {
        #[test]
        fn what_core_prints_is_read_back(time: i64) {
            prop_assert_eq!(ns(&format_time(time)), Some(time));
        }

        #[test]
        fn no_text_panics(text: String) {
            moment(&text);
            time_of_day(&text);
        }
    }
}
