//! Columns of collector events, found inside the Segment envelope.
//!
//! A column named `x` reads the first field that is there and not null:
//!
//! 1. top-level `x`, or its camel-case form (`message_id` <- `messageId`): this covers the fields
//!    of the Segment spec (`userId`, `anonymousId`, `messageId`, `sentAt`, `originalTimestamp`,
//!    `event`, `type`, `name`, ..);
//! 2. for `ts` and `timestamp`: top-level `timestamp`;
//! 3. `properties.x`, then `traits.x`, both also in camel case;
//! 4. for `context_a_b`: `context.a.b` (`a_b` may be one key or two, each also in camel case);
//! 5. for `ts` and `timestamp`: when Postrider received the event.
//!
//! `received_at` is always when Postrider received the event, where that is known: a producer
//! can't forge it, so that only types that hold such a time are taken.
//!
//! A value that ranks higher may come later in the text, so values are first located and then
//! parsed; only what a column may read is entered.

use std::ops::Range;

use arrow_schema::{DataType, Field, Schema};

use super::{
    cursor::Cursor,
    fields::Fields,
    layout::{Keys, Layout, Step},
    reason::Parsed,
};
use crate::limits::CONTEXT_WORDS_MAX;

/// The column that producers have no say in.
const RECEIVED_AT: &str = "received_at";

/// Where each column may be found.
#[derive(Debug)]
pub(super) struct Envelope {
    /// The objects that may be entered; the first is the record.
    objects: Vec<Object>,
    /// What each column falls back on.
    stamps: Vec<Stamp>,
}

#[derive(Debug, Default)]
struct Object {
    keys: Keys,
    fields: Vec<Wanted>,
}

/// A field that columns may read, or an object that holds such fields, or both.
#[derive(Debug, Default)]
struct Wanted {
    /// Which columns read it, and how it ranks for them (0 is best).
    readers: Vec<(usize, usize)>,
    object: Option<usize>,
}

/// How a column uses the time at which its event was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Never,
    IfMissing,
    Always,
}

/// What was located in one record.
#[derive(Debug)]
pub(super) struct Located {
    /// For each column, the rank and the place of its best value.
    best: Vec<Option<(usize, Range<usize>)>>,
    /// For each object of the envelope.
    layouts: Vec<Layout>,
}

impl Envelope {
    /// Plans where to look for the columns of `schema`.
    pub(super) fn new(schema: &Schema) -> Self {
        let mut envelope = Self { objects: vec![Object::default()], stamps: Vec::new() };
        for (column, field) in schema.fields().iter().enumerate() {
            let name = field.name();
            envelope.stamps.push(match name.as_str() {
                RECEIVED_AT => Stamp::Always,
                "ts" | "timestamp" => Stamp::IfMissing,
                _ => Stamp::Never,
            });
            for (rank, path) in paths(name).iter().enumerate() {
                envelope.want(column, rank, path);
            }
        }
        envelope
    }

    /// Whether a column can take what it is stamped with.
    pub(super) fn takes(field: &Field) -> bool {
        let holds_moments = matches!(
            field.data_type(),
            DataType::Timestamp(..)
                | DataType::Date32
                | DataType::Int64
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        );
        holds_moments || field.name() != RECEIVED_AT
    }

    /// Room for what is located in a record; reused from record to record.
    pub(super) fn located(&self) -> Located {
        Located {
            best: vec![None; self.stamps.len()],
            layouts: vec![Layout::default(); self.objects.len()],
        }
    }

    fn want(&mut self, column: usize, rank: usize, path: &[String]) {
        let mut object = 0;
        for (depth, key) in path.iter().enumerate() {
            let last = depth + 1 == path.len();
            let next = self.objects.len();
            let here = &mut self.objects[object];
            let index = *here.keys.entry(key.as_str().into()).or_insert(here.fields.len());
            if index == here.fields.len() {
                here.fields.push(Wanted::default());
            }
            let field = &mut here.fields[index];
            if last {
                field.readers.push((column, rank));
            } else {
                object = *field.object.get_or_insert(next);
                if object == next {
                    self.objects.push(Object::default());
                }
            }
        }
    }

    /// Reads a record whose opening brace was stepped over. After an error the columns must be
    /// truncated.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor<'_>,
        received_at: Option<i64>,
        fields: &mut Fields,
        located: &mut Located,
        scratch: &mut String,
    ) -> Parsed<()> {
        located.best.fill(None);
        self.locate(0, cursor, located, scratch)?;
        for ((column, best), stamp) in
            fields.columns.iter_mut().zip(&located.best).zip(&self.stamps)
        {
            match (received_at, stamp, best) {
                (Some(ns), Stamp::Always, _) | (Some(ns), Stamp::IfMissing, None) => {
                    if !column.append_moment(ns)? {
                        column.append_missing()?;
                    }
                }
                (_, _, Some((_, place))) => {
                    column.append(&mut cursor.on(place.clone()), scratch)?;
                }
                (_, _, None) => column.append_missing()?,
            }
        }
        fields.end_row();
        Ok(())
    }

    /// Walks an object and notes the best place for each column.
    fn locate(
        &self,
        object: usize,
        cursor: &mut Cursor<'_>,
        located: &mut Located,
        scratch: &mut String,
    ) -> Parsed<()> {
        let Some(Object { keys, fields }) = self.objects.get(object) else { return Ok(()) };
        for index in 0.. {
            let wanted = match located.layouts[object].step(cursor, index, keys, scratch)? {
                Step::End => break,
                Step::Wanted(target) => fields.get(target),
                Step::Unwanted => None,
            };
            let null = cursor.peek() == b'n';
            let start = cursor.at();
            match wanted.and_then(|wanted| wanted.object) {
                Some(inner) if cursor.peek() == b'{' => {
                    cursor.bump();
                    self.locate(inner, cursor, located, scratch)?;
                }
                _ => {
                    cursor.skip()?;
                }
            }
            let place = start..cursor.at();
            for (column, rank) in wanted.iter().filter(|_| !null).flat_map(|wanted| &wanted.readers)
            {
                let best = &mut located.best[*column];
                // Of two fields with the same key the first wins.
                if best.as_ref().is_none_or(|(found, _)| rank < found) {
                    *best = Some((*rank, place.clone()));
                }
            }
        }
        Ok(())
    }
}

/// The paths that a column may be read from, best first.
fn paths(name: &str) -> Vec<Vec<String>> {
    let spellings = spellings(name);
    let mut paths: Vec<Vec<String>> = spellings.iter().map(|key| vec![key.clone()]).collect();
    if name == "ts" {
        paths.push(vec!["timestamp".to_owned()]);
    }
    for object in ["properties", "traits"] {
        paths.extend(spellings.iter().map(|key| vec![object.to_owned(), key.clone()]));
    }
    if let Some(rest) = name.strip_prefix("context_") {
        let words: Vec<&str> = rest.split('_').collect();
        for segments in splits(&words) {
            let mut grown = vec![vec!["context".to_owned()]];
            for segment in &segments {
                grown = grown
                    .iter()
                    .flat_map(|path| {
                        self::spellings(segment)
                            .into_iter()
                            .map(move |key| path.iter().cloned().chain([key]).collect::<Vec<_>>())
                    })
                    .collect();
            }
            paths.extend(grown);
        }
    }
    paths
}

/// A snake-case name and its camel-case form, if that is another.
fn spellings(name: &str) -> Vec<String> {
    let mut camel = String::with_capacity(name.len());
    let mut words = name.split('_').filter(|word| !word.is_empty());
    camel.push_str(words.next().unwrap_or_default());
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    if camel == name { vec![camel] } else { vec![name.to_owned(), camel] }
}

/// Every way to cut a row of words into keys, the finest first. Beyond [`CONTEXT_WORDS_MAX`] words
/// only the finest and the coarsest.
fn splits(words: &[&str]) -> Vec<Vec<String>> {
    let gaps = words.len().saturating_sub(1);
    let all = (1_usize << gaps.min(CONTEXT_WORDS_MAX)) - 1;
    let masks: Vec<usize> =
        if words.len() > CONTEXT_WORDS_MAX { vec![all, 0] } else { (0..=all).rev().collect() };
    let cut_all = words.len() > CONTEXT_WORDS_MAX;
    masks
        .into_iter()
        .map(|mask| {
            let mut keys = vec![words.first().copied().unwrap_or_default().to_owned()];
            for (gap, word) in words.iter().skip(1).enumerate() {
                let cut = if cut_all { mask != 0 } else { mask >> gap & 1 == 1 };
                match keys.last_mut() {
                    Some(last) if !cut => {
                        last.push('_');
                        last.push_str(word);
                    }
                    _ => keys.push((*word).to_owned()),
                }
            }
            keys
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::paths;

    fn joined(name: &str) -> Vec<String> {
        paths(name).iter().map(|path| path.join(".")).collect()
    }

    #[test]
    fn a_plain_name_is_looked_for_at_the_top_then_in_properties_then_in_traits() {
        assert_eq!(
            joined("cart_id"),
            [
                "cart_id",
                "cartId",
                "properties.cart_id",
                "properties.cartId",
                "traits.cart_id",
                "traits.cartId",
            ]
        );
    }

    #[test]
    fn a_context_name_is_cut_at_every_place() {
        let paths = joined("context_user_agent");
        assert_eq!(paths[6..], ["context.user.agent", "context.user_agent", "context.userAgent"]);
        let long = joined("context_a_b_c_d_e_f_g");
        assert_eq!(long[6], "context.a.b.c.d.e.f.g");
        assert_eq!(long[7..], ["context.a_b_c_d_e_f_g", "context.aBCDEFG"]);
    }
}
