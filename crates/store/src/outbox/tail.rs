//! Reading the outbox of a log: the newest snapshot, and what follows it.

use super::{Outbox, SealedTriggers};
use crate::{Frame, FrameKind, LogReader, ViewError};

/// Reads a log, and folds its outbox along the way.
#[derive(Debug)]
pub struct OutboxReader {
    outbox: Outbox,
    reader: LogReader,
    passed_over: Vec<String>,
}

impl Outbox {
    /// The kinds of frames whose payloads the outbox needs.
    pub const KINDS: [FrameKind; 6] = [
        FrameKind::Triggers,
        FrameKind::EpochSealed,
        FrameKind::Intent,
        FrameKind::SendResult,
        FrameKind::Decision,
        FrameKind::Remembered,
    ];

    /// The outbox of a log, as far as it goes now. The log may be one that another process writes. Blocks.
    ///
    /// # Errors
    /// When the log can't be read, or does not hold the outbox any more.
    pub fn read(log: &LogReader) -> Result<Self, ViewError> {
        let mut reader = OutboxReader::tail(log)?;
        while reader.next_frame()?.is_some() {}
        Ok(reader.into_outbox())
    }
}

impl OutboxReader {
    /// Begins with the newest snapshot, and reads only what follows it, without payloads that the outbox has no use for.
    ///
    /// # Errors
    /// When the log does not hold the outbox any more.
    pub fn tail(log: &LogReader) -> Result<Self, ViewError> {
        let restored = Outbox::restore(log)?;
        let outbox = restored.found.map(|(outbox, _)| outbox).unwrap_or_default();
        let reader = log.beginning_at(outbox.position().max(log.start()));
        let reader = reader.skip_payloads_except(&Outbox::KINDS);
        Ok(Self { outbox, reader, passed_over: restored.passed_over })
    }

    /// Reads everything that the log still has, of all kinds. Frames that the snapshot knows are given, and not applied again.
    ///
    /// # Errors
    /// When the log does not hold the outbox any more.
    pub fn whole(log: &LogReader) -> Result<Self, ViewError> {
        let tail = Self::tail(log)?;
        Ok(Self { reader: log.beginning_at(log.start()), ..tail })
    }

    /// The next frame, and the rows that it released; `None` at the end.
    ///
    /// # Errors
    /// When the log can't be read, or a frame contradicts earlier ones.
    pub fn next_frame(&mut self) -> Result<Option<(Frame, Vec<SealedTriggers>)>, ViewError> {
        let Some(frame) = self.reader.next_frame()? else { return Ok(None) };
        let is_new = frame.lsn >= self.outbox.position();
        let released = if is_new { self.outbox.apply(&frame)? } else { Vec::new() };
        Ok(Some((frame, released)))
    }

    /// The outbox so far.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Snapshots that can't be used, and why.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The outbox alone.
    pub fn into_outbox(self) -> Outbox {
        self.outbox
    }

    /// The outbox and the reader, which goes on where it is.
    pub fn into_parts(self) -> (Outbox, LogReader) {
        (self.outbox, self.reader)
    }
}
