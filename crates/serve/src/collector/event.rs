//! What the collector needs to know of an event, and which events it does not take.
//!
//! An event is read once, without building a tree, and journaled as its own bytes.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use postrider_core::{SubjectId, WorkspaceId};
use postrider_store::KeyRole;
use serde::Serialize;

use super::{
    facts::{Facts, Problem, Scalar},
    slice::{Call, without_position},
};
use crate::limits::{EVENT_DEPTH_MAX, ID_BYTES_MAX};

/// An event that will be journaled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// As received, but for a `type` that only the endpoint knew.
    pub(super) body: Bytes,
    /// The sender's id; without it a repeated event is not recognised.
    pub(super) message_id: Option<String>,
    /// The person that the event is about.
    pub(super) subject: SubjectId,
}

/// Why one event of a request is not taken.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rejection {
    /// A stable word.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
}

/// What the request says about its events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) workspace: WorkspaceId,
    pub(super) role: KeyRole,
    /// Set by an endpoint for single events.
    pub(super) call: Option<Call>,
    pub(super) event_bytes_max: usize,
}

/// Calls that say who someone is.
const NAMING_CALLS: [&str; 3] = ["identify", "alias", "group"];

/// Reads one event and decides whether it is taken.
pub(super) fn examine(raw: Bytes, context: &Context) -> Result<Event, Rejection> {
    if raw.len() > context.event_bytes_max {
        let message = format!(
            "the event has {} bytes and may have {}: leave out what no query needs",
            raw.len(),
            context.event_bytes_max
        );
        return Err(Rejection { reason: "too_large", message });
    }
    let facts = read(&raw)?;
    let kind = kind(&facts, context.call)?;
    if context.role != KeyRole::Server {
        refuse_recipient(&facts, kind)?;
    }
    let subject = first_id(facts.subjects())?;
    Ok(Event {
        message_id: first_id(facts.message_ids())?,
        subject: subject.map_or(SubjectId::NONE, |key| SubjectId::of(context.workspace, &key)),
        body: match context.call {
            Some(call) if facts.kind().is_none() => with_type(&raw, call),
            _ => raw,
        },
    })
}

/// The message id that stands in an event, if it has one.
pub(super) fn sent_id(raw: &[u8]) -> Option<String> {
    first_id(read(raw).ok()?.message_ids()).ok().flatten()
}

fn read(raw: &[u8]) -> Result<Facts<'_>, Rejection> {
    // The request was already checked to be UTF-8.
    let text = std::str::from_utf8(raw)
        .map_err(|error| Rejection { reason: "bad_json", message: error.to_string() })?;
    Facts::of(text).map_err(|problem| match problem {
        Problem::NotAnObject => Rejection {
            reason: "not_an_object",
            message: "an event must be a JSON object".to_owned(),
        },
        Problem::TooDeep => Rejection {
            reason: "too_deep",
            message: format!("objects and arrays may be nested {EVENT_DEPTH_MAX} deep"),
        },
        Problem::Repeated(name) => Rejection {
            reason: "repeated_field",
            message: format!("field `{name}` stands in the event twice"),
        },
        Problem::Json(error) => Rejection {
            reason: "bad_json",
            message: format!(
                "{} at line {}, column {} of the event",
                without_position(&error.to_string()),
                error.line(),
                error.column()
            ),
        },
    })
}

/// The kind of call, from the endpoint or the event, which must agree.
fn kind<'f>(facts: &'f Facts<'_>, call: Option<Call>) -> Result<Option<&'f str>, Rejection> {
    let said = match facts.kind() {
        Some(Scalar::Text(text)) => Some(text.as_ref()),
        _ => None,
    };
    match call {
        Some(call) if facts.kind().is_some() && said != Some(call.word()) => Err(Rejection {
            reason: "type_mismatch",
            message: format!(
                "the event was sent to /v1/{0}, so its `type` must be \"{0}\" or left out",
                call.word()
            ),
        }),
        Some(call) => Ok(Some(call.word())),
        None => Ok(said),
    }
}

/// A browser key is public: whoever reads it could otherwise have mail sent to anyone.
fn refuse_recipient(facts: &Facts<'_>, kind: Option<&str>) -> Result<(), Rejection> {
    let what = if let Some(kind) =
        kind.filter(|kind| NAMING_CALLS.iter().any(|call| call.eq_ignore_ascii_case(kind)))
    {
        format!("a call of type `{kind}` says who someone is")
    } else if let Some(field) = &facts.naming_field {
        format!("field `{field}` names a recipient")
    } else {
        return Ok(());
    };
    Err(Rejection {
        reason: "browser_key_names_recipient",
        message: format!(
            "{what}, and a browser key can't: send the event from your server with a server key, or leave that out and use `anonymousId`"
        ),
    })
}

/// The first of some fields that holds an id.
fn first_id<'f, 'de: 'f>(
    mut fields: impl Iterator<Item = (&'static str, &'f Scalar<'de>)>,
) -> Result<Option<String>, Rejection> {
    fields.find_map(|(name, value)| id(name, value).transpose()).transpose()
}

/// The text of an id; empty and null count as none.
fn id(name: &str, value: &Scalar<'_>) -> Result<Option<String>, Rejection> {
    let text: Cow<'_, str> = match value {
        Scalar::Null => return Ok(None),
        Scalar::Text(text) => Cow::Borrowed(text),
        Scalar::Unsigned(number) => number.to_string().into(),
        Scalar::Signed(number) => number.to_string().into(),
        Scalar::Other => {
            let message = format!("field `{name}` must be a text or a whole number of 64 bits");
            return Err(Rejection { reason: "bad_id", message });
        }
    };
    if text.len() > ID_BYTES_MAX {
        let message = format!("field `{name}` is longer than {ID_BYTES_MAX} bytes");
        return Err(Rejection { reason: "bad_id", message });
    }
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// The object with the endpoint's `type` in front of its fields.
fn with_type(object: &Bytes, call: Call) -> Bytes {
    let fields = object.get(1..).unwrap_or_default();
    let is_empty = fields.trim_ascii_start().starts_with(b"}");
    let mut typed = BytesMut::with_capacity(object.len() + 20);
    typed.put_slice(b"{\"type\":\"");
    typed.put_slice(call.word().as_bytes());
    typed.put_slice(if is_empty { b"\"" } else { b"\"," });
    typed.put_slice(fields);
    typed.freeze()
}

#[cfg(test)]
mod tests;
