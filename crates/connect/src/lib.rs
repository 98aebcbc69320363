//! Connectors: where rows enter and leave Postrider, other than by email.
//!
//! Owns: the file, generator and terminal connectors, the JSON format, dead letters, and the
//! registry that names them all. Does not own: journaling, scheduling or event time (the engine),
//! the HTTP collector (`serve`; it decodes with [`JsonDecoder`]) and email (`mail`).
//!
//! Nouns: a *source* hands out [`Chunk`](postrider_core::Chunk)s of undecoded *records*; a
//! *decoder* turns a chunk into rows and *rejects*; a *data sink* takes rows and commits them by
//! *position*; a *dead letter* is a reject that was written down.
//!
//! Invariants:
//! - The same range of a source gives the same chunks in every process, and the same chunk gives
//!   the same rows and rejects on every thread.
//! - A bad record costs that record only; no input makes a decoder panic.
//! - What a file sink wrote behind its sealed position is gone after
//!   [`restore`](postrider_core::DataSink::restore).
//! - Files, the clock, the environment and the terminal are handed in; nothing here looks them up.
//!
//! Flow: [`open_source`] -> `Source::poll` -> `Decoder::decode` -> rows to the engine, rejects to
//! [`DeadLetterSink`]; rows of the engine -> [`open_sink`] -> `DataSink::write`, `flush`.
//!
//! To add a connector: one file under `source/` or `sink/`, one entry in `registry.rs`, one line
//! of its conformance suite.

mod dead_letter;
mod failure;
mod format;
mod limits;
mod path;
mod registry;
mod sink;
mod source;

#[cfg(test)]
mod conformance;

pub use dead_letter::DeadLetterSink;
pub use format::{
    debezium::DebeziumDecoder,
    json::{JsonDecoder, JsonOptions},
    metadata::{check_metadata, with_metadata},
    unstructured::UnstructuredDecoder,
};
pub use limits::RECORD_BYTES_MAX;
pub use registry::{
    ConnectorInfo, SinkSpec, SourceParts, SourceSpec, check_sink, check_source, connectors,
    no_such_format, open_sink, open_source, unknown_connector,
};
pub use sink::SharedWriter;
