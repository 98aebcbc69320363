//! The outbox: what became of every sealed trigger row, as a pure fold over the log.
//!
//! Nouns: *sealed row* (a trigger row whose epoch is sealed; only these exist for the email half),
//! *undecided* (no intent and no decision names it yet), *send* (the life of a row that was tried; its id
//! is the same for every row with the same dedupe key), *open intent* (an intent without a result).
//!
//! Invariants:
//! - Rows of an epoch are released once, by its first seal, in the order of their frames.
//! - Each sealed row is in exactly one state, so that `trigger rows = accepted + rejected + not sent +
//!   pending + in doubt` always holds.
//! - A new generation makes every open intent in doubt: the process that would have known is gone. It also ends every
//!   epoch that was not sealed: its trigger rows never come to light.
//! - An accepted or rejected send never gets another intent.
//! - The bytes of a row are kept until nothing will be done with it any more, so that a restart need not look for them. Of
//!   rows that are in doubt, which may be for good, only the newest are.
//! - A frame that contradicts the frames before it is refused and changes nothing.

mod counts;
mod names;
mod rows;
mod sends;
mod snapshot;
mod tail;
mod unsealed;

use std::collections::HashSet;

use postrider_core::{Generation, SendId, SubjectId, WorkspaceId};

pub use counts::Counts;
pub use rows::{PendingRows, SealedTriggers};
pub use sends::{SendEntry, SendState};
pub use tail::OutboxReader;

use self::{
    names::{RowKey, TriggerNames},
    rows::{OpenRows, RowState},
    sends::Sends,
    unsealed::Unsealed,
};
use crate::{
    DecisionRecord, EpochSealed, Frame, FrameKind, IntentRecord, Lsn, RecordError,
    RememberedRecord, ResultRecord, RowRef, TriggersRecord,
};

/// The state of all sealed trigger rows and sends, at one position of the log.
///
/// A clone is made in the time of what is undecided and unsealed, and shares the rest until one of the two changes: it can
/// be written down while the original goes on.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// Behind the last frame.
    at: Lsn,
    /// The number of the next frame.
    sequence: u64,
    generation: Option<Generation>,
    names: TriggerNames,
    unsealed: Unsealed,
    rows: OpenRows,
    sends: Sends,
    /// Sends of which no more is known than that they were begun.
    remembered: HashSet<SendId>,
    counts: Counts,
}

/// Such a send may have been delivered, whatever the attempt was.
static MAY_HAVE_ARRIVED: SendState = SendState::InDoubt { attempt: 0 };

impl Outbox {
    /// Takes the next frame of the log. Returns the rows that it released, which are none unless it is a
    /// seal. Frames of other kinds than the outbox's are skipped.
    ///
    /// # Errors
    /// When the frame can't be read or contradicts earlier ones; the outbox is as before.
    pub fn apply(&mut self, frame: &Frame) -> Result<Vec<SealedTriggers>, RecordError> {
        if self.generation < Some(frame.generation) {
            self.generation = Some(frame.generation);
            self.unsealed.take_over();
            for row in self.sends.take_over(&mut self.counts) {
                self.rows.follow(row, RowState::Doubtful);
            }
        }
        let changed = match frame.kind {
            FrameKind::Opened | FrameKind::Event | FrameKind::Pipeline => Ok(Vec::new()),
            FrameKind::Triggers => self.triggers(frame),
            FrameKind::EpochSealed => self.seal(frame),
            FrameKind::Intent => self.intent(frame).map(|()| Vec::new()),
            FrameKind::SendResult => self.result(frame).map(|()| Vec::new()),
            FrameKind::Decision => self.decision(frame).map(|()| Vec::new()),
            FrameKind::Remembered => self.remember(frame).map(|()| Vec::new()),
        };
        let released = changed.map_err(|error| error.at(frame.lsn))?;
        (self.at, self.sequence) = (frame.end, frame.sequence + 1);
        Ok(released)
    }

    /// The place of the first frame that it does not know yet.
    pub const fn position(&self) -> Lsn {
        self.at
    }

    /// What became of a send; `None` if nothing was decided about it yet. One that was begun in a part of the log that was given
    /// up is in doubt for ever.
    pub fn state(&self, send: SendId) -> Option<&SendState> {
        match self.sends.get(send).map(|stored| &stored.state) {
            None | Some(SendState::NotSent { .. }) if self.remembered.contains(&send) => {
                Some(&MAY_HAVE_ARRIVED)
            }
            state => state,
        }
    }

    /// One send, with the trigger row that it belongs to.
    pub fn send(&self, send: SendId) -> Option<SendEntry<'_>> {
        self.sends.get(send).map(|stored| self.names.entry(stored))
    }

    /// All sends, in no order.
    pub fn sends(&self) -> impl Iterator<Item = (SendId, SendEntry<'_>)> {
        self.sends.iter().map(|(send, stored)| (send, self.names.entry(stored)))
    }

    /// Sealed rows that are undecided, each sink's in the order of their epochs: what is to be done after a restart.
    pub fn pending(&self) -> impl Iterator<Item = PendingRows<'_>> {
        self.rows.pending()
    }

    /// The rows that a send's row was sealed with, as long as another attempt may follow.
    pub fn rows_of(&self, send: SendId) -> Option<&SealedTriggers> {
        self.rows.find(self.sends.get(send)?.row)
    }

    /// Intents that no result was written for, by whichever process, and whom they are about; in no order.
    pub fn unanswered(&self) -> impl Iterator<Item = (SendId, SubjectId, SendEntry<'_>)> {
        self.sends
            .unanswered()
            .filter_map(|(send, subject)| Some((send, subject, self.send(send)?)))
    }

    /// Every pipeline that the log has a seal or trigger rows of, in no order.
    pub fn pipelines(&self) -> impl Iterator<Item = (WorkspaceId, &str)> {
        self.unsealed.pipelines.keys().map(|(workspace, pipeline)| (*workspace, pipeline.as_str()))
    }

    /// How many rows are in which state.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    fn triggers(&mut self, frame: &Frame) -> Result<Vec<SealedTriggers>, RecordError> {
        let record = TriggersRecord::decode(&frame.payload)?;
        self.unsealed.add(frame.workspace, record);
        Ok(Vec::new())
    }

    fn seal(&mut self, frame: &Frame) -> Result<Vec<SealedTriggers>, RecordError> {
        let seal = EpochSealed::decode(&frame.payload)?;
        let released = self
            .unsealed
            .seal(frame.workspace, &seal)
            .map_err(|reason| RecordError::new("EpochSealed", reason))?;
        for triggers in released.iter().filter(|triggers| !triggers.replayed) {
            let trigger = self.names.intern(frame.workspace, &triggers.pipeline, &triggers.sink);
            self.counts.seal(triggers.count);
            self.rows.add(trigger, triggers);
        }
        Ok(released)
    }

    fn intent(&mut self, frame: &Frame) -> Result<(), RecordError> {
        let record = IntentRecord::decode(&frame.payload)?;
        let row = self.key(frame.workspace, &record.row);
        let (send, attempt) = (record.send(), record.attempt);
        let state = SendState::Intended { attempt, generation: frame.generation };
        row.and_then(|row| match self.sends.get(send) {
            Some(stored) if stored.row == row => {
                stored.may_be_tried(attempt)?;
                self.sends.change(send, state, &mut self.counts)?;
                self.rows.follow(row, RowState::Open);
                self.sends.ask(send, frame.subject);
                Ok(())
            }
            Some(stored) if !matches!(stored.state, SendState::NotSent { .. }) => {
                Err(format!("send {send} belongs to another trigger row"))
            }
            _ => {
                self.rows.decide(row, RowState::Open)?;
                self.counts.decide(&state);
                self.sends.insert(send, row, state);
                self.sends.ask(send, frame.subject);
                Ok(())
            }
        })
        .map_err(|reason| RecordError::new("IntentRecord", reason))
    }

    fn decision(&mut self, frame: &Frame) -> Result<(), RecordError> {
        let record = DecisionRecord::decode(&frame.payload)?;
        let row = self.key(frame.workspace, &record.row);
        let send = record.send();
        let state = SendState::NotSent { reason: self.sends.reason(&record.reason) };
        row.and_then(|row| match self.sends.get(send) {
            Some(stored) if stored.row == row => {
                stored.may_be_dropped()?;
                self.sends.change(send, state, &mut self.counts)?;
                self.rows.follow(row, RowState::Done);
                Ok(())
            }
            stored => {
                let first = stored.is_none();
                self.rows.decide(row, RowState::Done)?;
                self.counts.decide(&state);
                // A row whose key repeats that of another does not change what became of the other.
                if first {
                    self.sends.insert(send, row, state);
                }
                Ok(())
            }
        })
        .map_err(|reason| RecordError::new("DecisionRecord", reason))
    }

    fn remember(&mut self, frame: &Frame) -> Result<(), RecordError> {
        self.remembered.insert(RememberedRecord::decode(&frame.payload)?.send());
        Ok(())
    }

    fn result(&mut self, frame: &Frame) -> Result<(), RecordError> {
        let record = ResultRecord::decode(&frame.payload)?;
        self.sends
            .result(&record, &mut self.counts)
            .map_err(|reason| RecordError::new("ResultRecord", reason))?;
        if let Some(stored) = self.sends.get(record.send()) {
            self.rows.follow(stored.row, stored.row_state());
        }
        Ok(())
    }

    /// The row that a record names; an error if no row of its sink was ever sealed.
    fn key(&self, workspace: WorkspaceId, row: &RowRef) -> Result<RowKey, String> {
        let trigger = self.names.find(workspace, &row.pipeline, &row.sink).ok_or_else(|| {
            format!("no trigger row of `{}.{}` is sealed yet", row.pipeline, row.sink)
        })?;
        Ok(RowKey { trigger, epoch: row.epoch, row: row.row })
    }
}

#[cfg(test)]
mod tests;
