//! How event time is cut into slices, and which slices a window is made of.
//!
//! Slices and windows are numbered from 1970 on, backwards as well: slice `n` starts at `n` times its length behind the origin. The first and the
//! last of them reach beyond what 64 bits of nanoseconds hold, so bounds are computed in 128 bits and cut to 64 only where they are
//! shown. Windows that start later have greater numbers and don't end earlier, so they fire in the order of their numbers.

use std::ops::Range;

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
pub(in crate::operator) struct Grid {
    /// The length of a slice.
    slice: i64,
    /// Where slice 0 starts: within a slice behind 1970.
    origin: i64,
    /// The slice at which window 0, or bucket 0, starts.
    first: i64,
    windows: Windows,
}

/// The slices that windows are made of.
#[derive(Debug, Clone, Copy)]
enum Windows {
    /// Window `n` is `size` slices from the `n * slide`th on.
    Hop { slide: i64, size: i64 },
    /// Window `n` ends with slice `2 * n`, and starts with the bucket of so many slices that this one is in.
    Cumulate { bucket: i64 },
}

impl Grid {
    /// Tumbling windows, if `slide` is `size`, and hopping ones. Every window is a whole number of slices.
    pub(in crate::operator) const fn hop(slide: i64, size: i64, offset: i64) -> Self {
        let slice = greatest_common_divisor(slide, size);
        let (origin, first) = (offset.rem_euclid(slice), offset.div_euclid(slice));
        Self {
            slice,
            origin,
            first,
            windows: Windows::Hop { slide: slide / slice, size: size / slice },
        }
    }

    /// Windows that grow by `step`, which is above 1, up to `size`, a multiple of it.
    pub(in crate::operator) const fn cumulate(step: i64, size: i64, offset: i64) -> Self {
        let (origin, first) = (offset.rem_euclid(step), offset.div_euclid(step));
        Self { slice: step, origin, first, windows: Windows::Cumulate { bucket: size / step } }
    }

    /// The slice that holds `time`.
    pub(super) fn span(self, time: i64) -> Span {
        let slice = self.slice_at(time.into());
        // No time lies beyond 64 bits, so cutting the borders to them changes nothing.
        let (first, last) = (self.border(slice), self.border(slice + 1) - 1);
        // The slice of a time is nearer to 0 than the time, but for cumulating windows, whose steps are long enough.
        let number = if self.accumulates() { slice * 2 } else { slice } as i64;
        Span { number, first: cut_to_time(first), last: cut_to_time(last) }
    }

    /// Which stretch of time, of the length of a slice, holds `time`.
    fn slice_at(self, time: i128) -> i128 {
        (time - i128::from(self.origin)).div_euclid(i128::from(self.slice))
    }

    /// Where such a stretch starts.
    fn border(self, slice: i128) -> i128 {
        slice * i128::from(self.slice) + i128::from(self.origin)
    }

    /// The numbers of the slices that a window is made of, and of what shorter windows left.
    pub(super) fn slices_of(self, window: i128) -> Range<i128> {
        match self.windows {
            Windows::Hop { slide, size } => {
                let start = window * i128::from(slide) + i128::from(self.first);
                start..start + i128::from(size)
            }
            Windows::Cumulate { bucket } => self.start_of(window, bucket) * 2..window * 2 + 1,
        }
    }

    /// Start and end of a window, as far as they can be shown.
    pub(super) fn bounds(self, window: i128) -> (i64, i64) {
        let (start, end) = match self.windows {
            Windows::Hop { slide, size } => {
                let start = window * i128::from(slide) + i128::from(self.first);
                (start, start + i128::from(size))
            }
            Windows::Cumulate { bucket } => (self.start_of(window, bucket), window + 1),
        };
        (cut_to_time(self.border(start)), cut_to_time(self.border(end)))
    }

    /// The first slice of the bucket that a slice is in, in slices of time.
    fn start_of(self, slice: i128, bucket: i64) -> i128 {
        let (first, bucket) = (i128::from(self.first), i128::from(bucket));
        (slice - first).div_euclid(bucket) * bucket + first
    }

    /// The first window that is made of a slice and others.
    pub(super) fn first_window_with(self, slice: i128) -> i128 {
        match self.windows {
            Windows::Hop { slide, size } => {
                let behind = slice - i128::from(self.first) - i128::from(size);
                behind.div_euclid(i128::from(slide)) + 1
            }
            Windows::Cumulate { .. } => slice.div_euclid(2) + slice.rem_euclid(2),
        }
    }

    /// The last window that is made of a slice and others.
    pub(super) fn last_window_with(self, slice: i128) -> i128 {
        match self.windows {
            Windows::Hop { slide, .. } => {
                (slice - i128::from(self.first)).div_euclid(i128::from(slide))
            }
            Windows::Cumulate { bucket } => {
                self.start_of(slice.div_euclid(2), bucket) + i128::from(bucket) - 1
            }
        }
    }

    /// The first window that ends behind `time`: windows end where slices do.
    pub(super) fn first_window_behind(self, time: i128) -> i128 {
        let slice = self.slice_at(time);
        self.first_window_with(if self.accumulates() { slice * 2 } else { slice })
    }

    /// Where a window leaves what it merged, if a longer one of the same start follows.
    pub(super) fn left_by(self, window: i128) -> Option<i128> {
        match self.windows {
            Windows::Cumulate { bucket }
                if self.start_of(window, bucket) == self.start_of(window + 1, bucket) =>
            {
                Some(window * 2 + 1)
            }
            _ => None,
        }
    }

    /// The slices that what a window left replaces, if it is no slice but that.
    pub(super) fn replaced_by(self, number: i128) -> Option<Range<i128>> {
        match self.windows {
            Windows::Cumulate { bucket } if number.rem_euclid(2) == 1 => {
                Some(self.start_of(number.div_euclid(2), bucket) * 2..number)
            }
            _ => None,
        }
    }

    /// Whether a window is all of one slice.
    pub(super) const fn is_one_slice(self) -> bool {
        matches!(self.windows, Windows::Hop { size: 1, .. })
    }

    /// Whether a window holds all that the one before held, if that has the same start.
    pub(super) const fn accumulates(self) -> bool {
        matches!(self.windows, Windows::Cumulate { .. })
    }
}

/// A bound as a time; what lies beyond the ends of time is shown as the end.
fn cut_to_time(bound: i128) -> i64 {
    let end = if bound < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(bound).unwrap_or(end)
}

const fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
