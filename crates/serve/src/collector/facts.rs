//! The few facts that are read from an event on its way into the log.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::EVENT_DEPTH_MAX;

/// A value, as far as anyone asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'de> {
    Null,
    Text(Cow<'de, str>),
    Unsigned(u64),
    Signed(i64),
    /// A truth value, a fraction, an object or an array.
    Other,
}

/// The fields of the event itself that are kept.
const KEPT: [&str; 8] =
    ["type", "messageId", "message_id", "id", "userId", "user_id", "anonymousId", "anonymous_id"];

/// What an event says about itself.
#[derive(Debug, Default)]
pub(super) struct Facts<'de> {
    kept: [Option<Scalar<'de>>; KEPT.len()],
    /// The first field, at any depth, that names a recipient.
    pub(super) naming_field: Option<String>,
    problem: Option<Problem>,
}

/// Why an event has no facts.
#[derive(Debug)]
pub(super) enum Problem {
    NotAnObject,
    TooDeep,
    Repeated(&'static str),
    Json(serde_json::Error),
}

/// Names that stand for a recipient wherever they are in an event, in any spelling of
/// [`spells`]: queries can reach every depth, and readers of JSON differ in how exactly they
/// match names.
const NAMING_FIELDS: [&str; 3] = ["userid", "email", "emailaddress"];

impl<'de> Facts<'de> {
    /// Reads one event.
    pub(super) fn of(text: &'de str) -> Result<Self, Problem> {
        if !text.starts_with('{') {
            return Err(Problem::NotAnObject);
        }
        let mut facts = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = Walk { facts: &mut facts, depth: 0 }
            .deserialize(&mut deserializer)
            .and_then(|_| deserializer.end());
        match (facts.problem.take(), read) {
            (Some(problem), _) => Err(problem),
            (None, Err(error)) => Err(Problem::Json(error)),
            (None, Ok(())) => Ok(facts),
        }
    }

    /// The `type`.
    pub(super) fn kind(&self) -> Option<&Scalar<'de>> {
        self.kept.first().and_then(Option::as_ref)
    }

    /// The fields that may hold the message id, the preferred one first.
    pub(super) fn message_ids(&self) -> impl Iterator<Item = (&'static str, &Scalar<'de>)> {
        self.fields(1..4)
    }

    /// The fields that may say who the event is about, the preferred one first.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (&'static str, &Scalar<'de>)> {
        self.fields(4..KEPT.len())
    }

    fn fields(&self, range: Range<usize>) -> impl Iterator<Item = (&'static str, &Scalar<'de>)> {
        let fields = KEPT.into_iter().zip(&self.kept).take(range.end).skip(range.start);
        fields.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    /// Keeps a field of the event itself. Two of one name would be read differently by different
    /// readers.
    fn keep(&mut self, name: &str, value: Scalar<'de>) -> Result<(), Problem> {
        let place = KEPT.into_iter().zip(&mut self.kept).find(|(known, _)| *known == name);
        match place {
            Some((name, Some(_))) => Err(Problem::Repeated(name)),
            Some((_, place)) => {
                *place = Some(value);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Whether `name` is `word`, whatever its case and whatever separates its parts.
fn spells(name: &str, word: &str) -> bool {
    let letters = name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ' | b'.'));
    letters.map(|byte| byte.to_ascii_lowercase()).eq(word.bytes())
}

/// Visits one value and everything in it.
struct Walk<'f, 'de> {
    facts: &'f mut Facts<'de>,
    depth: usize,
}

impl<'de> Walk<'_, 'de> {
    fn deeper<E: Error>(&mut self) -> Result<Walk<'_, 'de>, E> {
        if self.depth == EVENT_DEPTH_MAX {
            self.facts.problem = Some(Problem::TooDeep);
            return Err(E::custom("too deep"));
        }
        Ok(Walk { facts: self.facts, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Signed(value))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let value = map.next_value_seed(self.deeper()?)?;
            let is_naming = NAMING_FIELDS.iter().any(|word| spells(&key, word));
            let is_empty = matches!(&value, Scalar::Null)
                || matches!(&value, Scalar::Text(text) if text.is_empty());
            if is_naming && !is_empty && self.facts.naming_field.is_none() {
                self.facts.naming_field = Some(key.to_string());
            }
            if self.depth == 0
                && let Err(problem) = self.facts.keep(&key, value)
            {
                self.facts.problem = Some(problem);
                return Err(A::Error::custom("repeated field"));
            }
        }
        Ok(Scalar::Other)
    }
}

/// The name of a field, unescaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }
}
