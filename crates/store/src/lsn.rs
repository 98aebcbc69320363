//! The place of a frame in the log.

use std::fmt;

/// A logical byte offset in the log, counted over all segments without their headers. The first frame
/// is at 0; the frame after one of `n` bytes is `n` further on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Where the first frame of a new log is.
    pub const ZERO: Self = Self(0);

    /// The place this many bytes further on.
    #[must_use]
    pub(crate) const fn advance(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
