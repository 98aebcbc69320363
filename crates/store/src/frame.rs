//! Frames: one record each, with its place in the log, its writer and whom it is about.

pub(crate) mod codec;

use bytes::Bytes;
use postrider_core::{Generation, SubjectId, WorkspaceId};

use crate::Lsn;

/// What a frame carries. The numbers are on disk and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A process took over the log. No payload; the frame's generation is the message.
    Opened = 0,
    /// [`crate::EventRecord`].
    Event = 1,
    /// [`crate::EpochSealed`].
    EpochSealed = 2,
    /// [`crate::TriggersRecord`].
    Triggers = 3,
    /// [`crate::IntentRecord`].
    Intent = 4,
    /// [`crate::ResultRecord`].
    SendResult = 5,
    /// [`crate::DecisionRecord`].
    Decision = 6,
    /// [`crate::PipelineRecord`].
    Pipeline = 7,
    /// [`crate::RememberedRecord`].
    Remembered = 8,
}

impl FrameKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Opened,
        Self::Event,
        Self::EpochSealed,
        Self::Triggers,
        Self::Intent,
        Self::SendResult,
        Self::Decision,
        Self::Pipeline,
        Self::Remembered,
    ];

    /// The kind with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A frame to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFrame {
    /// What it carries.
    pub kind: FrameKind,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// Whom it is about.
    pub subject: SubjectId,
    /// The encoded record.
    pub payload: Bytes,
}

/// A frame of the durable prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it starts.
    pub lsn: Lsn,
    /// Where the next one starts.
    pub end: Lsn,
    /// What it carries.
    pub kind: FrameKind,
    /// Which process wrote it.
    pub generation: Generation,
    /// Its number in the log, without gaps; the first is 0.
    pub sequence: u64,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// Whom it is about.
    pub subject: SubjectId,
    /// The key that the payload is encrypted with; 0 for none.
    pub key_id: u32,
    /// The encoded record. It shares memory with its neighbours: who keeps it for long, copies it.
    pub payload: Bytes,
}
