//! How a command fails: a text for people and an exit code for scripts.

use postrider_core::{Diagnostics, ErrorKind};
use postrider_engine::EngineError;
use postrider_mail::MailError;
use postrider_store::{CheckpointError, LogError};

/// The work failed.
pub(crate) const FAILED: u8 = 1;
/// Bad usage, invalid SQL or settings.
pub(crate) const INVALID: u8 = 2;
/// Another process took over (`EX_TEMPFAIL` of sysexits).
pub(crate) const FENCED: u8 = 75;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: u8,
}

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: FAILED }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: INVALID }
    }

    /// The work was done, and what it had to say is lost.
    pub(crate) fn unprinted(why: &str) -> Self {
        Self::failed(format!("the output could not be written: {why}"))
    }

    fn of_kind(kind: ErrorKind, text: String) -> Self {
        let code = match kind {
            ErrorKind::Invalid => INVALID,
            ErrorKind::Fenced => FENCED,
            ErrorKind::Retry | ErrorKind::Data | ErrorKind::Bug => FAILED,
        };
        Self { text, code }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::of_kind(error.kind(), error.to_string())
    }
}

impl From<MailError> for Failure {
    fn from(error: MailError) -> Self {
        Self::of_kind(error.kind(), error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::of_kind(error.kind(), error.to_string())
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self::of_kind(error.kind(), error.to_string())
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::invalid(diagnostics.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<datafusion::common::DataFusionError> for Failure {
    fn from(error: datafusion::common::DataFusionError) -> Self {
        Self::failed(error.strip_backtrace())
    }
}
