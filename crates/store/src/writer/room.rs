//! Room on the disk that is taken ahead of the writes.

use std::io;

use crate::{files::LogFile, limits::RESERVE_BYTES};

/// How far a file has room that is taken. Without it a file system that places bytes late could accept a write and find its
/// disk full only at the fsync, after which nothing is known.
#[derive(Debug, Default)]
pub(super) struct Room {
    until: u64,
}

impl Room {
    /// Sees that there is room for these bytes, and takes some more if there is plenty.
    pub(super) fn take(&mut self, file: &dyn LogFile, offset: u64, bytes: u64) -> io::Result<()> {
        let end = offset + bytes;
        if end <= self.until {
            return Ok(());
        }
        let ahead = bytes + RESERVE_BYTES;
        if file.reserve(offset, ahead).is_ok() {
            self.until = offset + ahead;
            return Ok(());
        }
        file.reserve(offset, bytes)?;
        self.until = end;
        Ok(())
    }

    /// Gives back what is behind the end of the content.
    pub(super) fn give_back(&mut self, file: &dyn LogFile, end: u64) {
        if self.until > end {
            // Room that stays taken is lost to others until the next start, and harms nothing.
            file.truncate(end).ok();
            self.until = 0;
        }
    }
}
