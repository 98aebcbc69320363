//! Event-time windows.

use std::fmt;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use postrider_core::format_duration;

use crate::Zone;

/// How an aggregate cuts event time. Windows are half open, `[start, end)`, and aligned to the Unix
/// epoch, as in Flink; an offset, from 0 to where the next window would begin, shifts them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// Each row falls in one window of fixed size.
    Tumble {
        /// Length of a window.
        size_ns: i64,
        /// How much later than a multiple of the size a window starts.
        offset_ns: i64,
    },
    /// Windows of `size_ns` start every `slide_ns` and overlap; the slide is no longer than the size.
    Hop {
        /// From one window's start to the next.
        slide_ns: i64,
        /// Length of a window.
        size_ns: i64,
        /// How much later than a multiple of the slide a window starts.
        offset_ns: i64,
    },
    /// Windows that start every `size_ns` and end after each `step_ns` of that: `[0, 1 h)`, `[0, 2 h)` and so on up to
    /// the size, a multiple of the step.
    Cumulate {
        /// From one window's end to the next.
        step_ns: i64,
        /// Length of the longest window.
        size_ns: i64,
        /// How much later than a multiple of the size a window starts.
        offset_ns: i64,
    },
    /// A window for each run of rows of a group that are at most `gap_ns` apart; it ends `gap_ns`
    /// after its last row.
    Session {
        /// The silence that ends a session.
        gap_ns: i64,
    },
    /// Days, weeks or months as the clocks of a time zone show them.
    Calendar {
        /// Length of a window.
        period: Period,
        /// How much later than midnight, or than the first of a month, a window starts on those clocks.
        offset_ns: i64,
        /// The zone; `None` is that of each row.
        zone: Option<Zone>,
    },
    /// The window that each row has already, as the result of another aggregate or of a window table function: its time is the last
    /// of that.
    Given {
        /// How long before that last time there may be rows.
        reach_ns: i64,
    },
}

/// A length of time that the calendar decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// So many days, counted from 1970-01-01.
    Days(i32),
    /// So many months, counted from January 1970.
    Months(i32),
}

impl Period {
    /// A length that none exceeds: days of 24 hours, months of 31 days, and a day for clocks that are put back, be it over the
    /// date line.
    fn longest_ns(self) -> i64 {
        const DAY_NS: i64 = 86_400_000_000_000;
        let days = match self {
            Self::Days(days) => i64::from(days),
            Self::Months(months) => i64::from(months) * 31,
        };
        (days + 1).saturating_mul(DAY_NS)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(1) => f.write_str("1 day"),
            Self::Days(days) => write!(f, "{days} days"),
            Self::Months(1) => f.write_str("1 month"),
            Self::Months(months) => write!(f, "{months} months"),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Tumble { size_ns, .. } => write!(f, "windows of {}", format_duration(size_ns)),
            Self::Hop { slide_ns, size_ns, .. } => write!(
                f,
                "windows of {} every {}",
                format_duration(size_ns),
                format_duration(slide_ns)
            ),
            Self::Cumulate { step_ns, size_ns, .. } => write!(
                f,
                "windows that grow by {} up to {}",
                format_duration(step_ns),
                format_duration(size_ns)
            ),
            Self::Session { gap_ns } => {
                write!(f, "sessions with a gap of {}", format_duration(gap_ns))
            }
            Self::Calendar { period, zone: Some(zone), .. } => {
                write!(f, "windows of {period} in {zone}")
            }
            Self::Calendar { period, zone: None, .. } => {
                write!(f, "windows of {period} in the time zone of each row")
            }
            Self::Given { .. } => write!(f, "the windows of its input"),
        }?;
        match self.offset_ns() {
            0 => Ok(()),
            offset if offset < 0 => write!(f, ", shifted back by {}", format_duration(-offset)),
            offset => write!(f, ", shifted by {}", format_duration(offset)),
        }
    }
}

impl Window {
    /// How far behind the watermark a row may be that open windows depend on; `None` if there is no limit.
    pub fn reach_ns(self) -> Option<i64> {
        match self {
            Self::Tumble { size_ns, .. }
            | Self::Hop { size_ns, .. }
            | Self::Cumulate { size_ns, .. } => Some(size_ns),
            Self::Calendar { period, .. } => Some(period.longest_ns()),
            Self::Given { reach_ns } => Some(reach_ns),
            Self::Session { .. } => None,
        }
    }

    /// How much later than those of the Unix epoch the windows start.
    const fn offset_ns(self) -> i64 {
        match self {
            Self::Tumble { offset_ns, .. }
            | Self::Hop { offset_ns, .. }
            | Self::Cumulate { offset_ns, .. }
            | Self::Calendar { offset_ns, .. } => offset_ns,
            Self::Session { .. } | Self::Given { .. } => 0,
        }
    }
}

/// The type of a window value: a struct of `start` and `end`, never NULL.
pub fn window_type() -> DataType {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    DataType::Struct(Fields::from(vec![
        Field::new("start", time.clone(), false),
        Field::new("end", time, false),
    ]))
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn windows_print_in_words() {
        let minute = 60_000_000_000;
        let hop = Window::Hop { slide_ns: minute, size_ns: 60 * minute, offset_ns: 0 };
        assert_eq!(hop.to_string(), "windows of 1 hour every 1 minute");
        let tumble = Window::Tumble { size_ns: minute, offset_ns: 1_000_000_000 };
        assert_eq!(tumble.to_string(), "windows of 1 minute, shifted by 1 second");
        let cumulate = Window::Cumulate { step_ns: minute, size_ns: 60 * minute, offset_ns: 0 };
        assert_eq!(cumulate.to_string(), "windows that grow by 1 minute up to 1 hour");
        let session = Window::Session { gap_ns: 30 * minute };
        assert_eq!(session.to_string(), "sessions with a gap of 30 minutes");
    }
}
