//! What Postrider serves over HTTP: the collector, where events enter, and the page of the local
//! mailbox.
//!
//! | word | meaning |
//! |---|---|
//! | *collector* | the HTTP intake: it answers 2xx only when every event of the request is durable |
//! | *write key* | what a client signs in with; it has a role and names the stream its events join |
//! | *message id* | the sender's own id of an event; known ones are answered `duplicate` |
//! | *mailbox* | a directory of `.eml` files that the local SMTP catch-all fills |
//!
//! Owns: HTTP semantics, write keys, limits of intake and the memory of message ids. Does not own:
//! the meaning of an event (its bytes are journaled exactly as received), the log, or mail.
//!
//! Invariants:
//! - an event is answered `accepted` or `duplicate` only when its first copy is durable;
//! - of any number of posts of one message id within the window, exactly one is accepted;
//! - an event that came with a browser key never names a recipient;
//! - a body is kept only for a known write key and a free place among the requests in flight; of others, a bounded part is
//!   read and dropped, so that their senders get to read the reason.
//!
//! The path of a request: `collector::auth` (who) -> `collector::body` (bounded read) ->
//! `collector::slice` (request into events) -> `collector::event` (facts and refusals) ->
//! `collector::dedupe` (claim) -> `collector::intake` (append, settle) -> answer.

mod collector;
pub mod limits;
mod mailbox;
mod server;

pub use collector::{
    Collector, CollectorError, CollectorLimits, CollectorOptions, IdSource, Stats, WriteKey,
};
pub use mailbox::mailbox_router;
pub use server::serve;
