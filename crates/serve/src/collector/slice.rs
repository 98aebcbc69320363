//! Cuts a request body into events, without changing a byte of any.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// The kinds of call of the Segment HTTP API that have an endpoint of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

impl Call {
    pub(super) const ALL: [Self; 6] =
        [Self::Track, Self::Identify, Self::Page, Self::Screen, Self::Group, Self::Alias];

    /// The value of the event's `type`, and the last part of the endpoint's path.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }
}

/// What a body contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `{"batch": [event, ..], ..}`. What stands beside the batch is not merged into its events.
    Batch,
    /// One event, whose `type` is the endpoint's.
    Single(Call),
    /// One event, an array of events, or events one after the other, such as one a line.
    Events,
}

/// The events of a body, in order. They share its memory.
pub(super) fn events(
    endpoint: Endpoint,
    body: &Bytes,
    events_max: usize,
) -> Result<Vec<Bytes>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| not_utf_8(body, error.valid_up_to()))?;
    let mut items = Items { found: Vec::new(), events_max, too_many: false };
    let read = read(endpoint, text, &mut items);
    match read {
        Ok(()) => Ok(items.found.into_iter().map(|raw| body.slice_ref(raw.as_bytes())).collect()),
        Err(_) if items.too_many => Err(Refusal::TooManyEvents(events_max)),
        Err(Problem::Shape(message)) => Err(Refusal::BadShape(message)),
        Err(Problem::Json(error)) => Err(bad_json(&error)),
    }
}

fn read<'de>(endpoint: Endpoint, text: &'de str, items: &mut Items<'de>) -> Result<(), Problem> {
    match endpoint {
        Endpoint::Batch if read_one(text, BatchSeed(items))? => Ok(()),
        Endpoint::Batch => {
            Err(Problem::Shape("the body needs a field `batch` with an array of events"))
        }
        Endpoint::Single(_) => Ok(read_one(text, ItemSeed(items))?),
        Endpoint::Events if text.trim_ascii_start().starts_with('[') => {
            Ok(read_one(text, ArraySeed(items))?)
        }
        Endpoint::Events => read_stream(text, items),
    }
}

enum Problem {
    Json(serde_json::Error),
    Shape(&'static str),
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

/// The events found so far; more than the limit is an error, so that a body of many tiny values
/// costs no more memory than itself.
struct Items<'de> {
    found: Vec<&'de str>,
    events_max: usize,
    too_many: bool,
}

impl<'de> Items<'de> {
    fn add(&mut self, raw: &'de RawValue) -> bool {
        self.too_many = self.found.len() == self.events_max;
        if !self.too_many {
            self.found.push(raw.get());
        }
        !self.too_many
    }
}

const TOO_MANY: &str = "too many events";

fn read_one<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> serde_json::Result<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn read_stream<'de>(text: &'de str, items: &mut Items<'de>) -> Result<(), Problem> {
    for raw in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        if !items.add(raw?) {
            return Err(Problem::Shape(TOO_MANY));
        }
    }
    if items.found.is_empty() {
        return Err(Problem::Shape(
            "the body is empty: send a JSON object, an array of objects, or one object a line",
        ));
    }
    Ok(())
}

struct ItemSeed<'a, 'de>(&'a mut Items<'de>);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        if self.0.add(raw) { Ok(()) } else { Err(D::Error::custom(TOO_MANY)) }
    }
}

struct ArraySeed<'a, 'de>(&'a mut Items<'de>);

impl<'de> DeserializeSeed<'de> for ArraySeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ArraySeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(ItemSeed(self.0))?.is_some() {}
        Ok(())
    }
}

/// Whether there was a `batch`.
struct BatchSeed<'a, 'de>(&'a mut Items<'de>);

impl<'de> DeserializeSeed<'de> for BatchSeed<'_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BatchSeed<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a `batch`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != "batch" {
                map.next_value::<IgnoredAny>()?;
            } else if found {
                return Err(A::Error::duplicate_field("batch"));
            } else {
                map.next_value_seed(ArraySeed(self.0))?;
                found = true;
            }
        }
        Ok(found)
    }
}

fn bad_json(error: &serde_json::Error) -> Refusal {
    Refusal::BadJson {
        line: error.line(),
        column: error.column(),
        message: without_position(&error.to_string()).to_owned(),
    }
}

/// The text of a `serde_json` error without its own ` at line .. column ..`.
pub(super) fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text)
}

fn not_utf_8(body: &[u8], valid: usize) -> Refusal {
    let before = body.get(..valid).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Refusal::BadJson {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: valid - line_start + 1,
        message: "this is not UTF-8".to_owned(),
    }
}

#[cfg(test)]
mod tests;
