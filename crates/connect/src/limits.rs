//! Every bound of this crate, with its reason.

/// The longest record. A longer one is a reject: it is a broken producer or a file without line
/// breaks, and one record must not decide how much memory Postrider takes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// How much of a file a chunk holds at most: large enough that the cost of a chunk vanishes, small
/// enough to stay in a core's cache while it is decoded.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// How many bytes of a record that is too long are kept for its dead letter.
pub(crate) const OVERSIZE_RAW_BYTES: usize = 64 << 10;

/// How deep JSON may nest: as deep as `serde_json` goes. What is stepped over keeps one bit a level.
pub(crate) const JSON_DEPTH_MAX: usize = 128;

/// The longest remembered run of bytes between two values of an object; longer keys are looked up.
pub(crate) const FIELD_TOKEN_BYTES_MAX: usize = 96;

/// How many fields of an object are predicted; the fields behind them are looked up.
pub(crate) const FIELD_TOKENS_MAX: usize = 256;

/// How many words of a `context_..` column are split at every place; the number of paths doubles
/// with each word.
pub(crate) const CONTEXT_WORDS_MAX: usize = 5;

/// How many characters of a bad value a message quotes.
pub(crate) const QUOTED_CHARS_MAX: usize = 60;

/// How many rows of a Parquet file a chunk holds at most: as many as DataFusion's own batches.
pub(crate) const PARQUET_ROWS: usize = 8192;

/// How many generated rows a chunk holds at most.
pub(crate) const GENERATED_ROWS: u64 = 8192;

/// How many chunks a paced generator makes in a second, where its rate allows: rows come in steps
/// of 10 ms.
pub(crate) const PACED_CHUNKS_PER_SECOND: u64 = 100;

/// How many encoded bytes a file sink holds before it writes them.
pub(crate) const SINK_BUFFER_BYTES: usize = 1 << 20;

/// The size at which the `filesystem` sink starts a new file unless told otherwise.
pub(crate) const PART_FILE_BYTES: u64 = 128 << 20;
