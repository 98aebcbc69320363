//! The engine: runs planned programs over event time, epoch by epoch.
//!
//! Owns: the physical dataflow, windows and their state, watermarks and idleness, epochs from cut to
//! seal, replay after a restart. Does not own: SQL (`plan` holds what it means), connectors (it asks
//! [`Connectors`]), mail (it reads trigger rows from the log).
//!
//! Nouns: *stage* (a stateful operator with one instance a shard), *chain* (stateless operators inside the task
//! that feeds them), *exchange* (rows to shards by key), *cut* (the start of an epoch), *barrier* (its end on a
//! channel), *seal* (its durable end in the log).
//!
//! Invariants:
//! - What an epoch does depends on its journaled input ranges, progress and clock alone, so a replay
//!   gives the same trigger rows; the engine compares them and stops if it did not.
//! - Watermarks move at barriers only; lateness therefore depends on the log alone.
//! - Nothing of an epoch is visible before its seal is durable.
//! - All channels are bounded; an epoch holds a bounded number of chunks.
//!
//! Flow: source -> `runtime::ingest` (range) -> `runtime::prepare` (decode, event time, `chain`,
//! `exchange`) -> `runtime::stage` (`operator`) -> `runtime::sinks` -> `runtime::coordinator` (seal).

mod calendar;
mod chain;
mod changes;
mod clock;
mod dataflow;
mod dead_letters;
mod error;
mod exchange;
mod explain;
mod identity;
mod journal_source;
mod limits;
mod operator;
mod pipeline;
mod planner;
mod runtime;
mod upgrade;
mod watermark;

pub use clock::{ManualClock, ScaledClock, SystemClock};
pub use error::EngineError;
pub use explain::{explain_mermaid, explain_text};
pub use journal_source::JournalSource;
pub use pipeline::{
    Connectors, EngineObserver, NoObserver, Pipeline, PipelineOptions, PipelineSummary,
    RecoveryFacts, SealFacts, SourceParts,
};
pub use planner::sink_schema;
pub use runtime::{
    checkpoint::{CheckpointFacts, Checkpoints, RestoreFrom},
    export::live_rows,
    restore::RestoredFacts,
};
pub use upgrade::{Fate, ForgottenState, OperatorPlan, UpgradePlan};
