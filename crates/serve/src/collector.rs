//! The collector: events in over HTTP, each answered only when it is durable.
//!
//! | path | body |
//! |---|---|
//! | `POST /v1/batch` | `{"batch": [event, ..]}`; other fields beside `batch` are ignored, not merged into the events |
//! | `POST /v1/track` and `identify`, `page`, `screen`, `group`, `alias` | one event; its `type` may be left out |
//! | `POST /v1/events` | an event, an array of events, or one event a line |
//! | `GET /healthz` | |
//!
//! Everything but `/healthz` needs a write key, as the user name of Basic authentication or as a
//! Bearer token. A request that is understood is answered 200 with
//! `{"success", "accepted", "duplicate", "rejected": [{"index", "reason", "message"}]}`; one that is
//! not, with `{"error": {"code", "message"}}`, and then none of its events counts as accepted.
//! After a 503 or a broken connection the same request may be sent again: events that carry a
//! message id (`messageId`, `message_id` or `id`) are stored once. An event without one gets a
//! random id, and is stored as often as it is sent.

mod auth;
mod body;
mod cors;
mod dedupe;
mod event;
mod facts;
mod intake;
mod refusal;
mod restore;
mod slice;
mod snapshot;
mod stats;

use std::{fmt, sync::Arc, time::Duration};

use auth::KeyRing;
pub use auth::WriteKey;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cors::Origins;
use dedupe::Dedupe;
use postrider_core::{Clock, ErrorKind, WorkspaceId};
use postrider_store::{Log, LogError, RecordError, ViewError};
use refusal::Refusal;
use slice::{Call, Endpoint};
pub use stats::Stats;
use tokio::sync::Semaphore;

use crate::limits::{
    BODY_BYTES_MAX, BODY_TIME_MAX, DEDUPE_IDS_MAX, DEDUPE_WINDOW, DISCARDS_MAX, EVENT_BYTES_MAX,
    EVENTS_PER_REQUEST_MAX, IN_FLIGHT_REQUESTS_MAX, LOG_QUEUE_TIME_MAX, SNAPSHOT_LOG_BYTES,
};

/// Draws 128 random bits: the id of an event whose sender gave it none.
pub type IdSource = Arc<dyn Fn() -> u128 + Send + Sync>;

/// What a collector takes; [`crate::limits`] has the defaults and their reasons.
#[derive(Debug, Clone)]
pub struct CollectorLimits {
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// Events of a request.
    pub events: usize,
    /// Bytes of an event.
    pub event_bytes: usize,
    /// Requests between their head and their answer.
    pub in_flight: usize,
    /// How long a request waits for room in the log's queue.
    pub log_queue_time: Duration,
    /// How long a message id is remembered.
    pub dedupe_window: Duration,
    /// How many message ids are remembered.
    pub dedupe_ids: usize,
    /// Bytes of the log after which message ids are written down again.
    pub snapshot_log_bytes: u64,
}

impl Default for CollectorLimits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES_MAX,
            body_time: BODY_TIME_MAX,
            events: EVENTS_PER_REQUEST_MAX,
            event_bytes: EVENT_BYTES_MAX,
            in_flight: IN_FLIGHT_REQUESTS_MAX,
            log_queue_time: LOG_QUEUE_TIME_MAX,
            dedupe_window: DEDUPE_WINDOW,
            dedupe_ids: DEDUPE_IDS_MAX,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
        }
    }
}

/// What a collector is made of.
pub struct CollectorOptions {
    /// Where events go.
    pub log: Log,
    /// The tenant whose collector this is.
    pub workspace: WorkspaceId,
    /// Who may post; at least one.
    pub keys: Vec<WriteKey>,
    /// The origins whose pages may use a browser key, such as `https://shop.example`.
    pub origins: Vec<String>,
    /// The clock that stamps events.
    pub wall: Arc<dyn Clock>,
    /// Ids for events that have none.
    pub ids: IdSource,
    /// What is taken.
    pub limits: CollectorLimits,
}

/// Why a collector can't start.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// No key.
    #[error("the collector has no write key: nobody could post; add one")]
    NoWriteKey,
    /// An empty key.
    #[error("write key number {index} (from 0) is empty: give it a long random text")]
    EmptyWriteKey {
        /// Its place among the keys.
        index: usize,
    },
    /// The same key twice.
    #[error(
        "write key number {index} (from 0) repeats an earlier one: a key has one role and one stream"
    )]
    RepeatedWriteKey {
        /// Its place among the keys.
        index: usize,
    },
    /// A key without a role.
    #[error(
        "write key number {index} (from 0) is neither a browser nor a server key: give it one of these roles"
    )]
    NoRole {
        /// Its place among the keys.
        index: usize,
    },
    /// Not an origin.
    #[error(
        "`{0}` is not an origin: write it as scheme and host, such as https://shop.example, without a path or `*`"
    )]
    BadOrigin(String),
    /// The log can't be read.
    #[error("the message ids of earlier events can't be read from the log: {0}")]
    Log(#[from] LogError),
    /// An event in the log can't be read.
    #[error("the message ids of earlier events can't be read from the log: {0}")]
    Record(#[from] RecordError),
    /// They are in no snapshot that can be used, and no longer in the log.
    #[error("the message ids of earlier events are lost: {0}")]
    View(#[from] ViewError),
}

impl CollectorError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Log(error) => error.kind(),
            Self::Record(error) => error.kind(),
            Self::View(error) => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }
}

/// The HTTP intake of events. A cheap handle.
#[derive(Clone)]
pub struct Collector {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    workspace: WorkspaceId,
    keys: KeyRing,
    origins: Origins,
    wall: Arc<dyn Clock>,
    ids: IdSource,
    limits: CollectorLimits,
    dedupe: Arc<Dedupe>,
    places: Arc<Semaphore>,
    /// Refused bodies that may be read and dropped.
    discards: Semaphore,
    stats: Arc<Stats>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("stats", &self.shared.stats).finish_non_exhaustive()
    }
}

impl Collector {
    /// Prepares a collector. Reads the newest snapshot and the log behind it, to know the message ids of events that
    /// earlier processes accepted: call it where blocking is allowed.
    ///
    /// # Errors
    /// When an option can't be used or the log can't be read.
    pub fn open(options: CollectorOptions) -> Result<Self, CollectorError> {
        let CollectorOptions { log, workspace, keys, origins, wall, ids, limits } = options;
        let keys = KeyRing::new(keys)?;
        let origins = Origins::new(origins).map_err(CollectorError::BadOrigin)?;
        let settled = restore::message_ids(&log, &limits, wall.now().0)?;
        let shared = Shared {
            dedupe: Arc::new(Dedupe::new(settled)),
            places: Arc::new(Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS))),
            discards: Semaphore::new(DISCARDS_MAX),
            stats: Arc::new(Stats::default()),
            log,
            workspace,
            keys,
            origins,
            wall,
            ids,
            limits,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The counters.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// Message ids that were forgotten before the end of the window because there were too many.
    pub fn forgotten_message_ids(&self) -> u64 {
        self.shared.dedupe.forgotten()
    }

    /// The endpoints.
    pub fn router(&self) -> Router {
        let mut router = Router::new()
            .route("/v1/batch", intake(Endpoint::Batch))
            .route("/v1/events", intake(Endpoint::Events))
            .route("/healthz", get(health));
        for call in Call::ALL {
            router = router.route(&format!("/v1/{}", call.word()), intake(Endpoint::Single(call)));
        }
        router
            .fallback(async || Refusal::NoSuchPath)
            .method_not_allowed_fallback(async || Refusal::WrongMethod)
            .layer(middleware::from_fn_with_state(self.clone(), cors::cross_origin))
            // The body is read by hand, within the limits of this collector.
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    fn origins(&self) -> &Origins {
        &self.shared.origins
    }
}

fn intake(endpoint: Endpoint) -> axum::routing::MethodRouter<Collector> {
    post(async move |State(collector): State<Collector>, request: Request| {
        let (parts, body) = request.into_parts();
        intake::take(collector.shared, endpoint, parts, body).await
    })
}

async fn health(State(collector): State<Collector>) -> Response {
    if collector.shared.stats.log_failed() {
        Refusal::LogFailed.into_response()
    } else {
        (StatusCode::OK, axum::Json(serde_json::json!({"status": "ok"}))).into_response()
    }
}
