//! Every limit of the log, with its reason.

/// The largest payload of a frame. A bad length is noticed before memory is taken for it; events are
/// refused far below it, and an epoch with more trigger rows writes several frames.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The size at which a segment file ends: large enough that directory syncs are rare, small enough that
/// old ones can be dropped in useful steps.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// The largest batch of one `submit`, because a batch is in memory as a whole and goes into one segment.
pub(crate) const BATCH_BYTES_MAX: usize = 64 << 20;

/// Batches that wait for the writer. At 20,000 single events a second this is 0.2 s, far longer than an
/// fsync; more waiting would only hide that the disk is too slow.
pub(crate) const QUEUE_BATCHES_MAX: usize = 4096;

/// Bytes that wait for the writer: the log's share of the memory budget. At least one batch fits.
pub(crate) const QUEUE_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// Bytes after which a group takes no more batches, so that the first ticket of a group does not wait for a
/// long write. 4 MiB reach a slow disk (200 MB/s) in 20 ms.
pub(crate) const GROUP_BYTES_MAX: usize = 4 << 20;

/// Bytes that a reader asks a file for at a time: system calls become rare against frames of some
/// hundred bytes, and one chunk fits the second-level cache.
pub(crate) const READ_BYTES: usize = 256 << 10;
