//! The lines of a chunk as texts.

use bytes::Bytes;

use super::json::{Bad, bad_utf8, too_large};
use crate::limits::RECORD_BYTES_MAX;

/// Calls `line` with where each line begins in the chunk, its bytes without the line break, and its text or why it has none.
/// What is behind the last line break is a line unless it is empty.
pub(crate) fn for_each<'c>(
    chunk: &'c Bytes,
    mut line: impl FnMut(usize, &'c [u8], Result<&'c str, Box<Bad>>),
) {
    // One pass over the chunk is cheaper than one over each line; a chunk with a fault is checked line by line.
    let whole = simdutf8::basic::from_utf8(chunk).ok();
    let mut from = 0;
    let breaks = memchr::memchr_iter(b'\n', chunk);
    for end in breaks.chain((!chunk.ends_with(b"\n") && !chunk.is_empty()).then_some(chunk.len())) {
        let bytes = without_return(&chunk[from..end]);
        let text = match whole {
            _ if end - from > RECORD_BYTES_MAX => Err(too_large(end - from)),
            Some(whole) => Ok(&whole[from..from + bytes.len()]),
            None => simdutf8::basic::from_utf8(bytes).map_err(|_| bad_utf8()),
        };
        line(from, bytes, text);
        from = end + 1;
    }
}

/// Whether a line of JSON holds nothing.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Files of other systems end a line with a carriage return before the line break.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
