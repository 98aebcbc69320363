//! Sources: where rows come from, split into reading (one task, in order) and decoding (pure, parallel).

use std::fmt;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;

use crate::{ClockTime, ErrorKind};

/// A place in a source. Positions of one source are totally ordered.
///
/// `part` names a file, topic partition or shard (empty where there is only one); `offset` counts
/// bytes, messages or rows within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Which part of the source.
    pub part: String,
    /// Where in that part.
    pub offset: u64,
}

impl Position {
    /// A position in a source that has one part.
    pub const fn at(offset: u64) -> Self {
        Self { part: String::new(), offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.part.is_empty() {
            write!(f, "{}", self.offset)
        } else {
            write!(f, "{}:{}", self.part, self.offset)
        }
    }
}

/// One pushed event as received.
#[derive(Debug, Clone)]
pub struct Record {
    /// The event's bytes.
    pub body: Bytes,
    /// When Postrider received it (wall clock).
    pub received_at: ClockTime,
    /// Where it is in its source.
    pub position: Position,
    /// The sender's id of it; empty if it gave none.
    pub message_id: String,
    /// Whose key it came with: `server` or `browser`.
    pub key_role: &'static str,
}

/// The key in the metadata of a field of [`Decoder::schema`] whose column tells about records instead of holding a part of them; the
/// value says what.
pub const METADATA_KEY: &str = "postrider.metadata";

/// Undecoded rows.
#[derive(Debug, Clone)]
pub enum ChunkData {
    /// Whole records, one a line, separated by `\n`; the last may lack its separator.
    /// A line's position is the chunk's start offset plus the line's byte offset in the chunk.
    Lines(Bytes),
    /// Pushed events.
    Records(Vec<Record>),
    /// Rows as a columnar file has them, in its own types. Row `n` is at the chunk's start offset plus `n`.
    Rows(RecordBatch),
    /// Row numbers `start.offset .. end.offset`, for sources that compute their rows.
    Numbers,
}

/// A slice of a source, cut at record borders.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Position of the first record.
    pub start: Position,
    /// Position behind the last record.
    pub end: Position,
    /// The records.
    pub data: ChunkData,
}

/// What a source has right now.
#[derive(Debug)]
pub enum Polled {
    /// The next records.
    Chunk(Chunk),
    /// Nothing at the moment: caught up.
    Empty,
    /// Bounded, and everything was read.
    Ended,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What the caller should do.
    pub kind: ErrorKind,
    /// What happened, where, and what to do.
    pub message: String,
}

/// Reads a source in order.
///
/// Contract:
/// - After `seek(p)`, the first chunk starts at the first record at or behind `p`. `seek` is called before the
///   first `poll` (with `None` for the beginning) and between replay and live reading.
/// - `poll(until)` returns the next chunk without waiting for input that isn't there. Two reads of the same range
///   `[p, until)` return the same chunks, in every process: chunk borders depend on positions alone (a chunk holds
///   at most the source's own fixed number of bytes or records). With `until` given, no chunk
///   reaches past it.
/// - `ready` waits until `poll` may have something; it may wake for nothing. Both are cancel-safe.
/// - Sources that push (`collector`) return only what is durable.
#[async_trait]
pub trait Source: Send {
    /// Continues at a position.
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError>;
    /// The next chunk, if there is one.
    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError>;
    /// After `poll` said `Empty`: the position up to which it has looked, if that is behind the last chunk. Reading may go on there, and
    /// what is before it is not needed any more. A read up to a position that was looked at ends there.
    fn looked_up_to(&self) -> Option<Position> {
        None
    }
    /// Waits for more input. Never completes for a source that has ended.
    async fn ready(&mut self);
}

/// A record that could not become a row.
#[derive(Debug, Clone)]
pub struct Reject {
    /// Where the record is.
    pub position: Position,
    /// A stable word for the reason, such as `bad_json` or `missing_value`.
    pub reason: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// The record.
    pub raw: Bytes,
}

/// The rows of a chunk, and the records that are none.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the decoder's schema and in the order of the records.
    pub rows: RecordBatch,
    /// When each row was received (wall clock, ns), for pushed sources.
    pub received_at: Option<Int64Array>,
    /// Bad records.
    pub rejects: Vec<Reject>,
}

/// Turns chunks into rows.
///
/// Contract: pure and `Sync`; decodes any chunk of its source in any order and on any thread.
/// A bad record is a [`Reject`], never an error and never a panic.
pub trait Decoder: Send + Sync + fmt::Debug {
    /// The columns of [`Decoded::rows`]. Of a format of changes the last is the kind of each row ([`changes`](crate::changes)), and the two
    /// rows of an update follow each other.
    fn schema(&self) -> SchemaRef;
    /// Decodes one chunk.
    ///
    /// # Errors
    /// Only for a fault of Postrider's own ([`ErrorKind::Bug`]).
    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError>;
}
