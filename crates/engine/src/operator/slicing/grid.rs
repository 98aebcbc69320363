//! How event time is cut into slices, and which slices a window is made of.
//!
//! Slices and windows are numbered from 1970 on, backwards as well. The first and the
//! last of them reach beyond what 64 bits of nanoseconds hold, so bounds are computed in 128 bits and cut to 64 only where they are
//! shown. Windows that start later have greater numbers and don't end earlier, so they fire in the order of their numbers.

use std::ops::Range;

use chrono_tz::Tz;

use postrider_plan::Window;

use crate::calendar::Calendar;

/// Which slice a time is in, and which other times are.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) number: i64,
    first: i64,
    last: i64,
}

impl Span {
    pub(super) const fn holds(self, time: i64) -> bool {
        self.first <= time && time <= self.last
    }
}

/// Slices, and the windows over them.
///
/// Where windows accumulate, slices have even numbers, and what a window left for the next one has the odd number behind its last
/// slice: it lasts as long as the bucket, and replaces all that is before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    slices: Slices,
    windows: Windows,
}

/// Where slices begin.
#[derive(Debug, Clone, Copy)]
enum Slices {
    /// Every so many nanoseconds; slice 0 at `origin`, which is within a slice behind 1970.
    Even { length: i64, origin: i64 },
    /// With each period of a calendar.
    Calendar(Calendar, Tz),
}

/// The slices that windows are made of.
#[derive(Debug, Clone, Copy)]
enum Windows {
    /// Window `n` is `size` slices from the `n * slide`th behind slice `first` on.
    Hop { slide: i64, size: i64, first: i64 },
    /// Window `n` ends with slice `2 * n`, and starts with the bucket of so many slices that this one is in; a bucket starts
    /// with slice `2 * first`.
    Cumulate { bucket: i64, first: i64 },
    /// Each slice is the last nanosecond of windows whose starts the rows know.
    Own,
}

impl Grid {
    /// Tumbling windows, if `slide` is `size`, and hopping ones. Every window is a whole number of slices.
    pub(in crate::operator) const fn hop(slide: i64, size: i64, offset: i64) -> Self {
        let length = greatest_common_divisor(slide, size);
        let first = offset.div_euclid(length);
        Self {
            slices: Slices::Even { length, origin: offset.rem_euclid(length) },
            windows: Windows::Hop { slide: slide / length, size: size / length, first },
        }
    }

    /// Windows that grow by `step`, which is above 1, up to `size`, a multiple of it.
    pub(in crate::operator) const fn cumulate(step: i64, size: i64, offset: i64) -> Self {
        let first = offset.div_euclid(step);
        Self {
            slices: Slices::Even { length: step, origin: offset.rem_euclid(step) },
            windows: Windows::Cumulate { bucket: size / step, first },
        }
    }

    /// A window for each period of a calendar.
    pub(in crate::operator) const fn calendar(calendar: Calendar, zone: Tz) -> Self {
        Self {
            slices: Slices::Calendar(calendar, zone),
            windows: Windows::Hop { slide: 1, size: 1, first: 0 },
        }
    }

    /// Windows that rows bring along: their time is the last nanosecond of it. Slice and window `n` end at `n`.
    pub(in crate::operator) const fn own() -> Self {
        Self { slices: Slices::Even { length: 1, origin: -1 }, windows: Windows::Own }
    }

    /// The grid of windows that the time of a row decides about.
    pub(crate) fn of(window: Window) -> Option<Self> {
        match window {
            Window::Tumble { size_ns, offset_ns } => Some(Self::hop(size_ns, size_ns, offset_ns)),
            Window::Hop { slide_ns, size_ns, offset_ns } => {
                Some(Self::hop(slide_ns, size_ns, offset_ns))
            }
            Window::Cumulate { step_ns, size_ns, offset_ns } => {
                Some(Self::cumulate(step_ns, size_ns, offset_ns))
            }
            Window::Calendar { period, offset_ns, zone: Some(zone) } => {
                Some(Self::calendar(Calendar { period, offset_ns }, zone.0))
            }
            Window::Calendar { zone: None, .. } | Window::Given { .. } | Window::Session { .. } => {
                None
            }
        }
    }

    /// Start and end of each window that holds `time`.
    pub(crate) fn windows_at(self, time: i64) -> impl Iterator<Item = (i64, i64)> {
        let slice = i128::from(self.span(time).number);
        let windows = self.first_window_with(slice)..=self.last_window_with(slice);
        windows.map(move |window| self.bounds(window))
    }

    /// The slice that holds `time`.
    pub(super) fn span(self, time: i64) -> Span {
        let slice = self.slice_at(time.into());
        // No time lies beyond 64 bits, so cutting the borders to them changes nothing.
        let (first, last) = (self.border(slice), self.border(slice + 1) - 1);
        // Slices of one nanosecond have the times for numbers; longer ones, and the steps of cumulating windows, far smaller ones.
        let number = if self.accumulates() { slice * 2 } else { slice } as i64;
        Span { number, first: cut_to_time(first), last: cut_to_time(last) }
    }

    /// Which stretch between two borders holds `time`.
    fn slice_at(self, time: i128) -> i128 {
        match self.slices {
            Slices::Even { length, origin } => {
                (time - i128::from(origin)).div_euclid(i128::from(length))
            }
            Slices::Calendar(calendar, zone) => calendar.period_of(zone, cut_to_time(time)).into(),
        }
    }

    /// Where such a stretch starts.
    fn border(self, slice: i128) -> i128 {
        match self.slices {
            Slices::Even { length, origin } => slice * i128::from(length) + i128::from(origin),
            Slices::Calendar(calendar, zone) => calendar.begin(zone, cut_to_time(slice)),
        }
    }

    /// The stretches that a window is made of.
    fn stretches_of(self, window: i128) -> Range<i128> {
        match self.windows {
            Windows::Hop { slide, size, first } => {
                let start = window * i128::from(slide) + i128::from(first);
                start..start + i128::from(size)
            }
            Windows::Cumulate { bucket, first } => start_of(window, bucket, first)..window + 1,
            Windows::Own => window..window + 1,
        }
    }

    /// The numbers of the slices that a window is made of, and of what shorter windows left.
    pub(super) fn slices_of(self, window: i128) -> Range<i128> {
        let Range { start, end } = self.stretches_of(window);
        if self.accumulates() { start * 2..end * 2 - 1 } else { start..end }
    }

    /// Start and end of a window, as far as they can be shown.
    pub(super) fn bounds(self, window: i128) -> (i64, i64) {
        let Range { start, end } = self.stretches_of(window);
        (cut_to_time(self.border(start)), cut_to_time(self.border(end)))
    }

    /// The first window that is made of a slice and others.
    pub(super) fn first_window_with(self, slice: i128) -> i128 {
        match self.windows {
            Windows::Hop { slide, size, first } => {
                let behind = slice - i128::from(first) - i128::from(size);
                behind.div_euclid(i128::from(slide)) + 1
            }
            Windows::Cumulate { .. } => slice.div_euclid(2) + slice.rem_euclid(2),
            Windows::Own => slice,
        }
    }

    /// The last window that is made of a slice and others.
    pub(super) fn last_window_with(self, slice: i128) -> i128 {
        match self.windows {
            Windows::Hop { slide, first, .. } => {
                (slice - i128::from(first)).div_euclid(i128::from(slide))
            }
            Windows::Cumulate { bucket, first } => {
                start_of(slice.div_euclid(2), bucket, first) + i128::from(bucket) - 1
            }
            Windows::Own => slice,
        }
    }

    /// The first window that ends behind `time`: windows end where slices do.
    pub(super) fn first_window_behind(self, time: i128) -> i128 {
        let slice = self.slice_at(time);
        self.first_window_with(if self.accumulates() { slice * 2 } else { slice })
    }

    /// Where a window leaves what it merged, if a longer one of the same start follows.
    pub(super) fn left_by(self, window: i128) -> Option<i128> {
        let Windows::Cumulate { bucket, first } = self.windows else { return None };
        let goes_on = start_of(window, bucket, first) == start_of(window + 1, bucket, first);
        goes_on.then_some(window * 2 + 1)
    }

    /// The slices that what a window left replaces, if it is no slice but that.
    pub(super) fn replaced_by(self, number: i128) -> Option<Range<i128>> {
        match self.windows {
            Windows::Cumulate { bucket, first } if number.rem_euclid(2) == 1 => {
                Some(start_of(number.div_euclid(2), bucket, first) * 2..number)
            }
            _ => None,
        }
    }

    /// Whether a window is all of one slice.
    pub(super) const fn is_one_slice(self) -> bool {
        matches!(self.windows, Windows::Hop { size: 1, .. } | Windows::Own)
    }

    /// Whether a window holds all that the one before held, if that has the same start.
    pub(super) const fn accumulates(self) -> bool {
        matches!(self.windows, Windows::Cumulate { .. })
    }

    /// Whether the start of a window is the last key of its rows.
    pub(super) const fn is_own(self) -> bool {
        matches!(self.windows, Windows::Own)
    }
}

/// The first stretch of the bucket that one is in.
fn start_of(stretch: i128, bucket: i64, first: i64) -> i128 {
    let (first, bucket) = (i128::from(first), i128::from(bucket));
    (stretch - first).div_euclid(bucket) * bucket + first
}

/// A bound as a time; what lies beyond the ends of time is shown as the end.
fn cut_to_time(bound: i128) -> i64 {
    let end = if bound < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(bound).unwrap_or(end)
}

const fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
