//! Why the email half can't go on. What goes wrong with one mail is an [`Outcome`](crate::Outcome) or
//! a decision, never an error.

use postrider_core::ErrorKind;
use postrider_store::{LogError, RecordError, ViewError};

/// A failure that stops the dispatcher, a provider or a mailbox.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The log can't be read or written any more.
    #[error("the log failed under the email dispatcher: {0}")]
    Log(#[from] LogError),
    /// A frame that can't be read or contradicts earlier ones.
    #[error("the outbox can't be rebuilt from the log: {0}")]
    Record(#[from] RecordError),
    /// The outbox is in no snapshot that can be used, and no longer in the log.
    #[error("the outbox can't be rebuilt: {0}")]
    View(#[from] ViewError),
    /// Trigger rows that don't hold what their sink promises.
    #[error(
        "{what} of {place} can't be read: {message}; the state directory is damaged or was written by a newer version"
    )]
    Data {
        /// What it is.
        what: &'static str,
        /// Where it is.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// Wrong settings of a provider or mailbox.
    #[error("{0}")]
    Invalid(String),
    /// A directory or socket that can't be used.
    #[error("can't {action} {target}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        target: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl MailError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Log(error) => error.kind(),
            Self::Record(error) => error.kind(),
            Self::View(error) => error.kind(),
            Self::Data { .. } => ErrorKind::Data,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Io { .. } => ErrorKind::Retry,
        }
    }
}
