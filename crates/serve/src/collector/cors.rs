//! Which pages may post with a browser key (the CORS protocol of the Fetch standard).
//!
//! Origins match exactly, no wildcard, no credentials: the write key is in a header that the page
//! sets, never in a cookie.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::Collector;
use crate::limits::PREFLIGHT_MAX_AGE_SECONDS;

/// The allow-list.
#[derive(Debug)]
pub(super) struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Takes the valid ones; returns the first that can't be an origin.
    pub(super) fn new(origins: Vec<String>) -> Result<Self, String> {
        let mut values = Vec::with_capacity(origins.len());
        for origin in origins {
            let is_origin = origin
                .split_once("://")
                .is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '*']));
            match HeaderValue::from_str(&origin) {
                Ok(value) if is_origin => values.push(value),
                _ => return Err(origin),
            }
        }
        Ok(Self(values))
    }

    /// Whether a page of this origin may post; a request without one comes from no page.
    pub(super) fn allow(&self, headers: &HeaderMap) -> Result<(), String> {
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.0.contains(origin) => {
                Err(String::from_utf8_lossy(origin.as_bytes()).into_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Answers preflights and marks every other answer as readable by the page, if its origin is on
/// the list.
pub(super) async fn cross_origin(
    State(collector): State<Collector>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request
        .headers()
        .get(header::ORIGIN)
        .filter(|origin| collector.origins().0.contains(origin))
        .cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if is_preflight {
            let methods = HeaderValue::from_static("POST");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            let allowed = HeaderValue::from_static("authorization, content-type");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_SECONDS.into());
        } else {
            let exposed = HeaderValue::from_static("retry-after");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
    response
}
