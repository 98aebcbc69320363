//! Snapshots as bytes.
//!
//! ```text
//!  0 magic [u8; 8]        8 version u32 (1)     12 version of the view u32
//! 16 position u64        24 sequence u64       32 CRC-32C u32 of bytes 0..32
//! 36 chunks: length u32, CRC-32C u32 of everything before, then the payload; the last one has length 0
//! ```
//!
//! All numbers are little-endian. A chunk's checksum goes on from that of the chunk before, over its payload, so that none
//! can be missing or stand elsewhere. Payloads are protobuf messages of the view. The sequence is that of the frame at the
//! position; all ones where the writer did not know it.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use bytes::{Bytes, BytesMut};

use super::{NewSnapshot, ViewError};
use crate::{
    Lsn,
    limits::{SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_WRITE_BYTES},
};

const MAGIC: [u8; 8] = *b"postrsnp";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 36;
const UNKNOWN: u64 = u64::MAX;

/// What a snapshot says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The version of its chunks.
    pub(super) version: u32,
    /// As of where it is.
    pub(super) at: Lsn,
    /// The number of the frame there, if it is known.
    pub(super) sequence: Option<u64>,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&self.version.to_le_bytes());
        header[16..24].copy_from_slice(&self.at.0.to_le_bytes());
        header[24..32].copy_from_slice(&self.sequence.unwrap_or(UNKNOWN).to_le_bytes());
        let crc = crc32c::crc32c(&header[..32]);
        header[32..36].copy_from_slice(&crc.to_le_bytes());
        header
    }

    pub(super) fn decode(header: &[u8; HEADER_BYTES]) -> Result<Self, String> {
        let number = |at: usize, bytes: usize| {
            header[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        if header[..8] != MAGIC || u64::from(crc32c::crc32c(&header[..32])) != number(32, 4) {
            return Err("its header is not intact".to_owned());
        }
        if number(8, 4) != u64::from(VERSION) {
            return Err(format!("it is a snapshot of version {}", number(8, 4)));
        }
        let sequence = Some(number(24, 8)).filter(|number| *number != UNKNOWN);
        Ok(Self { version: number(12, 4) as u32, at: Lsn(number(16, 8)), sequence })
    }
}

/// Takes the chunks of a snapshot.
pub struct SnapshotWriter {
    file: Box<dyn NewSnapshot>,
    path: PathBuf,
    crc: u32,
    buffer: Vec<u8>,
    bytes: u64,
}

impl SnapshotWriter {
    pub(super) fn new(
        file: Box<dyn NewSnapshot>,
        path: PathBuf,
        header: Header,
    ) -> Result<Self, ViewError> {
        let buffer = header.encode().to_vec();
        Ok(Self { file, path, crc: crc32c::crc32c(&buffer), buffer, bytes: 0 })
    }

    /// Adds a chunk. An empty one says nothing and is left out.
    ///
    /// # Errors
    /// When it is too large or can't be written.
    pub fn chunk(&mut self, chunk: &impl prost::Message) -> Result<(), ViewError> {
        let bytes = chunk.encoded_len();
        if bytes > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(ViewError::TooLarge { bytes, limit: SNAPSHOT_CHUNK_BYTES_MAX });
        }
        if bytes > 0 { self.append(&chunk.encode_to_vec()) } else { Ok(()) }
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), ViewError> {
        self.crc = crc32c::crc32c_append(self.crc, payload);
        // The cast loses nothing: a chunk is within the limit.
        self.buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&self.crc.to_le_bytes());
        self.buffer.extend_from_slice(payload);
        if self.buffer.len() >= SNAPSHOT_WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ViewError> {
        self.file.write_all(&self.buffer).map_err(|source| {
            let path = self.path.clone();
            ViewError::Files { operation: "write", path, source }
        })?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(Box<dyn NewSnapshot>, u64), ViewError> {
        self.append(&[])?;
        self.flush()?;
        Ok((self.file, self.bytes))
    }
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Gives the chunks of a snapshot, in order. What it gave is to be used only once it came to the end.
pub struct SnapshotReader {
    file: Box<dyn Read + Send>,
    path: PathBuf,
    crc: u32,
    ended: bool,
}

impl SnapshotReader {
    pub(super) fn open(
        mut file: Box<dyn Read + Send>,
        path: PathBuf,
    ) -> Result<(Self, Header), ViewError> {
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_exact(&mut bytes);
        let reader = Self { file, path, crc: crc32c::crc32c(&bytes), ended: false };
        read.map_err(|error| reader.failed(error))?;
        let header = Header::decode(&bytes).map_err(|reason| reader.unfit(reason))?;
        Ok((reader, header))
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When it can't be read, or is not what was written.
    pub fn chunk<M: prost::Message + Default>(&mut self) -> Result<Option<M>, ViewError> {
        let Some(payload) = self.payload()? else { return Ok(None) };
        M::decode(payload).map(Some).map_err(|error| self.unfit(error.to_string()))
    }

    /// An error that says why this snapshot can't be used.
    pub fn unfit(&self, reason: impl Into<String>) -> ViewError {
        ViewError::Unfit { path: self.path.clone(), reason: reason.into() }
    }

    /// Fails if there is another chunk, or anything behind the last one.
    pub(super) fn end(&mut self) -> Result<(), ViewError> {
        let more = !self.ended && self.payload()?.is_some();
        let behind = self.file.read(&mut [0]).map_err(|error| self.failed(error))?;
        if more || behind > 0 {
            return Err(self.unfit("it does not end where it should"));
        }
        Ok(())
    }

    fn payload(&mut self) -> Result<Option<Bytes>, ViewError> {
        if self.ended {
            return Ok(None);
        }
        let mut head = [0; 8];
        self.file.read_exact(&mut head).map_err(|error| self.failed(error))?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(self.unfit(format!("a chunk can't have {length} bytes")));
        }
        let mut payload = BytesMut::zeroed(length);
        self.file.read_exact(&mut payload).map_err(|error| self.failed(error))?;
        self.crc = crc32c::crc32c_append(self.crc, &payload);
        if self.crc != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(self.unfit("a checksum does not match"));
        }
        self.ended = length == 0;
        Ok((!self.ended).then(|| payload.freeze()))
    }

    fn failed(&self, source: io::Error) -> ViewError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.unfit("it ends too early");
        }
        ViewError::Files { operation: "read", path: self.path.clone(), source }
    }
}

impl std::fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotReader").field("path", &self.path).finish_non_exhaustive()
    }
}
