//! The one log: every event, seal, trigger row and send of a state directory, in order, fsynced. Beside it,
//! checkpoints, so that a restart need not go through all of it.
//!
//! Owns: the format of segment files and frames, the writer thread and its group commit, recovery after
//! a crash, the records inside frames, the outbox as a pure fold over them, and checkpoints in an object
//! store (see `checkpoint.rs`). Does not own: what an epoch contains (`engine`) or what becomes of a
//! trigger row (`mail`).
//!
//! Nouns: *frame* (one record with its place, writer and subject), *segment* (one file of frames),
//! *[`Lsn`]* (the place of a frame), *group* (the frames of one write and one fsync), *durable prefix*
//! (the part of the log that is fsynced), *generation* (one process's time as the writer), *identity* (which log it is,
//! among all logs).
//!
//! Invariants:
//! - Frames are only appended, by one thread of one process; readers see only the durable prefix.
//! - Sequence numbers have no gap, and generations never fall.
//! - A process whose log was taken over by another one appends nothing that anybody reads, and promises nothing
//!   (`lock.rs` has the protocol and its argument).
//! - A full disk, found by a write, ends nothing: what was written of the group is cut off, and it is written again once there is room.
//! - Any other failed write or a failed fsync ends the log for the rest of the process: whether the page cache still
//!   holds what the disk does not can't be known afterwards (Rebello et al., "Can Applications Recover
//!   from fsync Failures?", USENIX ATC 2020). The next process writes the last segment again before it believes it.
//! - Damage is never skipped. Only the last group, if it is not intact, is cut off, and reported: most likely it was
//!   never finished. A bit of it that flipped after its fsync can't be told from that.
//! - Nothing of an epoch is in the outbox before the epoch's seal.
//!
//! Flow: 1. [`Log::submit`] queues frames  2. the writer thread encodes a group, writes and syncs it
//! 3. the durable end moves, tickets resolve  4. each [`LogReader`] reads on  5. [`Outbox::apply`] folds.

mod checkpoint;
mod durable;
mod error;
pub mod failpoint;
mod files;
mod frame;
mod housekeeping;
mod identity;
mod limits;
mod lock;
mod log;
mod lsn;
mod outbox;
mod reader;
mod record;
mod recovery;
mod repair;
mod retention;
mod segment;
mod shared;
mod start;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verify;
mod view;
mod window;
mod writer;

pub use checkpoint::{
    BlobRef, Checkpoint, CheckpointContents, CheckpointError, CheckpointStore, Collected, LogSpan,
    Manifest, Misfit, NonceSource, OperatorState, PartState, ReadsFrom, Recovered, Recovery,
    Retention, SinkState, SourceState, StateFileWriter, VerifiedBytes, checkpointed_pipelines,
    existing_checkpoints, local_checkpoints,
};
pub use durable::DurableEnd;
pub use error::{LogError, RecordError};
pub use failpoint::Failpoint;
pub use files::{Fill, LogFile, LogFiles, MemoryDisk};
pub use frame::{Frame, FrameKind, NewFrame};
pub use housekeeping::{Housekeeping, KeptView, Tidied};
pub use identity::LogIdentity;
pub use limits::{FRAME_PAYLOAD_BYTES_MAX, LEASE_DEFAULT, SEGMENT_BYTES_DEFAULT};
pub use log::{
    Appended, Log, LogOptions, Opened, Segment, Shortened, SimulatedWriter, Ticket, Truncated,
};
pub use lsn::Lsn;
pub use outbox::{Counts, Outbox, OutboxReader, PendingRows, SealedTriggers, SendEntry, SendState};
pub use reader::LogReader;
pub use record::{
    DecisionRecord, EpochSealed, EventRecord, IntentRecord, KeyRole, PipelineRecord,
    RememberedRecord, ResultRecord, RowRef, SealKind, SendOutcome, SinkSeal, SourceSeal,
    SourceStatus, TriggersRecord,
};
pub use repair::{Forgotten, LogRepair, Repaired};
pub use retention::{
    Holder, KeepLog, LogNeeds, PipelineNeeds, TruncationPoint, ViewNeeds, truncation_point,
};
pub use verify::{LogReport, SegmentReport, verify};
pub use view::{
    NewSnapshot, Restored, SnapshotReader, SnapshotWriter, View, ViewError, ViewFiles, Views,
};
