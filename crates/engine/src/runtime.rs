//! Running a dataflow: tasks, channels, epochs.
//!
//! Each source, stage instance and sink is one task that owns its state; bounded channels carry
//! [`postrider_core::Message`]s between them. The coordinator cuts epochs, collects what every task
//! reports at its barrier, and seals the epoch in the log.

pub(crate) mod builder;
pub(crate) mod checkpoint;
pub(crate) mod coordinator;
pub(crate) mod export;
pub(crate) mod fenced;
pub(crate) mod ingest;
pub(crate) mod inputs;
pub(crate) mod links;
pub(crate) mod prepare;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod resume;
mod row_text;
pub(crate) mod seal;
pub(crate) mod sinks;
pub(crate) mod stage;
pub(crate) mod topology;
