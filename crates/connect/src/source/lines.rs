//! One file of records, a line each, cut into chunks.
//!
//! A chunk starts where the one before ended and takes the whole lines within the next
//! [`CHUNK_BYTES`] bytes, so its borders follow from its start and the file alone. A record longer
//! than [`RECORD_BYTES_MAX`] is a chunk of its own that holds its first bytes only: enough for the
//! decoder to see that it is too long, whatever its length.
//!
//! Reads block. From the page cache a chunk takes about a tenth of a millisecond, which is less
//! than a trip through a pool of blocking threads costs when the machine is busy.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postrider_core::{Chunk, ChunkData, ErrorKind, Position, SourceError};

use crate::{
    failure::read_failed,
    format::files::PartFile,
    limits::{CHUNK_BYTES, RECORD_BYTES_MAX},
};

/// How much is read at once while looking for the end of a long record.
const SEARCH_BYTES: u64 = 64 << 10;

/// A file that is read by ranges.
#[derive(Debug)]
pub(crate) struct LineFile {
    file: File,
    path: PathBuf,
    part: String,
}

impl LineFile {
    pub(crate) fn open(path: &Path, part: &str) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|error| read_failed("open", path, &error))?;
        Ok(Self { file, path: path.to_owned(), part: part.to_owned() })
    }
}

impl PartFile for LineFile {
    fn record_start(&mut self, offset: u64) -> Result<u64, SourceError> {
        let len = self.wrap("read", |file| file.metadata().map(|metadata| metadata.len()))?;
        if offset > len {
            return Err(SourceError {
                kind: ErrorKind::Data,
                message: format!(
                    "{} has {len} bytes, but {offset} bytes of it were read before; put the old file back, or start with a new state directory",
                    self.path.display()
                ),
            });
        }
        match offset {
            0 => Ok(0),
            _ => self.find_line_end(offset - 1, len),
        }
    }

    fn chunk(&mut self, from: u64, until: Option<u64>) -> Result<Option<Chunk>, SourceError> {
        let room = until.map_or(u64::MAX, |until| until.saturating_sub(from));
        let wanted = room.min(CHUNK_BYTES as u64);
        let mut bytes = self.read(from, wanted)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let read = bytes.len() as u64;
        let mut end = from + read;
        if read == wanted && wanted < room {
            match memchr::memrchr(b'\n', &bytes) {
                Some(last) => {
                    bytes.truncate(last + 1);
                    end = from + last as u64 + 1;
                }
                None => {
                    end = self.find_line_end(end, until.unwrap_or(u64::MAX))?;
                    let shown = (end - from).min(RECORD_BYTES_MAX as u64 + 1);
                    bytes = self.read(from, shown)?;
                }
            }
        }
        Ok(Some(Chunk {
            start: Position { part: self.part.clone(), offset: from },
            end: Position { part: self.part.clone(), offset: end },
            data: ChunkData::Lines(Bytes::from(bytes)),
        }))
    }
}

impl LineFile {
    /// The place behind the first line break at or behind `from`, at most `limit` or the file's end.
    fn find_line_end(&mut self, mut from: u64, limit: u64) -> Result<u64, SourceError> {
        loop {
            let bytes = self.read(from, SEARCH_BYTES.min(limit.saturating_sub(from)))?;
            match memchr::memchr(b'\n', &bytes) {
                Some(at) => return Ok(from + at as u64 + 1),
                None if bytes.is_empty() => return Ok(from),
                None => from += bytes.len() as u64,
            }
        }
    }

    fn read(&mut self, from: u64, len: u64) -> Result<Vec<u8>, SourceError> {
        self.wrap("read", |file| {
            let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(CHUNK_BYTES));
            file.seek(SeekFrom::Start(from))?;
            file.take(len).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    fn wrap<T>(
        &mut self,
        action: &str,
        work: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> Result<T, SourceError> {
        work(&mut self.file).map_err(|error| read_failed(action, &self.path, &error))
    }
}
