//! Every limit of the log and of checkpoints, with its reason.

use std::time::Duration;

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

/// How long a process that has a log may give no sign of life before another one that waits takes it over. Renewals are a
/// fifth of it, so four may be late in a row: longer than a disk that is busy, and short for a person who waits.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(5);

/// Signs of life in one lease.
pub(crate) const LEASE_BEATS: u32 = 5;

/// Looks at the sign of life in one lease: four between two beats, so that a process that lives is noticed with its next beat.
pub(crate) const LEASE_LOOKS: u32 = 20;

/// Room on the disk that is taken ahead of the writes. A few groups fit, so that taking it is rare; what a log that is not written
/// to keeps from others is little.
pub(crate) const RESERVE_BYTES: u64 = 1 << 20;

/// How long the writer waits on a full disk before it tries again: requests that came meanwhile are refused with this
/// delay, and it is short beside the time that freeing a disk takes.
pub(crate) const DISK_FULL_PAUSE: Duration = Duration::from_millis(200);

/// The size at which a state file ends. It is written in one request and may be read in one, so it is in
/// memory as a whole; objects much smaller than this cost more in requests than in bytes.
pub(crate) const STATE_FILE_BYTES: u64 = 64 << 20;

/// The largest manifest, so that a wrong object is noticed before memory is taken for it. 10,000 parts take
/// 3.5 MiB.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// Ids that one commit tries. In its way are only its own earlier tries whose outcome was unknown; who meets
/// so many competes with a process that is not fenced.
pub(crate) const COMMIT_IDS_MAX: u64 = 64;

/// How often taking over is tried. Each loss means that another process committed just then; one that is about
/// to end does so once.
pub(crate) const TAKE_OVERS_MAX: u64 = 8;

/// How often bytes with a wrong checksum are read: a fault on the way passes, one in the store stays.
pub(crate) const READ_ATTEMPTS_MAX: u32 = 2;

/// State files that are read at a time: enough to hide the latency of an object store, with few buffers.
pub(crate) const READ_FILES_AT_ONCE: usize = 8;

/// Bytes between two blobs that are read along, rather than asked for separately: at 100 MB/s they take
/// about as long as a request.
pub(crate) const READ_GAP_BYTES_MAX: u64 = 1 << 20;

/// Parts that the sends of an outbox are kept in, a power of two. While a snapshot is written, the first change of a part
/// copies it: with 10 million sends that are 10,000 of them, in a fraction of a millisecond.
pub(crate) const SEND_SHARDS: usize = 1024;

/// Snapshots of a view that are kept: the second is for the day on which the disk has damaged the first.
pub(crate) const SNAPSHOTS_KEPT: usize = 2;

/// The largest chunk of a snapshot. Trigger rows that wait for something are in one with their frame's bytes, and those have
/// [`FRAME_PAYLOAD_BYTES_MAX`] at most; their states take a byte a row.
pub(crate) const SNAPSHOT_CHUNK_BYTES_MAX: usize = FRAME_PAYLOAD_BYTES_MAX + (8 << 20);

/// Bytes of a snapshot that are written at a time.
pub(crate) const SNAPSHOT_WRITE_BYTES: usize = 1 << 20;

/// Bytes after which a chunk of a snapshot takes no more: memory for one beside the view itself is not worth counting, and its
/// checksum and request are not worth counting either.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;

/// Sends in one chunk of a snapshot, about 25 bytes each.
pub(crate) const SNAPSHOT_CHUNK_SENDS: usize = 8192;

/// How often a directory is looked at whose log another process shortens just then. That happens once in many minutes.
pub(crate) const INSPECTIONS_MAX: u32 = 4;

/// How long the log is kept whoever needs it: a pipeline that is edited is built again from its events, and people look into
/// what happened last week.
pub(crate) const LOG_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of the log that are kept however old they are: a small log is not worth a deletion.
pub(crate) const LOG_KEPT_BYTES: u64 = 4 * SEGMENT_BYTES_DEFAULT;

/// Bytes of the log after which the outbox is written down where no dispatcher does it. Less would delete no segment.
pub(crate) const FOLDED_LOG_BYTES: u64 = SEGMENT_BYTES_DEFAULT;

/// Bytes of trigger rows that are kept although nothing but sends in doubt is left of them. Most of those are never tried
/// again; the ones that are, soon. The oldest are let go, and stay in doubt.
pub(crate) const DOUBTFUL_ROWS_BYTES_MAX: usize = 64 << 20;

/// Frames at the end of a log that are read when it is opened: some tenths of a second.
pub(crate) const OPEN_READ_BYTES: u64 = 256 << 20;
