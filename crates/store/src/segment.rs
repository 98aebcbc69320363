//! Segment files: their names and headers.
//!
//! ```text
//!  0 magic [u8; 8]   8 version u32 (1)   12 base u64   20 generation u64   28 CRC-32C u32 of bytes 0..28
//! ```
//!
//! A segment is named by its *base*, the position of its first frame, and holds whole frames only. It was
//! begun by the process of its generation, and all its frames are of that generation.

use postrider_core::Generation;

use crate::Lsn;

/// The size of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 32;

const MAGIC: [u8; 8] = *b"postrlog";
const VERSION: u32 = 1;

/// What the header of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The position of its first frame.
    pub(crate) base: Lsn,
    /// Who began it.
    pub(crate) generation: Generation,
}

/// Why bytes are not the header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Not what was written.
    Damaged,
    /// Intact, but of a later version.
    TooNew(u32),
}

impl SegmentHeader {
    /// The header's bytes.
    pub(crate) fn encode(self) -> [u8; 32] {
        let mut header = [0; 32];
        header[0..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&self.base.0.to_le_bytes());
        header[20..28].copy_from_slice(&self.generation.0.to_le_bytes());
        let crc = crc32c::crc32c(&header[..28]);
        header[28..32].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Reads and checks a header.
    pub(crate) fn decode(header: [u8; 32]) -> Result<Self, HeaderFault> {
        let [number @ .., a, b, c, d] = &header;
        if number[..8] != MAGIC || crc32c::crc32c(number) != u32::from_le_bytes([*a, *b, *c, *d]) {
            return Err(HeaderFault::Damaged);
        }
        let number_at = |at: usize, bytes: usize| {
            header[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let version = number_at(8, 4) as u32;
        if version != VERSION {
            return Err(HeaderFault::TooNew(version));
        }
        Ok(Self { base: Lsn(number_at(12, 8)), generation: Generation(number_at(20, 8)) })
    }
}

/// Where a frame is in the file of its segment.
pub(crate) const fn file_offset(base: Lsn, at: Lsn) -> u64 {
    SEGMENT_HEADER_BYTES + (at.0 - base.0)
}

/// The name of a segment's file: names sort as positions do.
pub(crate) fn file_name(base: Lsn) -> String {
    format!("{:020}.log", base.0)
}

/// The base of a segment from the name of its file; `None` for other files.
pub(crate) fn base_of(file_name: &str) -> Option<Lsn> {
    let digits = file_name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok().map(Lsn)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Generation, HeaderFault, Lsn, SegmentHeader, base_of, file_name};

    const HEADER: SegmentHeader = SegmentHeader { base: Lsn(0x0a0b), generation: Generation(5) };

    #[test]
    fn the_bytes_of_a_header_never_change_between_releases() {
        let hex: String = HEADER.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "706f7374726c6f67010000000b0a000000000000050000000000000093b676a4");
        assert_eq!(SegmentHeader::decode(HEADER.encode()), Ok(HEADER));
    }

    #[test]
    fn no_flipped_bit_of_a_header_goes_unnoticed() {
        for bit in 0..256 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(bytes), Err(HeaderFault::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(bytes), Err(HeaderFault::TooNew(2)));
    }

    #[test]
    fn names_sort_as_positions_do() {
        assert_eq!(file_name(Lsn(42)), "00000000000000000042.log");
        assert_eq!(base_of("00000000000000000042.log"), Some(Lsn(42)));
        assert_eq!(base_of(&file_name(Lsn(u64::MAX))), Some(Lsn(u64::MAX)));
        for other in ["LOCK", "42.log", "+0000000000000000042.log", "99999999999999999999.log"] {
            assert_eq!(base_of(other), None);
        }
    }
}
