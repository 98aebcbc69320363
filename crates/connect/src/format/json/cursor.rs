//! A place in one JSON text, and the steps over its parts (RFC 8259).
//!
//! Why not a library: the columns need a parser that stands still at each value, borrows keys and
//! numbers, and never recurses on what it steps over. `sonic-rs`'s lazy iterator allocates every
//! key and recurses without a limit; driven by its inner parser, decoding took twice as long.

use std::ops::Range;

use super::{
    reason::{Bad, Parsed},
    scan::{digits_end, string_stop},
};
use crate::limits::JSON_DEPTH_MAX;

/// Reads one JSON text from left to right.
///
/// Invariant: at `end` there is a line break, the end of `text`, or what follows a value that is
/// known to be whole. A string can't run over any of them.
pub(super) struct Cursor<'a> {
    text: &'a str,
    begin: usize,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a record within a text.
    #[inline]
    pub(super) fn new(text: &'a str, record: Range<usize>) -> Self {
        Self { text, begin: record.start, at: record.start, end: record.end }
    }

    /// Another cursor, on a value that this one stepped over.
    pub(super) fn on(&self, value: Range<usize>) -> Self {
        Self { text: self.text, begin: self.begin, at: value.start, end: value.end }
    }

    /// The place in the text.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte after white space, which stays; 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while self.at < self.end {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return *byte,
                None => break,
            }
        }
        0
    }

    /// Whether nothing but white space is left.
    #[inline]
    pub(super) fn at_end(&mut self) -> bool {
        self.peek() == 0 && self.at >= self.end
    }

    /// Steps over one byte that [`peek`](Self::peek) showed.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// The bytes from here on, beyond the end of the record too.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Steps over bytes that [`rest`](Self::rest) showed.
    #[inline]
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// What was read since `start`.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// A string whose opening quote was just stepped over. The text is borrowed from the input, or
    /// unescaped into `scratch`.
    #[inline]
    pub(super) fn string<'s>(&mut self, scratch: &'s mut String) -> Parsed<&'s str>
    where
        'a: 's,
    {
        let start = self.at;
        let stop = string_stop(self.text.as_bytes(), start);
        if self.text.as_bytes().get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return Ok(self.text.get(start..stop).unwrap_or_default());
        }
        self.unescape(scratch)?;
        Ok(scratch)
    }

    #[cold]
    fn unescape(&mut self, scratch: &mut String) -> Parsed<()> {
        scratch.clear();
        loop {
            let start = self.at;
            self.at = string_stop(self.text.as_bytes(), start);
            scratch.push_str(self.since(start));
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', b'u', ..] => scratch.push(self.code_point()?),
                [b'\\', letter, ..] => {
                    scratch.push(match letter {
                        b'"' | b'\\' | b'/' => char::from(*letter),
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        _ => return Err(self.bad_string()),
                    });
                    self.at += 2;
                }
                _ => return Err(self.bad_string()),
            }
        }
    }

    /// Reads `\uXXXX`, or the two of them that make one character.
    fn code_point(&mut self) -> Parsed<char> {
        let first = self.code_unit()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with(b"\\u") {
            let second = self.code_unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).ok_or_else(|| self.bad_string());
            }
        }
        Err(Bad::json(self.at - self.begin, "half of a surrogate pair stands alone"))
    }

    /// Reads `\uXXXX`.
    fn code_unit(&mut self) -> Parsed<u32> {
        let mut code = 0;
        for place in 2..6 {
            let digit = self.rest().get(place).and_then(|byte| char::from(*byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.bad_string())?;
        }
        self.at += 6;
        Ok(code)
    }

    /// Steps over a string whose opening quote was stepped over.
    #[inline]
    fn skip_string(&mut self) -> Parsed<()> {
        loop {
            self.at = string_stop(self.text.as_bytes(), self.at);
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', b'u', ..] => {
                    self.code_unit()?;
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                _ => return Err(self.bad_string()),
            }
        }
    }

    #[cold]
    fn bad_string(&self) -> Box<Bad> {
        let what = match self.rest().first() {
            Some(b'\\') => "there is no such escape",
            Some(_) if self.at < self.end => "a string holds a control character",
            _ => "it ends within a string",
        };
        Bad::json(self.at - self.begin, what)
    }

    /// The text of the number that comes next.
    #[inline]
    pub(super) fn number(&mut self) -> Parsed<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        at = match bytes.get(at) {
            Some(b'0') => at + 1,
            Some(b'1'..=b'9') => digits_end(bytes, at),
            _ => return Err(self.unexpected("a number")),
        };
        if bytes.get(at) == Some(&b'.') {
            let end = digits_end(bytes, at + 1);
            if end == at + 1 {
                self.at = end;
                return Err(self.unexpected("a digit"));
            }
            at = end;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits_end(bytes, at + 1 + sign);
            if end == at + 1 + sign {
                self.at = end;
                return Err(self.unexpected("a digit"));
            }
            at = end;
        }
        self.at = at;
        Ok(self.since(start))
    }

    /// Steps over the value that comes next, checks its syntax, and gives its text.
    #[inline]
    pub(super) fn skip(&mut self) -> Parsed<&'a str> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'{' | b'[' => self.skip_nested()?,
            _ => self.skip_scalar()?,
        }
        Ok(self.since(start))
    }

    #[inline]
    fn skip_scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            b'"' => {
                self.bump();
                self.skip_string()
            }
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Steps over an object or a list. What is open is kept in the bits of a number, one for an
    /// object, zero for a list: no recursion, however deep the text nests.
    fn skip_nested(&mut self) -> Parsed<()> {
        let (mut open, mut depth) = (0_u128, 0_usize);
        loop {
            match self.peek() {
                bracket @ (b'{' | b'[') => {
                    if depth == JSON_DEPTH_MAX {
                        return Err(too_deep());
                    }
                    let object = bracket == b'{';
                    (open, depth) = (open << 1 | u128::from(object), depth + 1);
                    self.bump();
                    match self.peek() {
                        b'}' if object => {}
                        b']' if !object => {}
                        _ if object => {
                            self.skip_key()?;
                            continue;
                        }
                        _ => continue,
                    }
                }
                _ => self.skip_scalar()?,
            }
            loop {
                let object = open & 1 == 1;
                match self.peek() {
                    _ if depth == 0 => return Ok(()),
                    b'}' if object => {}
                    b']' if !object => {}
                    b',' => {
                        self.bump();
                        if object {
                            self.skip_key()?;
                        }
                        break;
                    }
                    _ => {
                        return Err(self.unexpected(if object {
                            "',' or '}'"
                        } else {
                            "',' or ']'"
                        }));
                    }
                }
                self.bump();
                (open, depth) = (open >> 1, depth - 1);
                if depth == 0 {
                    return Ok(());
                }
            }
        }
    }

    /// Steps over a key and its colon.
    fn skip_key(&mut self) -> Parsed<()> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a key in quotes"));
        }
        self.bump();
        self.skip_string()?;
        self.colon()
    }

    /// Steps over the colon behind a key.
    #[inline]
    pub(super) fn colon(&mut self) -> Parsed<()> {
        if self.peek() != b':' {
            return Err(self.unexpected("':'"));
        }
        self.bump();
        Ok(())
    }

    /// Steps over `null`, `true` or `false`.
    #[inline]
    pub(super) fn literal(&mut self, word: &'static str) -> Parsed<()> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.unexpected(word));
        }
        self.at += word.len();
        Ok(())
    }

    /// The fault "something else was expected here".
    #[cold]
    pub(super) fn unexpected(&mut self, expected: &str) -> Box<Bad> {
        self.peek();
        let found = self.text.get(self.at..self.end).and_then(|rest| rest.chars().next());
        let what = match found {
            Some(found) => format!("expected {expected}, found '{}'", found.escape_debug()),
            None => format!("it ends where {expected} should come"),
        };
        Bad::json(self.at - self.begin, &what)
    }
}

#[cold]
fn too_deep() -> Box<Bad> {
    Bad::new("too_deep", format!("objects and lists nest deeper than {JSON_DEPTH_MAX}"))
}
