//! Days and months of a time zone: when they begin, and which one a time is in.
//!
//! A period begins at the first instant at which the clocks of the zone show its beginning, or something later. Where they skip
//! that moment (midnight, in some zones, when summer begins), it begins when they go on; where they show it twice, at the first
//! time. So periods border on each other, and a day has 23, 24 or 25 hours. A date that a zone skipped is an empty day.
//!
//! Periods are numbered from the one that begins with 1970-01-01 on the zone's clocks, so a number is the same day whatever later
//! is known about the zone. After 2099 the zones' rules are not known any more: the last offset stays.

use std::collections::{HashMap, hash_map::Entry};

use arrow::array::{StringArray, TimestampNanosecondArray};
use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{GapInfo, Tz};
use datafusion::common::{Result, exec_err};
use postrider_plan::{Period, Zone};

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// How a calendar is cut into periods.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    pub(crate) period: Period,
    /// How much later than midnight, or than the first of the month, a period begins on the zone's clocks.
    pub(crate) offset_ns: i64,
}

impl Calendar {
    /// The number of the period that `time` is in.
    pub(crate) fn period_of(self, zone: Tz, time: i64) -> i64 {
        let time = i128::from(time);
        let local = time + offset_at(zone, time) - i128::from(self.offset_ns);
        let mut number = match self.period {
            Period::Days(days) => (local.div_euclid(DAY * i128::from(days))) as i64,
            Period::Months(months) => month_of(local).div_euclid(i64::from(months)),
        };
        // The clocks may be set within a period, or across its border.
        while self.begin(zone, number) > time {
            number -= 1;
        }
        while self.begin(zone, number + 1) <= time {
            number += 1;
        }
        number
    }

    /// The instant at which a period begins.
    pub(crate) fn begin(self, zone: Tz, number: i64) -> i128 {
        let midnight = match self.period {
            Period::Days(days) => i128::from(number) * i128::from(days) * DAY,
            Period::Months(months) => first_of_month(number.saturating_mul(i64::from(months))),
        };
        instant(zone, midnight + i128::from(self.offset_ns))
    }
}

impl Calendar {
    /// The start of each time's period in its own zone, and the last time of that period.
    pub(crate) fn windows(
        self,
        zones: &StringArray,
        times: &TimestampNanosecondArray,
    ) -> Result<(TimestampNanosecondArray, TimestampNanosecondArray)> {
        // Rows of a batch mostly share a few zones and days.
        let mut known: HashMap<&str, Days> = HashMap::new();
        let mut starts = Vec::with_capacity(times.len());
        let mut lasts = Vec::with_capacity(times.len());
        for (name, &time) in zones.iter().zip(times.values()) {
            let Some(name) = name else {
                return exec_err!("a row without a time zone is in no day");
            };
            let days = match known.entry(name) {
                Entry::Occupied(days) => days.into_mut(),
                Entry::Vacant(vacant) => match Zone::named(name) {
                    Some(Zone(zone)) => vacant.insert(Days { zone, start: 0, last: -1 }),
                    None => return exec_err!("there is no time zone '{name}'"),
                },
            };
            if time < days.start || days.last < time {
                let number = self.period_of(days.zone, time);
                days.start = cut_to_time(self.begin(days.zone, number));
                days.last = cut_to_time(self.begin(days.zone, number + 1)) - 1;
            }
            starts.push(days.start);
            lasts.push(days.last);
        }
        Ok((starts.into(), lasts.into()))
    }
}

/// A zone, and the period that was looked up last.
struct Days {
    zone: Tz,
    start: i64,
    last: i64,
}

/// The first instant at which the clocks of a zone show a time, in nanoseconds behind 1970, or a later one.
fn instant(zone: Tz, local: i128) -> i128 {
    let Some(shown) = naive(local) else { return local };
    let offset = match zone.offset_from_local_datetime(&shown) {
        MappedLocalTime::Single(offset) => seconds(&offset),
        MappedLocalTime::Ambiguous(one, other) => seconds(&one).max(seconds(&other)),
        MappedLocalTime::None => {
            let resumed = GapInfo::new(&shown, &zone).and_then(|gap| gap.end);
            return match resumed {
                Some(resumed) => i128::from(resumed.timestamp()) * SECOND,
                None => local - offset_at(zone, local - DAY),
            };
        }
    };
    local - i128::from(offset) * SECOND
}

/// How far the clocks of a zone are ahead of UTC at an instant, in nanoseconds.
fn offset_at(zone: Tz, instant: i128) -> i128 {
    naive(instant)
        .map_or(0, |utc| i128::from(seconds(&zone.offset_from_utc_datetime(&utc))) * SECOND)
}

fn seconds(offset: &impl Offset) -> i32 {
    offset.fix().local_minus_utc()
}

/// A border as a time; what lies beyond the ends of time is shown as the end.
fn cut_to_time(border: i128) -> i64 {
    let end = if border < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(border).unwrap_or(end)
}

/// Times that 64 bits of nanoseconds hold, and centuries around them, are within what the calendar knows.
fn naive(time: i128) -> Option<NaiveDateTime> {
    let (seconds, rest) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, u32::try_from(rest).ok()?)?;
    Some(time.naive_utc())
}

/// Months from January 1970 to the one that a local time is in.
fn month_of(local: i128) -> i64 {
    naive(local)
        .map_or(0, |shown| (i64::from(shown.year()) - 1970) * 12 + i64::from(shown.month0()))
}

/// The local time at which a month begins, counted from January 1970.
fn first_of_month(month: i64) -> i128 {
    let year = i32::try_from(1970 + month.div_euclid(12)).ok();
    let first = year.zip(u32::try_from(month.rem_euclid(12) + 1).ok());
    let first = first.and_then(|(year, month)| NaiveDate::from_ymd_opt(year, month, 1));
    let days = first.map_or(0, |first| i64::from(first.num_days_from_ce()) - EPOCH_DAYS);
    i128::from(days) * DAY
}

/// Days from the first of January of the year 1, which is day 1, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_163;

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, TimeZone};
    use chrono_tz::Tz;
    use postrider_plan::Period;
    use proptest::prelude::*;

    use super::{Calendar, SECOND};

    const HOUR: i64 = 3_600_000_000_000;
    const DAYS: Calendar = Calendar { period: Period::Days(1), offset_ns: 0 };

    fn zone(name: &str) -> Tz {
        name.parse().unwrap()
    }

    fn time(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap()
    }

    /// The period around a time: when it begins and ends.
    fn around(calendar: Calendar, zone: Tz, at: &str) -> (String, String) {
        let number = calendar.period_of(zone, time(at));
        let text = |number| {
            let begin = i64::try_from(calendar.begin(zone, number)).unwrap();
            DateTime::from_timestamp_nanos(begin).to_rfc3339()
        };
        (text(number), text(number + 1))
    }

    fn check(calendar: Calendar, name: &str, at: &str, begin: &str, end: &str) {
        let found = around(calendar, zone(name), at);
        let wanted = (format!("{begin}+00:00"), format!("{end}+00:00"));
        assert_eq!(found, wanted, "{name} {at}");
    }

    #[test]
    fn days_begin_at_local_midnight_and_have_23_to_25_hours() {
        let at = "2026-03-29T12:00:00Z";
        check(DAYS, "Europe/Berlin", at, "2026-03-28T23:00:00", "2026-03-29T22:00:00");
        let at = "2026-10-25T22:59:59Z";
        check(DAYS, "Europe/Berlin", at, "2026-10-24T22:00:00", "2026-10-25T23:00:00");
        let at = "2026-07-01T00:00:00Z";
        check(DAYS, "America/New_York", at, "2026-06-30T04:00:00", "2026-07-01T04:00:00");
        // Half an hour of summer time.
        let at = "2026-10-03T20:00:00Z";
        check(DAYS, "Australia/Lord_Howe", at, "2026-10-03T13:30:00", "2026-10-04T13:00:00");
    }

    #[test]
    fn a_midnight_that_the_clocks_skip_is_when_they_go_on() {
        // Brazil put its clocks from midnight to one o'clock.
        let at = "2018-11-04T12:00:00Z";
        check(DAYS, "America/Sao_Paulo", at, "2018-11-04T03:00:00", "2018-11-05T02:00:00");
        let at = "2018-11-04T02:59:59Z";
        check(DAYS, "America/Sao_Paulo", at, "2018-11-03T03:00:00", "2018-11-04T03:00:00");
    }

    #[test]
    fn a_midnight_that_the_clocks_show_twice_is_the_first() {
        // Cuba puts its clocks from one o'clock back to midnight.
        let at = "2026-11-01T05:30:00Z";
        check(DAYS, "America/Havana", at, "2026-11-01T04:00:00", "2026-11-02T05:00:00");
        // Brazil put its from midnight back to eleven: midnight came an hour later.
        let at = "2018-02-18T02:30:00Z";
        check(DAYS, "America/Sao_Paulo", at, "2018-02-17T02:00:00", "2018-02-18T03:00:00");
    }

    #[test]
    fn a_date_that_a_zone_skipped_has_no_time() {
        let apia = zone("Pacific/Apia");
        let before = DAYS.period_of(apia, time("2011-12-30T09:59:59Z"));
        assert_eq!(DAYS.period_of(apia, time("2011-12-30T10:00:00Z")), before + 2);
        assert_eq!(DAYS.begin(apia, before + 1), DAYS.begin(apia, before + 2));
    }

    #[test]
    fn months_begin_on_their_first_day_or_on_another() {
        let months = |months, offset_ns| Calendar { period: Period::Months(months), offset_ns };
        let (at, berlin) = ("2026-02-28T22:59:59Z", "Europe/Berlin");
        check(months(1, 0), berlin, at, "2026-01-31T23:00:00", "2026-02-28T23:00:00");
        check(months(3, 0), berlin, at, "2025-12-31T23:00:00", "2026-03-31T22:00:00");
        check(months(12, 0), berlin, at, "2025-12-31T23:00:00", "2026-12-31T23:00:00");
        check(months(1, 14 * 24 * HOUR), berlin, at, "2026-02-14T23:00:00", "2026-03-14T23:00:00");
    }

    #[test]
    fn days_may_begin_at_another_hour_and_weeks_on_a_monday() {
        let morning = Calendar { offset_ns: 8 * HOUR, ..DAYS };
        let at = "2026-03-29T05:59:59Z";
        check(morning, "Europe/Berlin", at, "2026-03-28T07:00:00", "2026-03-29T06:00:00");
        let weeks = Calendar { period: Period::Days(7), offset_ns: 4 * 24 * HOUR };
        let at = "2026-03-29T12:00:00Z";
        check(weeks, "Europe/Berlin", at, "2026-03-22T23:00:00", "2026-03-29T22:00:00");
    }

    proptest! {
        #[test]
        fn a_time_is_in_the_period_of_the_date_on_its_clocks(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
            seconds in -9_000_000_000..4_000_000_000_i64,
        ) {
            let time = i128::from(seconds) * SECOND;
            let number = DAYS.period_of(zone, time as i64);
            prop_assert!(DAYS.begin(zone, number) <= time && time < DAYS.begin(zone, number + 1));
            // By the date that the clocks show, but where they were put back over a midnight.
            let shown = zone.timestamp_opt(seconds, 0).unwrap().naive_local().date();
            let day = shown.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days();
            prop_assert!(number == day || number == day + 1, "{zone} {seconds}: {number} is not {day}");
        }
    }
}
