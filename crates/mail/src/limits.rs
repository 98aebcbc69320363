//! Every bound of this crate, and why it is what it is.

use std::time::Duration;

/// Size of a template file. The largest templates in the wild are a few hundred kilobytes.
pub(crate) const TEMPLATE_BYTES: usize = 512 * 1024;

/// Work of one render: instructions, plus one for each 64 bytes made. A large newsletter needs a few thousand.
pub(crate) const RENDER_FUEL: u64 = 100_000;

/// Nesting of macros and loops in a template; deeper ones are a mistake, not a layout.
pub(crate) const RENDER_DEPTH: usize = 64;

/// Size of a rendered part. Gmail cuts a message at 102 KB; many providers refuse 10 MB.
pub(crate) const PART_BYTES: usize = 1024 * 1024;

/// Characters of a subject. RFC 5322 limits a line to 998; nobody shows more than a hundred.
pub(crate) const SUBJECT_CHARS: usize = 500;

/// Characters of an address: 64 for the local part, `@`, and a domain that fits a path of 256 octets
/// with its angle brackets (RFC 5321 section 4.5.3.1).
pub(crate) const ADDRESS_BYTES: usize = 254;

/// Octets of a local part (RFC 5321 section 4.5.3.1.1).
pub(crate) const LOCAL_PART_BYTES: usize = 64;

/// How long a trigger row stays worth sending where its sink names no `ttl`, so that a day of downtime does not end in a
/// flood of stale mail.
pub(crate) const DEFAULT_TTL_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// Attempts of one send that may have been delivered and asks for at least one mail. A send that certainly was not is tried
/// until it expires.
pub(crate) const MAX_ATTEMPTS: u32 = 12;

/// Longest wait before the first repetition; it doubles with each attempt.
pub(crate) const BACKOFF_BASE: Duration = Duration::from_millis(500);

/// Longest wait before any repetition.
pub(crate) const BACKOFF_CAP: Duration = Duration::from_secs(15 * 60);

/// How long a stopping dispatcher waits for attempts under way; what is not answered by then is in doubt.
/// Relays answer within seconds, and service managers kill after 90.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(30);

/// Frames folded in one go before the dispatcher looks at its results again.
pub(crate) const FOLD_FRAMES: usize = 4_096;

/// Rows decided in one go, so that results are not kept waiting by a flood of rows that are not sent.
pub(crate) const DECIDE_ROWS: usize = 1_024;

/// Bytes of frames after which a batch takes no more rows. Keys may be long; the log refuses batches over 64 MiB.
pub(crate) const BATCH_BYTES: usize = 4 << 20;

/// Rows that wait in memory for a free place; while it is reached, the rest stays in the log. A restart does not keep to
/// it: it reads the log to its end, because what became of a row stands behind it, and then holds every row that is undecided.
pub(crate) const BACKLOG_ROWS: usize = 100_000;

/// Sends that wait in memory for another attempt. Behind that no new rows are taken: a provider that
/// refuses this many will refuse the next ones too. A restart takes up all that waited, which are this many and those
/// that were in flight, but with their whole batches of rows.
pub(crate) const RETRIES_WAITING: usize = 10_000;

/// How many stale connections one send may meet before it gives up; each is gone afterwards.
pub(crate) const STALE_CONNECTIONS: usize = 3;

/// How long an idle connection is kept. Servers drop theirs after one to five minutes.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(30);

/// Settle requests that wait at the same time; only tests and the end of a run ask.
pub(crate) const SETTLE_REQUESTS: usize = 16;

/// Bytes of the log after which the outbox is written down again, if its snapshot is not larger than that: they are folded
/// in a second or less at the next start.
pub const SNAPSHOT_LOG_BYTES: u64 = 64 << 20;

/// Requests for a snapshot that wait at the same time; one process has few reasons to ask.
pub(crate) const SNAPSHOT_REQUESTS: usize = 16;

/// Longest text of a provider's answer that is kept in the log.
pub(crate) const DETAIL_CHARS: usize = 300;

/// Open connections of one mailbox server.
pub(crate) const MAILBOX_CONNECTIONS: usize = 256;

/// How long a mailbox waits after it could not accept a connection: time for others to close files.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Line of an SMTP session. RFC 5321 asks for at least 1,000 octets in the data; some writers exceed it.
pub(crate) const MAILBOX_LINE_BYTES: usize = 64 * 1024;

/// Size of one message that a mailbox takes.
pub(crate) const MAILBOX_MESSAGE_BYTES: usize = 10 * 1024 * 1024;

/// Recipients of one message (RFC 5321 section 4.5.3.1.8).
pub(crate) const MAILBOX_RECIPIENTS: usize = 100;

/// How long a mailbox keeps a silent connection (RFC 5321 section 4.5.3.2.7 asks for five minutes).
pub(crate) const MAILBOX_IDLE: Duration = Duration::from_secs(300);
