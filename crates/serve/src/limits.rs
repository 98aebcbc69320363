//! Every limit of this crate, with the reason for its value.

use std::time::Duration;

/// The largest request body. Segment's SDKs send at most 500 KB, so twice that loses nobody.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Events in one request: one request is one append to the log, and a larger one would delay the
/// group commit of everybody else.
pub const EVENTS_PER_REQUEST_MAX: usize = 500;

/// The largest event, as in Segment's HTTP API.
pub const EVENT_BYTES_MAX: usize = 32 * 1024;

/// Nested objects and arrays in one event. Real events stay under ten; the rest are attacks on
/// parsers further down.
pub(crate) const EVENT_DEPTH_MAX: usize = 16;

/// The longest message id, user id and anonymous id. A UUID has 36 characters.
pub(crate) const ID_BYTES_MAX: usize = 256;

/// Open connections of one server. An idle one ends after [`HEAD_TIME_MAX`], and processes may often open no more than
/// 1,024 files.
pub const CONNECTIONS_MAX: usize = 512;

/// The head of a request. A connection has one buffer of at most this size for reading and one for writing, so
/// [`CONNECTIONS_MAX`] of them take at most 64 MiB.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a connection may take to send the head of its next request, so that silent clients do not hold all of
/// [`CONNECTIONS_MAX`] places. Browsers and SDKs connect again without being asked.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a server waits after it could not accept a connection: time for others to close files.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Requests whose bodies are read or stored at the same time. Each holds its body, in a buffer that grows by doubling, and
/// then also the frames that are made of it: three times [`BODY_BYTES_MAX`] at most, and 384 MiB for all. The log has a
/// queue and bounds of its own.
pub const IN_FLIGHT_REQUESTS_MAX: usize = 128;

/// How long a body may take to arrive, so that a slow client can't hold one of
/// [`IN_FLIGHT_REQUESTS_MAX`] places.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// How much of a refused body is read and dropped before the answer, and for how long: a server
/// that closes a connection with unread input makes the client see a reset instead of the answer.
pub(crate) const DISCARD_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// Refused bodies that are read and dropped at the same time. Those of other clients are not read: under a flood of
/// refusals it matters less who gets to read the reason.
pub(crate) const DISCARDS_MAX: usize = 64;

/// See [`DISCARD_BYTES_MAX`].
pub(crate) const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a request waits for room in the log's queue before it is told to come back.
pub const LOG_QUEUE_TIME_MAX: Duration = Duration::from_secs(2);

/// What `Retry-After` says, in seconds.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 1;

/// How long a message id is remembered. SDKs give up on a batch within hours, and people replay a
/// failed job within days.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many message ids are remembered at most. An id takes 50 bytes in a hash table that is half full and 48 in a
/// queue that is, so all take about 400 MiB. Above it the oldest are forgotten early, and counted.
pub const DEDUPE_IDS_MAX: usize = 4 * 1024 * 1024;

/// Expired message ids dropped for each one added, so that expiry is spread evenly and still
/// always catches up.
pub(crate) const DEDUPE_EXPIRE_STEP: usize = 2;

/// Bytes of the log after which the message ids are written down again, if their snapshot is not larger than that: the events
/// in them are read in a second or less at the next start.
pub const SNAPSHOT_LOG_BYTES: u64 = 64 << 20;

/// Message ids in one chunk of a snapshot, 24 bytes each.
pub(crate) const SNAPSHOT_CHUNK_IDS: usize = 8192;

/// How long a preflight answer may be cached, in seconds: browsers cap it at ten minutes or more.
pub(crate) const PREFLIGHT_MAX_AGE_SECONDS: u32 = 600;

/// How long a shutdown waits for requests in flight.
pub const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(10);

/// Mails on the list of the mailbox page; the count covers all.
pub(crate) const MAILBOX_LIST_MAX: usize = 200;

/// How much of a mail is read for the list: enough for any real header.
pub(crate) const MAILBOX_HEAD_BYTES_MAX: u64 = 32 * 1024;

/// The largest mail that the page opens. Providers refuse more than 25 to 40 MB.
pub(crate) const MAILBOX_MAIL_BYTES_MAX: u64 = 25 * 1024 * 1024;
