//! Event time, watermarks and epochs.
//!
//! The unit of time everywhere is the nanosecond since the Unix epoch, as a signed 64-bit number.

use std::fmt;

/// The time at which an event happened, as the event says. Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

/// The promise "no more events at or before this time" on a stream.
///
/// Follows Flink: a row whose time is at or before the watermark is late, a window `[start, end)`
/// fires once the watermark reaches `end - 1 ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Before any promise was made. Times before 1970 are kept, unlike in Flink, which starts at 0.
    pub const MIN: Self = Self(i64::MIN);
    /// No event will ever come again: the end of a bounded input.
    pub const MAX: Self = Self(i64::MAX);

    /// Whether a window that ends (exclusively) at `end_ns` is complete.
    pub const fn completes(self, end_ns: i64) -> bool {
        self.0 >= end_ns.saturating_sub(1)
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("none"),
            Self::MAX => f.write_str("end"),
            Self(ns) => f.write_str(&format_time(ns)),
        }
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_time(self.0))
    }
}

/// The number of an epoch of one pipeline; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes nanoseconds since the Unix epoch as RFC 3339 in UTC, with as many digits as needed.
///
/// The civil date follows H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
pub fn format_time(ns: i64) -> String {
    let seconds = ns.div_euclid(1_000_000_000);
    let fraction = ns.rem_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let digits = match fraction {
        0 => String::new(),
        f if f % 1_000_000 == 0 => format!(".{:03}", f / 1_000_000),
        f if f % 1_000 == 0 => format!(".{:06}", f / 1_000),
        f => format!(".{f:09}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{clock}{digits}Z")
}

/// Writes a length of time for people: `90 days`, `1 hour 30 minutes`, `250 ms`.
pub fn format_duration(ns: i64) -> String {
    const UNITS: [(i64, &str); 7] = [
        (86_400_000_000_000, "day"),
        (3_600_000_000_000, "hour"),
        (60_000_000_000, "minute"),
        (1_000_000_000, "second"),
        (1_000_000, "ms"),
        (1_000, "µs"),
        (1, "ns"),
    ];
    let mut rest = ns.unsigned_abs();
    let mut parts = Vec::new();
    for (size, name) in UNITS {
        let count = rest / size.unsigned_abs();
        rest %= size.unsigned_abs();
        if count > 0 {
            let plural = if count > 1 && size >= 1_000_000_000 { "s" } else { "" };
            parts.push(format!("{count} {name}{plural}"));
        }
    }
    match (parts.is_empty(), ns < 0) {
        (true, _) => "0 seconds".to_owned(),
        (false, true) => format!("-({})", parts.join(" ")),
        (false, false) => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::{Watermark, format_duration, format_time};

    #[test]
    fn a_window_fires_one_nanosecond_before_its_end() {
        assert!(Watermark(99).completes(100));
        assert!(!Watermark(98).completes(100));
        assert!(!Watermark::MIN.completes(i64::MIN + 2));
    }

    #[test]
    fn times_print_as_rfc_3339() {
        assert_eq!(format_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_time(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(format_time(951_782_400_500_000_000), "2000-02-29T00:00:00.500Z");
        assert_eq!(format_time(1_795_478_399_000_001_000), "2026-11-23T23:59:59.000001Z");
    }

    #[test]
    fn durations_print_in_words() {
        assert_eq!(format_duration(5_400_000_000_000), "1 hour 30 minutes");
        assert_eq!(format_duration(250_000_000), "250 ms");
        assert_eq!(format_duration(0), "0 seconds");
    }
}
