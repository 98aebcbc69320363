//! The vocabulary of Postrider: the nouns every other crate speaks, and the contracts between them.
//!
//! | word | meaning |
//! |---|---|
//! | *event* | one row of a source stream, with an event time |
//! | *pipeline* | one SQL program (DDL + INSERT), the unit of start, stop and upgrade |
//! | *trigger row* | a row that a pipeline inserts into an action sink |
//! | *workspace* | the tenant; its id is in every log frame and every id |
//! | *send* | the life of one trigger row in the email half: decision, attempt, result |
//! | *epoch* | a journaled slice of the input; all its effects become visible together |
//! | *watermark* | "no more events before t" on a stream; never moves back |
//! | *snapshot* | immutable view of all tables of a pipeline at a sealed epoch |
//! | *checkpoint* | durable copy of operator state at an epoch |
//! | *fixture* | an `.slt` file that proves a pipeline in CI |
//! | *operator*, *source*, *sink*, *provider* | a step of a dataflow, where rows enter, where they leave, who carries mail |
//!
//! Owns: those words as types, and the traits at the seams ([`Source`], [`Decoder`], [`DataSink`],
//! [`Clock`]). Does not own: any behaviour. It knows neither tokio nor DataFusion, so everything
//! may depend on it.

pub mod changes;
mod clock;
mod diagnostic;
mod format;
mod ids;
mod message;
mod options;
mod sink;
mod source;
mod sql_type;
pub mod suggest;
mod time;

pub use clock::{Clock, ClockTime, Sleep};
pub use diagnostic::{Diagnostic, Diagnostics, ErrorKind, Severity, Span};
pub use format::{Format, JsonForm};
pub use ids::{Generation, PipelineName, SendId, SendIdentity, SubjectId, WorkspaceId};
pub use message::{Barrier, Batch, EpochKind, Message};
pub use options::{OptionValue, TableOption, TableOptions};
pub use sink::{DataSink, SinkError, SinkPosition};
pub use source::{
    Chunk, ChunkData, Decoded, Decoder, METADATA_KEY, Polled, Position, Record, Reject, Source,
    SourceError,
};
pub use sql_type::type_name;
pub use time::{Epoch, EventTime, Watermark, format_duration, format_time};
