//! Which field comes next in an object.
//!
//! Records of one stream are written by the same few programs, so field `i` of an object is nearly
//! always the field that was at place `i` before, with the same white space around it. A
//! [`Layout`] remembers the bytes between two values, such as `,"user_id":`, and what they led to:
//! one comparison finds the field and steps over its key. Whatever differs is read and looked up,
//! and remembered instead.

use hashbrown::HashMap;

use super::{cursor::Cursor, reason::Parsed};
use crate::limits::{FIELD_TOKEN_BYTES_MAX, FIELD_TOKENS_MAX};

/// The fields of an object that someone asks for, by key.
pub(super) type Keys = HashMap<Box<str>, usize>;

/// What comes next in an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of the wanted field with this number.
    Wanted(usize),
    /// The value of a field that nobody asks for.
    Unwanted,
    /// Nothing: the closing brace was stepped over.
    End,
}

/// The remembered order of fields.
#[derive(Debug, Default, Clone)]
pub(super) struct Layout {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone)]
struct Slot {
    token: Token,
    target: Option<usize>,
}

/// Bytes that are compared with what comes next: the first 16 at once, as a number.
#[derive(Debug, Clone)]
struct Token {
    bytes: Vec<u8>,
    head: u128,
    mask: u128,
}

impl Token {
    fn new(bytes: &[u8]) -> Self {
        let mut head = [0; 16];
        let len = bytes.len().min(16);
        head[..len].copy_from_slice(&bytes[..len]);
        let mask = if len == 16 { u128::MAX } else { (1 << (8 * len)) - 1 };
        Self { bytes: bytes.to_vec(), head: u128::from_le_bytes(head), mask }
    }

    #[inline]
    fn starts(&self, rest: &[u8]) -> bool {
        let Some((head, tail)) = rest.split_first_chunk::<16>() else {
            return rest.starts_with(&self.bytes);
        };
        (u128::from_le_bytes(*head) & self.mask) == self.head
            && self.bytes.get(16..).is_none_or(|bytes| tail.starts_with(bytes))
    }
}

impl Layout {
    /// Steps to the value of field number `index`, or over the end of the object. The opening
    /// brace, or the value of the field before, was stepped over.
    #[inline]
    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        index: usize,
        keys: &Keys,
        scratch: &mut String,
    ) -> Parsed<Step> {
        if let Some(slot) = self.slots.get(index)
            && slot.token.starts(cursor.rest())
        {
            cursor.advance(slot.token.bytes.len());
            return Ok(slot.target.map_or(Step::Unwanted, Step::Wanted));
        }
        self.look_up(cursor, index, keys, scratch)
    }

    fn look_up(
        &mut self,
        cursor: &mut Cursor<'_>,
        index: usize,
        keys: &Keys,
        scratch: &mut String,
    ) -> Parsed<Step> {
        let start = cursor.at();
        match cursor.peek() {
            b'}' => {
                cursor.bump();
                return Ok(Step::End);
            }
            b',' if index > 0 => {
                cursor.bump();
                if cursor.peek() != b'"' {
                    return Err(cursor.unexpected("a key in quotes"));
                }
            }
            b'"' if index == 0 => {}
            _ => {
                return Err(cursor.unexpected(if index == 0 {
                    "a key or '}'"
                } else {
                    "',' or '}'"
                }));
            }
        }
        cursor.bump();
        let target = keys.get(cursor.string(scratch)?).copied();
        cursor.colon()?;
        cursor.peek();
        self.remember(index, cursor.since(start).as_bytes(), target);
        Ok(target.map_or(Step::Unwanted, Step::Wanted))
    }

    fn remember(&mut self, index: usize, token: &[u8], target: Option<usize>) {
        if token.len() > FIELD_TOKEN_BYTES_MAX || index >= FIELD_TOKENS_MAX {
            return;
        }
        let slot = Slot { token: Token::new(token), target };
        if let Some(known) = self.slots.get_mut(index) {
            *known = slot;
        } else if index == self.slots.len() {
            self.slots.push(slot);
        }
    }
}
