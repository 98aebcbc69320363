//! The messages of a snapshot of the outbox. Tags are fixed for ever, as those of records; what can't be said by adding one
//! gets a new version of the view.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::{SendState, rows::RowState};
use crate::TriggersRecord;

/// A part of a snapshot. The head comes first, and triggers before what names them by their number.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OutboxChunk {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    /// Further triggers, in the order of their numbers.
    #[prost(message, repeated, tag = "2")]
    pub(super) triggers: Vec<TriggerName>,
    #[prost(message, repeated, tag = "3")]
    pub(super) pipelines: Vec<PipelineSeals>,
    #[prost(message, repeated, tag = "4")]
    pub(super) unsealed: Vec<UnsealedRows>,
    #[prost(message, repeated, tag = "5")]
    pub(super) rows: Vec<RowSetRecord>,
    #[prost(message, optional, tag = "6")]
    pub(super) sends: Option<SendColumns>,
    #[prost(message, optional, tag = "7")]
    pub(super) unanswered: Option<Unanswered>,
    /// Sends of which no more is known than that they were begun: 16 bytes each.
    #[prost(bytes = "bytes", tag = "8")]
    pub(super) remembered: Bytes,
}

/// A chunk, for who wants to know nothing but the pipelines in it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PipelinesChunk {
    #[prost(message, repeated, tag = "3")]
    pub(super) pipelines: Vec<PipelineSeals>,
}

/// Numbers, and the words that sends refer to.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Head {
    #[prost(uint64, optional, tag = "1")]
    pub(super) generation: Option<u64>,
    #[prost(uint64, tag = "2")]
    pub(super) position: u64,
    /// The number of the frame at the position.
    #[prost(uint64, tag = "3")]
    pub(super) sequence: u64,
    #[prost(uint64, tag = "4")]
    pub(super) trigger_rows: u64,
    #[prost(uint64, tag = "5")]
    pub(super) undecided: u64,
    #[prost(uint64, tag = "6")]
    pub(super) in_flight: u64,
    #[prost(uint64, tag = "7")]
    pub(super) retry: u64,
    #[prost(uint64, tag = "8")]
    pub(super) accepted: u64,
    #[prost(uint64, tag = "9")]
    pub(super) rejected: u64,
    #[prost(uint64, tag = "10")]
    pub(super) in_doubt: u64,
    #[prost(message, repeated, tag = "11")]
    pub(super) not_sent: Vec<NotSent>,
    /// The reasons of sends that were decided against.
    #[prost(string, repeated, tag = "12")]
    pub(super) reasons: Vec<String>,
    /// How many sends follow.
    #[prost(uint64, tag = "13")]
    pub(super) sends: u64,
}

/// Rows that were not sent for one reason.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct NotSent {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
    #[prost(uint64, tag = "2")]
    pub(super) rows: u64,
}

/// A trigger that had a sealed row.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct TriggerName {
    #[prost(uint32, tag = "1")]
    pub(super) workspace: u32,
    #[prost(string, tag = "2")]
    pub(super) pipeline: String,
    #[prost(string, tag = "3")]
    pub(super) sink: String,
}

/// How far a pipeline is sealed.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct PipelineSeals {
    #[prost(uint32, tag = "1")]
    pub(super) workspace: u32,
    #[prost(string, tag = "2")]
    pub(super) pipeline: String,
    /// The newest sealed epoch.
    #[prost(uint64, optional, tag = "3")]
    pub(super) sealed: Option<u64>,
}

/// Trigger rows that wait for the seal of their epoch.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UnsealedRows {
    #[prost(uint32, tag = "1")]
    pub(super) workspace: u32,
    #[prost(message, required, tag = "2")]
    pub(super) record: TriggersRecord,
}

/// Rows that were sealed together, some of which are not done.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct RowSetRecord {
    #[prost(uint32, tag = "1")]
    pub(super) trigger: u32,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "3")]
    pub(super) first_row: u32,
    #[prost(uint32, tag = "4")]
    pub(super) count: u32,
    #[prost(sfixed64, tag = "5")]
    pub(super) moved_at: i64,
    #[prost(sfixed64, tag = "6")]
    pub(super) clock: i64,
    #[prost(bytes = "bytes", tag = "7")]
    pub(super) rows: Bytes,
    /// One byte a row: 0 undecided, 1 open, 2 done, 3 doubtful.
    #[prost(bytes = "bytes", tag = "8")]
    pub(super) states: Bytes,
    /// Its number among those of which nothing but doubtful rows is left.
    #[prost(uint64, optional, tag = "9")]
    pub(super) doubtful: Option<u64>,
    #[prost(uint32, tag = "10")]
    pub(super) fire_series: u32,
}

/// Sends, one after the other in each column.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct SendColumns {
    /// 16 bytes each.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) ids: Bytes,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) triggers: Vec<u32>,
    #[prost(uint64, repeated, tag = "3")]
    pub(super) epochs: Vec<u64>,
    #[prost(uint32, repeated, tag = "4")]
    pub(super) rows: Vec<u32>,
    /// One byte each: 1 intended, 2 accepted, 3 rejected, 4 to be retried, 5 in doubt, 6 not sent.
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) states: Bytes,
    /// Of those that are intended, to be retried or in doubt.
    #[prost(uint32, repeated, tag = "6")]
    pub(super) attempts: Vec<u32>,
    /// Of those that are intended.
    #[prost(uint64, repeated, tag = "7")]
    pub(super) generations: Vec<u64>,
    /// Of those that are not sent: numbers of reasons in the head.
    #[prost(uint32, repeated, tag = "8")]
    pub(super) reasons: Vec<u32>,
}

/// Intents that no result was written for.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Unanswered {
    /// 16 bytes each.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) ids: Bytes,
    /// 16 bytes each.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) subjects: Bytes,
}

impl SendColumns {
    /// Adds what belongs to a state to its columns, and returns its number.
    pub(super) fn add_state(&mut self, state: &SendState, reasons: &HashMap<&str, u32>) -> u8 {
        match state {
            SendState::Intended { attempt, generation } => {
                self.attempts.push(*attempt);
                self.generations.push(generation.0);
                1
            }
            SendState::Accepted => 2,
            SendState::Rejected => 3,
            SendState::Retry { attempt } => {
                self.attempts.push(*attempt);
                4
            }
            SendState::InDoubt { attempt } => {
                self.attempts.push(*attempt);
                5
            }
            SendState::NotSent { reason } => {
                // Every reason of a send is among those that are kept.
                self.reasons.push(reasons.get(&**reason).copied().unwrap_or(u32::MAX));
                6
            }
        }
    }
}

/// The number of a row's state.
pub(super) const fn row_state(state: RowState) -> u8 {
    match state {
        RowState::Undecided => 0,
        RowState::Open => 1,
        RowState::Done => 2,
        RowState::Doubtful => 3,
    }
}

/// The state of a row from its number.
pub(super) const fn row_state_of(number: u8) -> Option<RowState> {
    match number {
        0 => Some(RowState::Undecided),
        1 => Some(RowState::Open),
        2 => Some(RowState::Done),
        3 => Some(RowState::Doubtful),
        _ => None,
    }
}
