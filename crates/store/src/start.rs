//! Where a log begins after its beginning was deleted: a small file, durable before the first segment goes.
//!
//! ```text
//!  0 magic [u8; 8]   8 version u32 (1)   12 position u64   20 sequence u64   28 CRC-32C u32 of bytes 0..28
//! ```
//!
//! All numbers are little-endian. Segments that begin before the position were to be deleted: those that are still there
//! are left over from a crash. The segment at the position was durable when the file was written, and its first
//! frame has that sequence: a log without it has lost something. A log without this file begins at 0.

use crate::{LogError, Lsn, files::LogFiles};

/// The size of the file.
const START_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"postrsta";
const VERSION: u32 = 1;

/// The first frame that a log has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogStart {
    /// Where it is.
    pub(crate) at: Lsn,
    /// Its number.
    pub(crate) sequence: u64,
}

impl LogStart {
    /// Reads where a log begins.
    pub(crate) fn read(files: &dyn LogFiles) -> Result<Self, LogError> {
        let path = files.start_path();
        let bytes = files.read_start().map_err(|source| LogError::Files {
            operation: "read",
            path: path.clone(),
            source,
        })?;
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        Self::decode(&bytes).map_err(|reason| LogError::StartUnreadable { path, reason })
    }

    /// Makes durable where a log begins.
    pub(crate) fn write(self, files: &dyn LogFiles) -> Result<(), LogError> {
        files.write_start(&self.encode()).map_err(|source| {
            let path = files.start_path();
            LogError::Files { operation: "write", path, source }
        })
    }

    fn encode(self) -> [u8; START_BYTES] {
        let mut start = [0; START_BYTES];
        start[0..8].copy_from_slice(&MAGIC);
        start[8..12].copy_from_slice(&VERSION.to_le_bytes());
        start[12..20].copy_from_slice(&self.at.0.to_le_bytes());
        start[20..28].copy_from_slice(&self.sequence.to_le_bytes());
        let crc = crc32c::crc32c(&start[..28]);
        start[28..32].copy_from_slice(&crc.to_le_bytes());
        start
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let intact = bytes.len() == START_BYTES && bytes[..8] == MAGIC;
        let number = |at: usize, count: usize| {
            bytes[at..at + count].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        if !intact || u64::from(crc32c::crc32c(&bytes[..28])) != number(28, 4) {
            return Err("it is not intact".to_owned());
        }
        if number(8, 4) != u64::from(VERSION) {
            return Err(format!(
                "it was written by a later version of Postrider ({})",
                number(8, 4)
            ));
        }
        Ok(Self { at: Lsn(number(12, 8)), sequence: number(20, 8) })
    }
}

#[cfg(test)]
mod tests {
    use super::{LogStart, Lsn};

    const START: LogStart = LogStart { at: Lsn(0x0a0b), sequence: 5 };

    #[test]
    fn the_bytes_of_a_start_never_change_between_releases() {
        let hex: String = START.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "706f737472737461010000000b0a0000000000000500000000000000cba8c7fe");
        assert_eq!(LogStart::decode(&START.encode()), Ok(START));
    }

    #[test]
    fn no_flipped_bit_and_no_missing_byte_goes_unnoticed() {
        for bit in 0..256 {
            let mut bytes = START.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(LogStart::decode(&bytes).is_err(), "bit {bit}");
        }
        for length in 0..32 {
            assert!(LogStart::decode(&START.encode()[..length]).is_err(), "{length} bytes");
        }
    }
}
