//! The head of a log: which log it is, and where it begins after its beginning was deleted. A small file, durable before the first
//! frame is written, and again before the first segment goes.
//!
//! ```text
//!  0 magic [u8; 8]   8 version u32 (1)   12 position u64   20 sequence u64   28 CRC-32C u32 of bytes 0..28
//!  0 magic [u8; 8]   8 version u32 (2)   12 position u64   20 sequence u64   28 identity u128   44 CRC-32C u32 of bytes 0..44
//! ```
//!
//! All numbers are little-endian. Segments that begin before the position were to be deleted: those that are still there
//! are left over from a crash. The segment at the position was durable when the file was written, and its first
//! frame has that sequence: a log without it has lost something. A log without this file begins at 0. A log without an identity is
//! an older one: its file is of version 1, if it has one.

use crate::{LogError, LogIdentity, Lsn, files::LogFiles};

const MAGIC: [u8; 8] = *b"postrsta";
/// The size of the checksum, the last field.
const CRC_BYTES: usize = 4;

/// The first frame that a log has to have, and which log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogStart {
    /// Where it is.
    pub(crate) at: Lsn,
    /// Its number.
    pub(crate) sequence: u64,
    /// The log, if it has an identity.
    pub(crate) identity: Option<LogIdentity>,
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

    fn encode(self) -> Vec<u8> {
        let version: u32 = if self.identity.is_some() { 2 } else { 1 };
        let mut start = MAGIC.to_vec();
        start.extend(version.to_le_bytes());
        start.extend(self.at.0.to_le_bytes());
        start.extend(self.sequence.to_le_bytes());
        start.extend(self.identity.iter().flat_map(|identity| identity.0.to_le_bytes()));
        let crc = crc32c::crc32c(&start);
        start.extend(crc.to_le_bytes());
        start
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || "it is not intact".to_owned();
        let (fields, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(damaged)?;
        if crc32c::crc32c(fields) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        let fields = fields.strip_prefix(&MAGIC).ok_or_else(damaged)?;
        let (version, fields) = fields.split_first_chunk().ok_or_else(damaged)?;
        let version = u32::from_le_bytes(*version);
        if version > 2 {
            return Err(format!("it was written by a later version of Postrider ({version})"));
        }
        let (at, fields) = fields.split_first_chunk().ok_or_else(damaged)?;
        let (sequence, rest) = fields.split_first_chunk().ok_or_else(damaged)?;
        let identity = match version {
            2 => Some(LogIdentity(u128::from_le_bytes(rest.try_into().map_err(|_| damaged())?))),
            _ if rest.is_empty() => None,
            _ => return Err(damaged()),
        };
        Ok(Self {
            at: Lsn(u64::from_le_bytes(*at)),
            sequence: u64::from_le_bytes(*sequence),
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{LogIdentity, LogStart, Lsn};

    const OLD: LogStart = LogStart { at: Lsn(0x0a0b), sequence: 5, identity: None };
    const START: LogStart = LogStart { identity: Some(LogIdentity(0x1_0000_0c0d)), ..OLD };

    #[test]
    fn the_bytes_of_a_start_never_change_between_releases() {
        let hex = |start: LogStart| -> String {
            start.encode().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(OLD), "706f737472737461010000000b0a0000000000000500000000000000cba8c7fe");
        assert_eq!(
            hex(START),
            "706f737472737461020000000b0a00000000000005000000000000000d0c00000100000000000000000000005cb4b0df"
        );
        for start in [OLD, START] {
            assert_eq!(LogStart::decode(&start.encode()), Ok(start));
        }
    }

    #[test]
    fn no_flipped_bit_and_no_missing_byte_goes_unnoticed() {
        for start in [OLD, START] {
            let whole = start.encode();
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(LogStart::decode(&bytes).is_err(), "bit {bit}");
            }
            for length in 0..whole.len() {
                assert!(LogStart::decode(&whole[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = START.encode();
        bytes[8] = 3;
        let fields = bytes.len() - super::CRC_BYTES;
        let crc = crc32c::crc32c(&bytes[..fields]);
        bytes[fields..].copy_from_slice(&crc.to_le_bytes());
        let reason = LogStart::decode(&bytes).unwrap_err();
        assert_eq!(reason, "it was written by a later version of Postrider (3)");
    }
}
