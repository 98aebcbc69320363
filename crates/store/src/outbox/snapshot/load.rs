//! The outbox from the chunks of a snapshot.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::{Epoch, Generation, SendId, SubjectId, WorkspaceId};

use super::super::{
    Counts, Outbox, SealedTriggers, SendState,
    names::{RowKey, TriggerId},
    rows::RowSet,
};
use super::chunk::{
    Head, OutboxChunk, PipelineSeals, RowSetRecord, SendColumns, TriggerName, Unanswered,
    UnsealedRows, row_state_of,
};
use crate::Lsn;

/// Takes chunks in their order. An error says why they are not the outbox's.
#[derive(Default)]
pub(super) struct Loader {
    outbox: Outbox,
    reasons: Vec<Arc<str>>,
    sends: u64,
}

impl Loader {
    pub(super) fn take(&mut self, chunk: OutboxChunk) -> Result<(), String> {
        if let Some(head) = chunk.head {
            self.head(head);
        }
        for TriggerName { workspace, pipeline, sink } in chunk.triggers {
            self.outbox.names.intern(WorkspaceId(workspace), &pipeline, &sink);
        }
        for PipelineSeals { workspace, pipeline, sealed } in chunk.pipelines {
            let name = (WorkspaceId(workspace), pipeline);
            self.outbox.unsealed.pipelines.entry(name).or_default().sealed = sealed;
        }
        for UnsealedRows { workspace, record } in chunk.unsealed {
            self.outbox.unsealed.add(WorkspaceId(workspace), record);
        }
        for record in chunk.rows {
            self.rows(&record)?;
        }
        if let Some(columns) = &chunk.sends {
            self.sends(columns).ok_or("its columns of sends do not fit together")?;
        }
        if let Some(unanswered) = &chunk.unanswered {
            self.unanswered(unanswered);
        }
        let (remembered, _) = chunk.remembered.as_chunks::<16>();
        self.outbox.remembered.extend(remembered.iter().map(|id| SendId(*id)));
        Ok(())
    }

    /// What was taken, if it is all there.
    pub(super) fn finish(self) -> Result<Outbox, String> {
        let outbox = self.outbox;
        let found = outbox.sends.len() as u64;
        if found != self.sends {
            return Err(format!("it has {found} of {} sends", self.sends));
        }
        let undecided: u64 = outbox.rows.sets().map(|(_, set)| u64::from(set.undecided())).sum();
        if !outbox.counts.conserved() || undecided != outbox.counts.undecided {
            return Err("its counts contradict its rows".to_owned());
        }
        Ok(outbox)
    }

    fn head(&mut self, head: Head) {
        self.outbox.at = Lsn(head.position);
        self.outbox.sequence = head.sequence;
        self.outbox.generation = head.generation.map(Generation);
        self.outbox.counts = Counts {
            trigger_rows: head.trigger_rows,
            undecided: head.undecided,
            in_flight: head.in_flight,
            retry: head.retry,
            accepted: head.accepted,
            rejected: head.rejected,
            in_doubt: head.in_doubt,
            not_sent: head.not_sent.into_iter().map(|it| (it.reason, it.rows)).collect(),
        };
        let kept = head.reasons.iter().map(|reason| self.outbox.sends.reason(reason));
        self.reasons = kept.collect();
        self.sends = head.sends;
    }

    fn trigger(&self, number: u32) -> Result<TriggerId, String> {
        let trigger = self.outbox.names.get(number);
        trigger.ok_or_else(|| format!("it does not say which trigger has number {number}"))
    }

    fn rows(&mut self, record: &RowSetRecord) -> Result<(), String> {
        let trigger = self.trigger(record.trigger)?;
        let states = record.states.iter().map(|number| row_state_of(*number));
        let states: Option<Vec<_>> = states.collect();
        let states = states.filter(|states| states.len() == record.count as usize);
        let states = states.ok_or("the states of trigger rows are not known here")?;
        let (workspace, pipeline, sink) = self.outbox.names.name(trigger);
        let triggers = SealedTriggers {
            workspace,
            pipeline: pipeline.to_owned(),
            sink: sink.to_owned(),
            epoch: Epoch(record.epoch),
            first_row: record.first_row,
            count: record.count,
            moved_at: record.moved_at,
            clock: record.clock,
            fire_series: record.fire_series,
            // They must not hold the whole chunk.
            rows: Bytes::copy_from_slice(&record.rows),
            replayed: false,
        };
        self.outbox.rows.restore(trigger, RowSet::new(triggers, states, record.doubtful));
        Ok(())
    }

    /// `None` if the columns are not of the same sends.
    fn sends(&mut self, columns: &SendColumns) -> Option<()> {
        let count = columns.states.len();
        let (ids, rest) = columns.ids.as_chunks::<16>();
        let lengths = [ids.len(), columns.triggers.len(), columns.epochs.len(), columns.rows.len()];
        if !rest.is_empty() || lengths.iter().any(|length| *length != count) {
            return None;
        }
        let mut attempts = columns.attempts.iter().copied();
        let mut generations = columns.generations.iter().copied();
        let mut reasons = columns.reasons.iter();
        let keys = columns.triggers.iter().zip(&columns.epochs).zip(&columns.rows);
        for ((id, state), ((trigger, epoch), row)) in ids.iter().zip(&columns.states).zip(keys) {
            let state = match state {
                1 => SendState::Intended {
                    attempt: attempts.next()?,
                    generation: Generation(generations.next()?),
                },
                2 => SendState::Accepted,
                3 => SendState::Rejected,
                4 => SendState::Retry { attempt: attempts.next()? },
                5 => SendState::InDoubt { attempt: attempts.next()? },
                6 => SendState::NotSent {
                    reason: Arc::clone(self.reasons.get(*reasons.next()? as usize)?),
                },
                _ => return None,
            };
            let trigger = self.outbox.names.get(*trigger)?;
            let row = RowKey { trigger, epoch: *epoch, row: *row };
            self.outbox.sends.insert(SendId(*id), row, state);
        }
        Some(())
    }

    fn unanswered(&mut self, unanswered: &Unanswered) {
        let (ids, _) = unanswered.ids.as_chunks::<16>();
        let (subjects, _) = unanswered.subjects.as_chunks::<16>();
        for (id, subject) in ids.iter().zip(subjects) {
            self.outbox.sends.ask(SendId(*id), SubjectId(*subject));
        }
    }
}
