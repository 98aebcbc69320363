//! From the events of one request to its answer: claim, append, settle.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use data_encoding::BASE32_NOPAD;
use postrider_core::ErrorKind;
use postrider_store::{EventRecord, LogError, NewFrame};
use serde::Serialize;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Shared,
    auth::Client,
    body,
    dedupe::Key,
    event::{Context, Event, Rejection, examine},
    refusal::Refusal,
    slice::{Endpoint, events},
};

/// The answer to a request that was read: Segment's SDKs need the status and `success`.
#[derive(Debug, Serialize)]
struct Answer {
    /// Whether no event was rejected.
    success: bool,
    accepted: usize,
    duplicate: usize,
    rejected: Vec<RejectedEvent>,
}

#[derive(Debug, Serialize)]
struct RejectedEvent {
    /// From 0, in the order of the request.
    index: usize,
    #[serde(flatten)]
    rejection: Rejection,
}

/// Takes one request.
pub(super) async fn take(
    shared: Arc<Shared>,
    endpoint: Endpoint,
    parts: Parts,
    body: Body,
) -> Response {
    match answer(&shared, endpoint, &parts, body).await {
        Ok(answer) => {
            shared.stats.answered(answer.accepted, answer.duplicate, answer.rejected.len());
            Json(answer).into_response()
        }
        Err(refusal) => {
            shared.stats.request_refused();
            refusal.into_response()
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    parts: &Parts,
    body: Body,
) -> Result<Answer, Refusal> {
    let (client, place) = match admit(shared, parts) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            body::discard(&shared.discards, &parts.headers, body).await;
            return Err(refusal);
        }
    };
    let limits = &shared.limits;
    let body = body::read(body, limits.body_bytes, limits.body_time).await?;
    let context = Context {
        workspace: shared.workspace,
        role: client.role,
        call: match endpoint {
            Endpoint::Single(call) => Some(call),
            Endpoint::Batch | Endpoint::Events => None,
        },
        event_bytes_max: limits.event_bytes,
    };
    let mut taken = Vec::new();
    let mut rejected = Vec::new();
    for (index, raw) in events(endpoint, &body, limits.events)?.into_iter().enumerate() {
        match examine(raw, &context) {
            Ok(event) => taken.push(event),
            Err(rejection) => rejected.push(RejectedEvent { index, rejection }),
        }
    }
    let count = taken.len();
    // A task of its own: a client that hangs up must not stop the events between the log and the
    // memory of message ids, where a repeated post would be taken for a new one.
    let storing = tokio::spawn(store(Arc::clone(shared), client, taken, place));
    let accepted = storing.await.map_err(|error| {
        tracing::error!(%error, "storing the events of a request was cut short");
        Refusal::LogFailed
    })??;
    Ok(Answer { success: rejected.is_empty(), accepted, duplicate: count - accepted, rejected })
}

/// Decides whether a request is read at all: who it is from, and whether there is room.
fn admit(shared: &Shared, parts: &Parts) -> Result<(Client, OwnedSemaphorePermit), Refusal> {
    let client = shared.keys.client(&parts.headers)?;
    if client.role != postrider_store::KeyRole::Server {
        shared.origins.allow(&parts.headers).map_err(Refusal::OriginNotAllowed)?;
    }
    body::check_encoding(&parts.headers)?;
    let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| Refusal::Busy)?;
    Ok((client.clone(), place))
}

/// How the ids begin that events without one get.
pub(super) const MINTED: &str = "minted-";

/// Stores the events whose ids are new, and returns how many those were, once every event of the
/// request is durable.
async fn store(
    shared: Arc<Shared>,
    client: Client,
    events: Vec<Event>,
    _place: OwnedSemaphorePermit,
) -> Result<usize, Refusal> {
    let now = shared.wall.now().0;
    let key = |id: &String| Key::of(shared.workspace, &client.stream, client.role, id);
    let keys: Vec<_> = events.iter().map(|event| event.message_id.as_ref().map(key)).collect();
    let claim = shared.dedupe.claim(&keys, now);
    let new = events.into_iter().zip(claim.is_new()).filter(|(_, is_new)| **is_new);
    let frames: Vec<_> = new.map(|(event, _)| frame(&shared, &client, event, now)).collect();
    let accepted = frames.len();
    if accepted > 0 {
        append(&shared, frames).await?;
    }
    // Also without a new event: a duplicate is only one once its first copy is durable.
    if claim.settle().settled().await { Ok(accepted) } else { Err(Refusal::LogFailed) }
}

fn frame(shared: &Shared, client: &Client, event: Event, now: i64) -> NewFrame {
    let message_id = event.message_id.unwrap_or_else(|| {
        let id = BASE32_NOPAD.encode(&(shared.ids)().to_be_bytes());
        format!("{MINTED}{}", id.to_ascii_lowercase())
    });
    let record = EventRecord {
        stream: client.stream.clone(),
        message_id,
        role: client.role.into(),
        received_at: now,
        body: event.body,
    };
    record.frame(shared.workspace, event.subject)
}

async fn append(shared: &Shared, frames: Vec<NewFrame>) -> Result<(), Refusal> {
    let failed = |error| not_stored(shared, &error);
    let queued = timeout(shared.limits.log_queue_time, shared.log.submit_if_room(frames)).await;
    let ticket = queued.map_err(|_| Refusal::LogBusy)?.map_err(failed)?;
    ticket.durable().await.map_err(failed)?;
    Ok(())
}

fn not_stored(shared: &Shared, error: &LogError) -> Refusal {
    if let LogError::DiskFull { .. } = error {
        // The log says it once, however many events come meanwhile.
        return Refusal::DiskFull;
    }
    if error.kind() != ErrorKind::Retry {
        shared.stats.log_is_broken();
    }
    tracing::error!(%error, "events could not be stored, and their senders were told so");
    Refusal::LogFailed
}

#[cfg(test)]
mod tests;
