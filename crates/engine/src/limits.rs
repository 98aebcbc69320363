//! Every bound of the engine, with its reason.

/// Messages a channel between two tasks holds. Small, so that a barrier waits behind little and
/// a slow operator is felt upstream at once.
pub(crate) const CHANNEL_MESSAGES: usize = 4;

/// Chunks an epoch takes from one source at most. Bounds what an epoch holds in memory (a chunk is
/// at most about 1 MiB) and how long a seal waits in a flood.
pub(crate) const EPOCH_CHUNKS: usize = 16;

/// Pushed events one chunk of the journal source holds.
pub(crate) const JOURNAL_CHUNK_RECORDS: usize = 2_048;

/// Epochs between their cut and their seal: one being computed while the one before is made durable.
pub(crate) const EPOCHS_IN_FLIGHT: usize = 2;

/// A chunk below this size is decoded on the spot: handing it to another task costs more.
pub(crate) const INLINE_CHUNK_BYTES: usize = 128 * 1024;

/// Trigger rows in one log frame.
pub(crate) const TRIGGER_ROWS_PER_FRAME: usize = 4_096;

/// Bytes of trigger rows in one log frame, unless a single row has more. A quarter of what a frame may hold.
pub(crate) const TRIGGER_FRAME_BYTES: usize = 4 << 20;

/// Bytes of trigger rows in one append, so that a midnight of a million trigger rows stays below the log's limit.
pub(crate) const TRIGGER_APPEND_BYTES: usize = 16 << 20;

/// Reports of tasks that wait for the coordinator.
pub(crate) const REPORTS: usize = 64;

/// Bytes of pushed events that one chunk of the journal source holds, but for the last one.
pub(crate) const JOURNAL_CHUNK_BYTES: usize = 1 << 20;

/// Batches that one call of an operator's `advance` returns at most. They are in memory together before the first is sent; a
/// batch of one window may hold a single row, and a row may be in thousands of windows.
pub(crate) const ADVANCE_BATCHES: usize = 64;

/// Rows after which a call of `advance` returns. A window is never split, so its keys may be more; they were in memory before.
pub(crate) const ADVANCE_ROWS: usize = 8_192;

/// Partial states of one session before they are merged into one.
pub(crate) const SESSION_PARTS: usize = 8;

/// Rows of sessions whose new place the operator takes note of between two batches, after a snapshot merged them: a millisecond.
pub(crate) const SESSION_MOVE_ROWS: usize = 16_384;

/// A store of partial states is rewritten when it holds more than this many rows and most are dead.
pub(crate) const SESSION_COMPACT_ROWS: usize = 8_192;

/// Commands waiting for the coordinator.
pub(crate) const COMMANDS: usize = 16;

/// Event times from 1678-01-01 to 2261-12-31. Nanoseconds in an i64 end a few months further in both directions; what is
/// left over is for watermarks and windows, which reach behind and beyond their rows.
pub(crate) const EVENT_TIMES: std::ops::Range<i64> =
    -9_214_560_000_000_000_000..9_214_646_400_000_000_000;

/// State rows in one batch of a checkpoint: what a reader holds at a time.
pub(crate) const STATE_BATCH_ROWS: usize = 65_536;

/// Checkpoints that wait to be written: the one that is due; replayed snapshots come one by one and only have to be taken note of.
pub(crate) const CHECKPOINT_JOBS: usize = 2;

/// How long the end of a pipeline waits for its last checkpoint (wall clock).
pub(crate) const LAST_CHECKPOINT_NS: i64 = 10_000_000_000;

/// Stores of kept rows that no snapshot has taken yet, before they are made one: a lone event makes a store of its own.
pub(crate) const LOOSE_STORES: usize = 64;

/// Kept rows are moved together when there are more places than this and most of them are empty.
pub(crate) const COMPACT_ROWS: usize = 8_192;

/// Items of a list that `unnest` takes apart. A list of more is a mistake far sooner than a purchase, and each item is a row.
pub(crate) const UNNEST_ITEMS: usize = 10_000;

/// Bytes of the columns beside a list, repeated for each of its items: one row must not decide how much memory a batch takes.
pub(crate) const UNNEST_ROW_BYTES: u64 = 4 << 20;

/// Rows of a bag that an aggregate is given at a time: a value that is there a million times is a million rows to it.
pub(crate) const BAG_ROWS: usize = 8_192;
