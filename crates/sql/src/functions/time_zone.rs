//! Times of a place. Every TIMESTAMP is UTC; what a clock on a wall shows at that moment is computed from a zone of the IANA
//! database (`Europe/Berlin`) or a fixed offset (`+02:00`).
//!
//! A zone that is not known gives NULL, since it may come from an event; as a literal it is refused.

use std::sync::Arc;

use chrono::{DateTime, Days, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use datafusion::{
    arrow::{
        array::{ArrayRef, Date32Builder, Int64Builder, TimestampNanosecondBuilder, timezone::Tz},
        datatypes::{DataType, TimeUnit, TimestampNanosecondType},
    },
    common::Result,
    logical_expr::{Signature, TIMEZONE_WILDCARD, TypeSignature, Volatility},
};

use super::scalar::{Arguments, Planned, Scalar, refused};

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
const DAY_NS: i64 = 24 * HOUR_NS;

/// The functions of this file.
pub(super) fn all() -> [Scalar; 5] {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let moment = DataType::Timestamp(TimeUnit::Nanosecond, Some(TIMEZONE_WILDCARD.into()));
    let function = |name, returns, compute| Scalar {
        name,
        signature: Signature::one_of(
            [&time, &moment]
                .map(|time| TypeSignature::Exact(vec![time.clone(), DataType::Utf8]))
                .to_vec(),
            Volatility::Immutable,
        ),
        coerce: None,
        returns,
        check,
        compute,
    };
    [
        function("at_zone", time.clone(), at_zone),
        function("from_zone", time.clone(), from_zone),
        function("local_date", DataType::Date32, local_date),
        function("local_hour", DataType::Int64, local_hour),
        function("local_weekday", DataType::Int64, local_weekday),
    ]
}

fn check(call: &Planned<'_>) -> Result<()> {
    match call.text(1) {
        Some(zone) if zone.parse::<Tz>().is_err() => Err(refused(
            format!("there is no time zone '{zone}'"),
            "write a name of the IANA database, such as 'Europe/Berlin', or an offset, such as '+02:00'",
        )),
        _ => Ok(()),
    }
}

/// Zones by name; the one before is kept, since neighbours mostly have the same.
#[derive(Default)]
struct Zones {
    name: String,
    zone: Option<Tz>,
}

impl Zones {
    fn get(&mut self, name: &str) -> Option<Tz> {
        if self.zone.is_none() || self.name != name {
            name.clone_into(&mut self.name);
            self.zone = name.parse().ok();
        }
        self.zone
    }
}

/// Gives `convert` the time and zone of each row that has both, and its result, if there is one, to `append`.
fn each(
    call: &Arguments,
    convert: impl Fn(i64, &Tz) -> Option<i64>,
    mut append: impl FnMut(Option<i64>),
) -> Result<()> {
    let (times, names) = (call.numbers::<TimestampNanosecondType>(0)?, call.text(1)?);
    let mut zones = Zones::default();
    for row in 0..call.rows {
        let both = times.get(row).zip(names.get(row));
        append(both.and_then(|(time, name)| convert(time, &zones.get(name)?)));
    }
    Ok(())
}

fn at_zone(call: &Arguments) -> Result<ArrayRef> {
    let mut results = TimestampNanosecondBuilder::with_capacity(call.rows);
    each(call, local, |time| results.append_option(time))?;
    Ok(Arc::new(results.finish()))
}

fn from_zone(call: &Arguments) -> Result<ArrayRef> {
    let mut results = TimestampNanosecondBuilder::with_capacity(call.rows);
    each(call, utc, |time| results.append_option(time))?;
    Ok(Arc::new(results.finish()))
}

fn local_date(call: &Arguments) -> Result<ArrayRef> {
    let mut results = Date32Builder::with_capacity(call.rows);
    let day = |time, zone: &Tz| Some(local(time, zone)?.div_euclid(DAY_NS));
    each(call, day, |day| results.append_option(day.and_then(|day| i32::try_from(day).ok())))?;
    Ok(Arc::new(results.finish()))
}

fn local_hour(call: &Arguments) -> Result<ArrayRef> {
    integers(call, |local| local.rem_euclid(DAY_NS) / HOUR_NS)
}

/// 1 is Monday, as in ISO 8601; 1970 began on a Thursday.
fn local_weekday(call: &Arguments) -> Result<ArrayRef> {
    integers(call, |local| (local.div_euclid(DAY_NS) + 3).rem_euclid(7) + 1)
}

fn integers(call: &Arguments, of: impl Fn(i64) -> i64) -> Result<ArrayRef> {
    let mut results = Int64Builder::with_capacity(call.rows);
    each(call, |time, zone| local(time, zone).map(&of), |value| results.append_option(value))?;
    Ok(Arc::new(results.finish()))
}

/// What the clocks of a zone show at a moment; `None` outside of what nanoseconds hold.
fn local(time: i64, zone: &Tz) -> Option<i64> {
    let offset = zone.offset_from_utc_datetime(&naive(time));
    time.checked_add(seconds(&offset))
}

/// The moment at which the clocks of a zone show a time: the first of two when they are set back. A time that they jump over is as
/// far behind the jump as it is behind its beginning.
fn utc(time: i64, zone: &Tz) -> Option<i64> {
    let wall = naive(time);
    let offset = match zone.offset_from_local_datetime(&wall) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => offset,
        // Far enough before: a jump is at most a day, and a zone at most 14 hours from UTC.
        MappedLocalTime::None => {
            zone.offset_from_utc_datetime(&wall.checked_sub_days(Days::new(2))?)
        }
    };
    time.checked_sub(seconds(&offset))
}

fn naive(time: i64) -> NaiveDateTime {
    DateTime::from_timestamp_nanos(time).naive_utc()
}

fn seconds(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc()) * SECOND_NS
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use datafusion::arrow::array::timezone::Tz;

    use super::{local, utc};

    fn ns(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap()
    }

    #[test]
    fn every_hour_of_a_year_comes_back_but_the_one_that_clocks_show_twice() {
        for name in
            ["Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kolkata", "+05:45", "UTC"]
        {
            let zone: Tz = name.parse().unwrap();
            let hours =
                (0..24 * 365).map(|hour| ns("2011-01-01T00:30:00Z") + hour * 3_600_000_000_000);
            let changed =
                hours.filter(|&time| utc(local(time, &zone).unwrap(), &zone) != Some(time));
            let summer_time = ["Europe/Berlin", "America/New_York", "Pacific/Apia"].contains(&name);
            assert_eq!(changed.count(), usize::from(summer_time), "{name}");
        }
    }

    #[test]
    fn a_time_that_clocks_jump_over_is_moved_by_the_jump() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        assert_eq!(utc(ns("2026-03-29T02:30:00Z"), &berlin), Some(ns("2026-03-29T01:30:00Z")));
        // Samoa had no 30th of December in 2011: the clocks went from UTC-10 to UTC+14.
        let apia: Tz = "Pacific/Apia".parse().unwrap();
        assert_eq!(utc(ns("2011-12-30T12:00:00Z"), &apia), Some(ns("2011-12-30T22:00:00Z")));
        assert_eq!(local(ns("2011-12-30T22:00:00Z"), &apia), Some(ns("2011-12-31T12:00:00Z")));
    }
}
