//! The seal of an epoch: its input, its clock, and what it did.

use super::record;

/// Why an epoch was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SealKind {
    /// Never written.
    Unspecified = 0,
    /// It has input, or only the clock moved.
    Input = 1,
    /// All bounded input was read: what was observed up to the last event time is acted on.
    Observed = 2,
    /// The end of a bounded input: everything that is open is completed.
    End = 3,
}

/// What a source was doing at the end of an epoch.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    prost::Enumeration,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum SourceStatus {
    /// Never written.
    #[serde(skip)]
    Unspecified = 0,
    /// Its watermark counts.
    Active = 1,
    /// Quiet: it holds nobody back.
    Idle = 2,
    /// Bounded, and read to its end.
    Finished = 3,
}

/// The part of one source that belongs to an epoch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SourceSeal {
    /// The table.
    #[prost(string, tag = "1")]
    pub table: String,
    /// Part of the position of the first record.
    #[prost(string, tag = "2")]
    pub start_part: String,
    /// Offset of the position of the first record.
    #[prost(uint64, tag = "3")]
    pub start_offset: u64,
    /// Part of the position behind the last record.
    #[prost(string, tag = "4")]
    pub end_part: String,
    /// Offset of the position behind the last record.
    #[prost(uint64, tag = "5")]
    pub end_offset: u64,
    /// Records that became rows.
    #[prost(uint64, tag = "6")]
    pub rows: u64,
    /// Records that went to the dead letters.
    #[prost(uint64, tag = "7")]
    pub rejects: u64,
    /// The source's own watermark after the epoch.
    #[prost(sfixed64, tag = "8")]
    pub watermark: i64,
    /// What the source was doing at the end of the epoch.
    #[prost(enumeration = "SourceStatus", tag = "9")]
    pub status: i32,
    /// The greatest event time so far; `i64::MIN` for none.
    #[prost(sfixed64, tag = "10")]
    pub last_event_time: i64,
    /// Of the rows, how many were at or before the source's watermark.
    #[prost(uint64, tag = "11")]
    pub late: u64,
}

/// Where the output of a data sink ends with an epoch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SinkSeal {
    /// The sink's table.
    #[prost(string, tag = "1")]
    pub sink: String,
    /// The position up to which its output belongs to sealed epochs.
    #[prost(uint64, tag = "2")]
    pub position: u64,
}

/// Makes an epoch of a pipeline, and all its effects, visible.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EpochSealed {
    /// The pipeline's name.
    #[prost(string, tag = "1")]
    pub pipeline: String,
    /// The number of the epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Why it was cut.
    #[prost(enumeration = "SealKind", tag = "3")]
    pub kind: i32,
    /// The epoch's clock: what `now()` means in it.
    #[prost(sfixed64, tag = "4")]
    pub clock: i64,
    /// When the event or tick that moved the watermark came in (wall clock); 0 if none did.
    #[prost(sfixed64, tag = "5")]
    pub moved_at: i64,
    /// The input.
    #[prost(message, repeated, tag = "6")]
    pub sources: Vec<SourceSeal>,
    /// The output of data sinks.
    #[prost(message, repeated, tag = "7")]
    pub sinks: Vec<SinkSeal>,
    /// Rows that came too late for all windows or other steps that would have taken them.
    #[prost(uint64, tag = "8")]
    pub late_rows: u64,
    /// Rows for action sinks.
    #[prost(uint64, tag = "9")]
    pub trigger_rows: u64,
    /// The combined watermark of all sources after the epoch.
    #[prost(sfixed64, tag = "10")]
    pub watermark: i64,
    /// The number of the checkpoint whose snapshot the operators took at the end of the epoch; 0 for none. A snapshot cuts partial
    /// states, so a replay repeats it.
    #[prost(uint64, tag = "11")]
    pub checkpoint: u64,
    /// Rows that came when the result of their window had left, and corrected it.
    #[prost(uint64, tag = "12")]
    pub counted_late: u64,
}

record!(EpochSealed, EpochSealed);

impl EpochSealed {
    fn check(&self) -> Result<(), String> {
        if self.pipeline.is_empty() {
            return Err("it names no pipeline".to_owned());
        }
        if matches!(SealKind::try_from(self.kind), Ok(SealKind::Unspecified) | Err(_)) {
            return Err(format!("kind {} is unknown", self.kind));
        }
        let unknown = |source: &&SourceSeal| {
            matches!(SourceStatus::try_from(source.status), Ok(SourceStatus::Unspecified) | Err(_))
        };
        match self.sources.iter().find(unknown) {
            None => Ok(()),
            Some(source) => {
                Err(format!("status {} of source `{}` is unknown", source.status, source.table))
            }
        }
    }
}
