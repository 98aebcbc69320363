//! The one writer: encodes groups of frames, writes and syncs them, and publishes the durable end.

use std::{io, sync::Arc};

use tokio::sync::watch;

use crate::{
    Appended, LogError, Lsn, NewFrame,
    files::{LogFile, LogFiles},
    frame::codec::{self, InGroup, Stamp},
    limits::GROUP_BYTES_MAX,
    recovery::Recovered,
    segment::{SegmentHeader, file_offset},
    shared::Shared,
};

/// The end of the log, as its writer has it.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    announce: watch::Sender<Lsn>,
    segment_bytes: u64,
    next: Stamp,
    base: Lsn,
    file: Arc<dyn LogFile>,
    /// The end of what is durable.
    durable: Lsn,
    /// Encoded frames that follow it.
    group: Vec<u8>,
}

impl Writer {
    /// Goes on behind what was recovered, in a segment of its own.
    pub(crate) fn open(
        files: Arc<dyn LogFiles>,
        recovered: Recovered,
        next: Stamp,
        segment_bytes: u64,
    ) -> Result<Self, LogError> {
        let base = recovered.end;
        let header = SegmentHeader { base, generation: next.generation };
        let file = create_segment(&*files, header).map_err(|(operation, source)| {
            LogError::Files { operation, path: files.path(base), source }
        })?;
        let (shared, announce) = Shared::new(files, next.generation, recovered.bases, base);
        shared.add_segment(base);
        let shared = Arc::new(shared);
        let group = Vec::new();
        Ok(Self { shared, announce, segment_bytes, next, base, file, durable: base, group })
    }

    /// What is published.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Adds frames to the group.
    pub(crate) fn add(&mut self, frames: &[NewFrame]) -> Appended {
        let first = self.end();
        for frame in frames {
            let place = if self.group.is_empty() { InGroup::First } else { InGroup::Later };
            codec::encode(frame, self.next, place, &mut self.group);
            self.next.sequence += 1;
        }
        Appended { first, end: self.end() }
    }

    /// Whether the group should be committed before anything else is added.
    pub(crate) fn is_full(&self) -> bool {
        self.group.len() >= GROUP_BYTES_MAX || self.segment_is_full()
    }

    /// Makes the group durable and publishes that. After an error, which is recorded for everyone, the writer must not
    /// be used again.
    pub(crate) fn commit(&mut self) -> Result<(), LogError> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.write().map_err(|(operation, source)| {
            let path = self.shared.files.path(self.base);
            self.shared.fail(&format!("can't {operation} {}: {source}", path.display()));
            self.shared.why_ended()
        })
    }

    fn write(&mut self) -> Result<(), Failed> {
        // A new segment is begun only when there is something to put into it.
        if file_offset(self.base, self.durable) >= self.segment_bytes && self.durable > self.base {
            self.base = self.durable;
            let header = SegmentHeader { base: self.base, generation: self.next.generation };
            self.file = create_segment(&*self.shared.files, header)?;
            self.shared.add_segment(self.base);
        }
        let offset = file_offset(self.base, self.durable);
        self.file.write_all_at(&self.group, offset).map_err(|source| ("write", source))?;
        self.file.sync().map_err(|source| ("sync", source))?;
        self.durable = self.end();
        self.group.clear();
        // One huge batch must not hold its memory for ever.
        self.group.shrink_to(2 * GROUP_BYTES_MAX);
        self.shared.set_durable(self.durable, &self.announce);
        Ok(())
    }

    fn end(&self) -> Lsn {
        self.durable.advance(self.group.len() as u64)
    }

    fn segment_is_full(&self) -> bool {
        let begun = file_offset(self.base, self.durable);
        let kept = if begun >= self.segment_bytes { 0 } else { begun };
        kept + self.group.len() as u64 >= self.segment_bytes
    }
}

/// What was tried, and what the operating system said.
type Failed = (&'static str, io::Error);

/// A new segment file that survives a crash.
fn create_segment(files: &dyn LogFiles, header: SegmentHeader) -> Result<Arc<dyn LogFile>, Failed> {
    let file = files.create(header.base).map_err(|source| ("create", source))?;
    file.write_all_at(&header.encode(), 0).map_err(|source| ("write", source))?;
    file.sync().map_err(|source| ("sync", source))?;
    files.sync_names().map_err(|source| ("sync the directory of", source))?;
    Ok(file)
}
