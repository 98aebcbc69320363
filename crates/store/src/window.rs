//! A buffered view of a segment file.

use std::io;

use bytes::Bytes;

use crate::{files::LogFile, limits::READ_BYTES};

/// The bytes of a file that were read last. Slices of it share its memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// The `length` bytes at `offset`, or `None` if they reach beyond `limit` or the end of the file. Reads
    /// [`READ_BYTES`] at a time, but nothing at or beyond `limit`.
    pub(crate) fn get(
        &mut self,
        file: &dyn LogFile,
        offset: u64,
        length: usize,
        limit: u64,
    ) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.buffered(offset, length) {
            return Ok(Some(bytes));
        }
        let readable = limit.saturating_sub(offset);
        if readable < length as u64 {
            return Ok(None);
        }
        let wanted = readable.min(length.max(READ_BYTES) as u64) as usize;
        let mut buffer = vec![0; wanted];
        let filled = file.read_at(&mut buffer, offset)?;
        buffer.truncate(filled);
        *self = Self { start: offset, bytes: Bytes::from(buffer) };
        Ok(self.buffered(offset, length))
    }

    fn buffered(&self, offset: u64, length: usize) -> Option<Bytes> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(length)?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}
