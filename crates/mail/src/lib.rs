//! From a sealed trigger row to at most one email, and a reason for every email that was not sent.
//!
//! Owns: the contract of `connector = 'email'` ([`EmailSink`]), rendering, the bytes of a mail, the decision
//! about each row, providers, the [`Dispatcher`] over the log, and the catch-all [`Mailbox`] of the demo. Does not own:
//! the outbox's fold and the log (`store`), queries (`sql`, `engine`), or settings (`cli`).
//!
//! Nouns: *sink* (a checked email sink of a pipeline), *decision* (why a row is not sent), *provider* (who carries
//! mail), *attempt* (one call of a provider), *outcome* (how it ended), *mailbox* (an SMTP server that keeps
//! everything).
//!
//! Invariants:
//! - A row is decided once; a repeated dedupe key is a duplicate.
//! - The intent is durable before the provider is called, and "not taken over" is said only when it is certain.
//! - The same row gives the same bytes, the same Message-ID and the same send id in every process.
//! - What a row holds is data: it can't add a header, a recipient, a tag or a script.
//! - Neither addresses nor recipient keys are written to the process's log output.
//!
//! Flow: 1. `sink` checks options, template and columns  2. `row` decodes sealed rows  3. `decision` decides
//! 4. `render` and `message` make the mail  5. `dispatcher` appends the intent, calls a `provider`, appends the result.

mod address;
mod contract;
mod decision;
mod dispatcher;
mod error;
mod limits;
mod mailbox;
mod message;
mod provider;
mod render;
mod row;
mod sink;

pub use contract::SinkColumn;
pub use decision::Reason;
pub use dispatcher::{
    Dispatcher, DispatcherHandle, DispatcherOptions, MailObserver, NoObserver, SendFacts,
};
pub use error::MailError;
pub use limits::SNAPSHOT_LOG_BYTES;
pub use mailbox::Mailbox;
pub use message::Outgoing;
pub use provider::{
    FileProvider, Outcome, Provider, RecordingProvider, SmtpOptions, SmtpProvider, SmtpTimeouts,
};
pub use sink::{EmailSink, MailClass, TemplateLoader};
