//! Why a whole request was refused: the only place that turns a reason into an HTTP answer.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::limits::RETRY_AFTER_SECONDS;

/// A refused request. Nothing of it is accepted as far as the client may assume; sending it again
/// is always safe for events that carry a message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No usable credentials.
    #[error(
        "this needs a write key: send it as the user name of Basic authentication with an empty password, or as `Authorization: Bearer KEY`"
    )]
    NoWriteKey,
    /// Credentials that belong to nobody.
    #[error(
        "the write key is not known here: check it for typing errors and that it was not revoked"
    )]
    UnknownWriteKey,
    /// A browser key on a page that is not on the list.
    #[error(
        "the browser key does not work on pages of {0}: add that origin to the collector's allowed origins"
    )]
    OriginNotAllowed(String),
    /// A compressed body.
    #[error(
        "the body is encoded as `{0}`, and only plain JSON is read: switch compression off in the client"
    )]
    Encoded(String),
    /// Too many bytes.
    #[error("the body is larger than {0} bytes: send it in several requests")]
    BodyTooLarge(usize),
    /// Too many events.
    #[error("the request has more than {0} events: send them in several requests")]
    TooManyEvents(usize),
    /// The body came too slowly.
    #[error("the body did not arrive within {0} seconds")]
    BodyTooSlow(u64),
    /// The connection broke while the body was read.
    #[error("the body could not be read to its end: {0}")]
    BodyBroken(String),
    /// Not JSON.
    #[error("the body is not valid JSON at line {line}, column {column}: {message}")]
    BadJson {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// JSON, but not what the endpoint takes.
    #[error("{0}")]
    BadShape(&'static str),
    /// Too many requests in flight.
    #[error("too many requests are in flight: send this one again later")]
    Busy,
    /// The log's queue is full.
    #[error("the log can't take more events right now: send this request again later")]
    LogBusy,
    /// The log's disk is full.
    #[error("there is no room to store the events, and none was: send this request again later")]
    DiskFull,
    /// The log failed.
    #[error("the events could not be stored: send this request again later")]
    LogFailed,
    /// No such path.
    #[error(
        "there is nothing here: POST to /v1/batch, /v1/track, /v1/identify, /v1/page, /v1/screen, /v1/group, /v1/alias or /v1/events, or GET /healthz"
    )]
    NoSuchPath,
    /// A known path with another method.
    #[error("this path takes another method: events are POSTed, /healthz is read by GET")]
    WrongMethod,
}

impl Refusal {
    /// The stable word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoWriteKey => "no_write_key",
            Self::UnknownWriteKey => "unknown_write_key",
            Self::OriginNotAllowed(_) => "origin_not_allowed",
            Self::Encoded(_) => "encoding_not_supported",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::TooManyEvents(_) => "too_many_events",
            Self::BodyTooSlow(_) => "body_too_slow",
            Self::BodyBroken(_) => "body_broken",
            Self::BadJson { .. } => "bad_json",
            Self::BadShape(_) => "bad_shape",
            Self::Busy => "busy",
            Self::LogBusy => "log_busy",
            Self::DiskFull => "disk_full",
            Self::LogFailed => "log_failed",
            Self::NoSuchPath => "no_such_path",
            Self::WrongMethod => "wrong_method",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoWriteKey | Self::UnknownWriteKey => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed(_) => StatusCode::FORBIDDEN,
            Self::Encoded(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge(_) | Self::TooManyEvents(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken(_) | Self::BadJson { .. } | Self::BadShape(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Busy | Self::LogBusy | Self::DiskFull | Self::LogFailed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

#[derive(Serialize)]
struct Body {
    error: Description,
}

#[derive(Serialize)]
struct Description {
    code: &'static str,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Body { error: Description { code: self.code(), message: self.to_string() } };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // Bearer, not Basic: browsers answer a Basic challenge with a login window.
            let challenge = HeaderValue::from_static("Bearer realm=\"postrider\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
