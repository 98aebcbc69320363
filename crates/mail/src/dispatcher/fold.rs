//! Following the log: frames in, released rows out.

use std::sync::Arc;

use postrider_store::{
    EpochSealed, Frame, FrameKind, IntentRecord, Log, LogReader, SealedTriggers,
};

use super::{Dispatcher, backlog::Release};
use crate::{
    EmailSink, MailError,
    limits::{BACKLOG_ROWS, FOLD_FRAMES},
};

/// Reads a log from its start, without the payloads that the outbox has no use for: events are most of a log.
pub(super) fn outbox_reader(log: &Log) -> LogReader {
    log.reader(log.start()).skip_payloads_except(&[
        FrameKind::Triggers,
        FrameKind::EpochSealed,
        FrameKind::Intent,
        FrameKind::SendResult,
        FrameKind::Decision,
        FrameKind::Remembered,
    ])
}

impl Dispatcher {
    /// Folds new frames, as many as the backlog has room for. Returns whether there were any.
    pub(super) fn fold(&mut self) -> Result<bool, MailError> {
        let mut any = false;
        for _ in 0..FOLD_FRAMES {
            if self.backlog.len() >= BACKLOG_ROWS {
                break;
            }
            let Some(frame) = self.reader.next_frame()? else { break };
            any = true;
            self.fold_frame(&frame)?;
        }
        Ok(any)
    }

    fn fold_frame(&mut self, frame: &Frame) -> Result<(), MailError> {
        let released = self.outbox.apply(frame)?;
        if frame.kind == FrameKind::Intent {
            self.claimed.remove(&IntentRecord::decode(&frame.payload)?.send());
        }
        if released.is_empty() {
            return Ok(());
        }
        let clock = EpochSealed::decode(&frame.payload)?.clock;
        let read_at = self.options.wall.now().0;
        for triggers in released.iter().filter(|triggers| !triggers.replayed) {
            if let Some(sink) = self.sink_of(triggers) {
                self.backlog.push_all(Release::decode(triggers, sink, clock, read_at)?);
            }
        }
        Ok(())
    }

    /// The sink of these rows; `None`, with one warning, if it is another process's.
    pub(super) fn sink_of(&mut self, triggers: &SealedTriggers) -> Option<Arc<EmailSink>> {
        let name = format!("{}.{}", triggers.pipeline, triggers.sink);
        if let Some(sink) = self.options.sinks.get(&name) {
            return Some(Arc::clone(sink));
        }
        if self.foreign.insert(name.clone()) {
            tracing::warn!(
                trigger = name,
                "there are trigger rows for an email sink that does not run here; they stay pending"
            );
        }
        None
    }
}
