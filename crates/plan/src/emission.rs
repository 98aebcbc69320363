//! When the results of a window leave.

use std::fmt;

use postrider_core::format_duration;

/// When the results of a window leave, beside its end. Unless that is all, they may change, and so are a changelog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Emission {
    /// How often what changed leaves before the window is complete, in nanoseconds of the epoch's clock.
    pub every_ns: Option<i64>,
    /// How long behind its end the window takes late rows and corrects its results, in nanoseconds of event time.
    pub lateness_ns: i64,
}

impl Emission {
    /// Whether a result leaves once, at the end of its window.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.every_ns.is_none() && self.lateness_ns == 0
    }
}

impl fmt::Display for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.every_ns {
            Some(every) => write!(f, "every {} and at the end", format_duration(every))?,
            None => f.write_str("at the end")?,
        }
        match self.lateness_ns {
            0 => Ok(()),
            lateness => write!(f, ", corrected for {}", format_duration(lateness)),
        }
    }
}
