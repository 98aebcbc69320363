//! Who carries mail: the contract of a provider, and what an attempt can end in.

mod file;
mod recording;
mod smtp;

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub use file::FileProvider;
pub use recording::RecordingProvider;
pub use smtp::{SmtpOptions, SmtpProvider, SmtpTimeouts};

use crate::{limits::DETAIL_CHARS, message::Outgoing};

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider has taken the message over.
    Accepted {
        /// Its words.
        response: String,
    },
    /// The provider refused the message for good.
    Rejected {
        /// Its code.
        code: u32,
        /// Its words.
        reason: String,
    },
    /// The message was certainly not taken over; another attempt may succeed.
    Retry {
        /// Not before that long.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Nobody can know whether the message was taken over.
    InDoubt {
        /// What happened.
        reason: String,
    },
}

/// Carries mail.
///
/// Contract:
/// - `send` makes one attempt. It always ends by itself, within limits of the provider's own.
/// - [`Outcome::Retry`] promises that the message was not taken over; whoever can't promise that says
///   [`Outcome::InDoubt`].
/// - Any number of calls may run at once.
/// - A call that is dropped before it ends leaves the send in doubt, and nothing else broken.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// Its name in settings and in the log.
    fn name(&self) -> &str;
    /// Makes one attempt.
    async fn send(&self, message: &Outgoing) -> Outcome;
}

/// A provider's words on one line, short enough for the log.
fn detail(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(DETAIL_CHARS)
        .collect::<String>()
        .trim()
        .to_owned()
}
