//! Which ranges of a state file to read for some of its blobs, and whether what came is right.

use std::ops::Range;

use bytes::Bytes;

use super::BlobRef;
use crate::limits::{READ_GAP_BYTES_MAX, STATE_FILE_BYTES};

/// A range of a file, and the blobs in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub(super) range: Range<u64>,
    pub(super) blobs: Vec<&'a BlobRef>,
}

/// Puts blobs of one file that are near each other into one read. The spans are in the order of the file.
pub(super) fn spans<'a>(blobs: &[&'a BlobRef]) -> Vec<Span<'a>> {
    let mut blobs = blobs.to_vec();
    blobs.sort_by_key(|blob| (blob.offset, blob.bytes));
    let mut spans = Vec::<Span<'_>>::new();
    for blob in blobs {
        let end = blob.offset.saturating_add(blob.bytes);
        match spans.last_mut() {
            Some(span) if is_near(&span.range, blob.offset, end) => {
                span.range.end = span.range.end.max(end);
                span.blobs.push(blob);
            }
            _ => spans.push(Span { range: blob.offset..end, blobs: vec![blob] }),
        }
    }
    spans
}

fn is_near(range: &Range<u64>, start: u64, end: u64) -> bool {
    start <= range.end.saturating_add(READ_GAP_BYTES_MAX)
        && end.saturating_sub(range.start) <= STATE_FILE_BYTES
}

/// The bytes of a blob within what was read from `start` on.
pub(super) fn checked(read: &Bytes, start: u64, blob: &BlobRef) -> Result<Bytes, String> {
    let from = blob.offset.saturating_sub(start);
    let range =
        usize::try_from(from).ok().zip(usize::try_from(from.saturating_add(blob.bytes)).ok());
    match range {
        Some((from, to)) if to <= read.len() => {
            let bytes = read.slice(from..to);
            if crc32c::crc32c(&bytes) == blob.crc32c {
                return Ok(bytes);
            }
            let (offset, bytes) = (blob.offset, blob.bytes);
            Err(format!("the checksum of the {bytes} bytes at {offset} does not match"))
        }
        _ => Err(format!("the {} bytes at {} are cut short", blob.bytes, blob.offset)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{checked, spans};
    use crate::{checkpoint::BlobRef, limits::READ_GAP_BYTES_MAX};

    fn blob(offset: u64, bytes: u64) -> BlobRef {
        BlobRef { file: String::new(), offset, bytes, crc32c: 0 }
    }

    #[test]
    fn near_blobs_are_read_together() {
        let far = 30 + READ_GAP_BYTES_MAX + 1;
        let blobs = [blob(far, 5), blob(20, 10), blob(0, 10), blob(0, 0), blob(22, 2)];
        let spans = spans(&blobs.iter().collect::<Vec<_>>());
        let ranges: Vec<_> = spans.iter().map(|span| span.range.clone()).collect();
        assert_eq!(ranges, [0..30, far..far + 5]);
        assert_eq!(spans[0].blobs.len(), 4);
    }

    #[test]
    fn ends_that_no_file_has_are_only_damage() {
        let blobs = [blob(u64::MAX, u64::MAX)];
        assert_eq!(spans(&[&blobs[0]])[0].range, u64::MAX..u64::MAX);
        assert!(checked(&Bytes::from_static(b"abc"), 0, &blobs[0]).is_err());
    }

    #[test]
    fn short_reads_are_damage() {
        let read = Bytes::from_static(b"abc");
        let reason = checked(&read, 10, &blob(11, 3)).unwrap_err();
        assert_eq!(reason, "the 3 bytes at 11 are cut short");
    }
}
