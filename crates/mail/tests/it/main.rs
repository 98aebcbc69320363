//! The email half as a whole: providers against real sockets, the dispatcher over a real log.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod conformance;
mod dispatcher;
mod mailbox;
mod recovery;
mod smtp;
mod speed;
mod support;
