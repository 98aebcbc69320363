//! The outbox as a snapshot: all that later frames and questions may depend on, in chunks.

mod chunk;
mod load;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use postrider_core::SendId;
use prost::Message;

use self::{
    chunk::{
        Head, NotSent, OutboxChunk, PipelineSeals, PipelinesChunk, RowSetRecord, SendColumns,
        TriggerName, Unanswered, UnsealedRows, row_state,
    },
    load::Loader,
};
use super::{Outbox, names::TriggerId, rows::RowSet, sends::StoredSend};
use crate::{
    LogReader, Lsn, Restored, SnapshotReader, SnapshotWriter, View, ViewError, Views,
    limits::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNK_SENDS},
};

impl Outbox {
    /// The snapshots of the outbox.
    pub const VIEW: View = View { name: "outbox", version: 1 };

    /// Writes a snapshot as of [`Outbox::position`]; returns its bytes. Blocks: write a clone elsewhere to go on meanwhile.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, views: &Views) -> Result<u64, ViewError> {
        views.save(Self::VIEW, self.at, Some(self.sequence), |writer| self.write(writer))
    }

    /// The outbox of the newest snapshot that can be used with the log of `reader`, or an empty one if the log still has
    /// all its frames. What follows [`Outbox::position`] is to be applied. Blocks.
    ///
    /// # Errors
    /// When no snapshot can be used and the log no longer has everything.
    pub fn restore(reader: &LogReader) -> Result<Restored<Self>, ViewError> {
        let views = reader.views();
        let restored = views.restore(Self::VIEW, reader, Self::load)?;
        if restored.found.is_none() && reader.start() > Lsn::ZERO {
            return Err(views.missing(Self::VIEW, reader.start(), &restored.passed_over));
        }
        Ok(restored)
    }

    /// The pipelines that the newest snapshot knows; none if there is no snapshot.
    ///
    /// # Errors
    /// When the snapshots can't be read.
    pub fn pipelines_in_snapshot(reader: &LogReader) -> Result<BTreeSet<String>, ViewError> {
        let restored = reader.views().restore(Self::VIEW, reader, |snapshot| {
            let mut names = BTreeSet::new();
            while let Some(PipelinesChunk { pipelines }) = snapshot.chunk()? {
                names.extend(pipelines.into_iter().map(|seals| seals.pipeline));
            }
            Ok(names)
        })?;
        Ok(restored.found.map(|(names, _)| names).unwrap_or_default())
    }

    pub(super) fn load(snapshot: &mut SnapshotReader) -> Result<Self, ViewError> {
        let mut loader = Loader::default();
        while let Some(chunk) = snapshot.chunk()? {
            loader.take(chunk).map_err(|reason| snapshot.unfit(reason))?;
        }
        loader.finish().map_err(|reason| snapshot.unfit(reason))
    }

    fn write(&self, writer: &mut SnapshotWriter) -> Result<(), ViewError> {
        let mut reasons = self.sends.reasons();
        reasons.sort_unstable();
        writer.chunk(&OutboxChunk { head: Some(self.head(&reasons)), ..OutboxChunk::default() })?;
        let mut chunks = Chunks { writer, chunk: OutboxChunk::default(), bytes: 0 };
        for (workspace, pipeline, sink) in self.names.all() {
            let (pipeline, sink) = (pipeline.clone(), sink.clone());
            let name = TriggerName { workspace: workspace.0, pipeline, sink };
            chunks.add(name, |chunk| &mut chunk.triggers)?;
        }
        self.write_unsealed(&mut chunks)?;
        for (trigger, set) in self.rows.sets() {
            chunks.add(row_set(trigger, set), |chunk| &mut chunk.rows)?;
        }
        chunks.flush()?;
        self.write_sends(&reasons, writer)?;
        self.write_unanswered(writer)?;
        self.write_remembered(writer)
    }

    fn head(&self, reasons: &[Arc<str>]) -> Head {
        let counts = &self.counts;
        let not_sent =
            |(reason, rows): (&String, &u64)| NotSent { reason: reason.clone(), rows: *rows };
        Head {
            generation: self.generation.map(|generation| generation.0),
            position: self.at.0,
            sequence: self.sequence,
            trigger_rows: counts.trigger_rows,
            undecided: counts.undecided,
            in_flight: counts.in_flight,
            retry: counts.retry,
            accepted: counts.accepted,
            rejected: counts.rejected,
            in_doubt: counts.in_doubt,
            not_sent: counts.not_sent.iter().map(not_sent).collect(),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            sends: self.sends.len() as u64,
        }
    }

    fn write_unsealed(&self, chunks: &mut Chunks<'_>) -> Result<(), ViewError> {
        let mut pipelines: Vec<_> = self.unsealed.pipelines.iter().collect();
        pipelines.sort_unstable_by_key(|(name, _)| *name);
        for ((workspace, pipeline), epochs) in pipelines {
            let (workspace, pipeline) = (workspace.0, pipeline.clone());
            let seals = PipelineSeals { workspace, pipeline, sealed: epochs.sealed };
            chunks.add(seals, |chunk| &mut chunk.pipelines)?;
            for record in epochs.waiting.values().flatten() {
                let rows = UnsealedRows { workspace, record: record.clone() };
                chunks.add(rows, |chunk| &mut chunk.unsealed)?;
            }
        }
        Ok(())
    }

    fn write_sends(
        &self,
        reasons: &[Arc<str>],
        writer: &mut SnapshotWriter,
    ) -> Result<(), ViewError> {
        let numbers: HashMap<&str, u32> = reasons.iter().map(|reason| &**reason).zip(0..).collect();
        let mut columns = Columns::default();
        for shard in self.sends.shards() {
            let mut sends: Vec<_> = shard.iter().collect();
            sends.sort_unstable_by_key(|(send, _)| send.0);
            for (send, stored) in sends {
                columns.add(*send, stored, &numbers);
                if columns.ids.len() >= 16 * SNAPSHOT_CHUNK_SENDS {
                    columns.flush(writer)?;
                }
            }
        }
        columns.flush(writer)
    }

    fn write_unanswered(&self, writer: &mut SnapshotWriter) -> Result<(), ViewError> {
        let mut open: Vec<_> = self.sends.unanswered().collect();
        open.sort_unstable_by_key(|(send, _)| send.0);
        for part in open.chunks(SNAPSHOT_CHUNK_SENDS) {
            let ids = part.iter().flat_map(|(send, _)| send.0).collect();
            let subjects = part.iter().flat_map(|(_, subject)| subject.0).collect();
            let unanswered = Some(Unanswered { ids, subjects });
            writer.chunk(&OutboxChunk { unanswered, ..OutboxChunk::default() })?;
        }
        Ok(())
    }
}

impl Outbox {
    fn write_remembered(&self, writer: &mut SnapshotWriter) -> Result<(), ViewError> {
        let mut ids: Vec<_> = self.remembered.iter().map(|send| send.0).collect();
        ids.sort_unstable();
        for part in ids.chunks(SNAPSHOT_CHUNK_SENDS) {
            let remembered = part.iter().flatten().copied().collect();
            writer.chunk(&OutboxChunk { remembered, ..OutboxChunk::default() })?;
        }
        Ok(())
    }
}

fn row_set(trigger: TriggerId, set: &RowSet) -> RowSetRecord {
    RowSetRecord {
        trigger: trigger.0,
        epoch: set.triggers.epoch.0,
        first_row: set.triggers.first_row,
        count: set.triggers.count,
        moved_at: set.triggers.moved_at,
        clock: set.triggers.clock,
        rows: set.triggers.rows.clone(),
        states: set.states.iter().map(|state| row_state(*state)).collect(),
        doubtful: set.doubtful,
        fire_series: set.triggers.fire_series,
    }
}

/// Gathers things into chunks.
struct Chunks<'a> {
    writer: &'a mut SnapshotWriter,
    chunk: OutboxChunk,
    bytes: usize,
}

impl Chunks<'_> {
    fn add<M: Message>(
        &mut self,
        message: M,
        list: impl FnOnce(&mut OutboxChunk) -> &mut Vec<M>,
    ) -> Result<(), ViewError> {
        let bytes = message.encoded_len();
        if self.bytes + bytes > SNAPSHOT_CHUNK_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        list(&mut self.chunk).push(message);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ViewError> {
        self.bytes = 0;
        self.writer.chunk(&std::mem::take(&mut self.chunk))
    }
}

/// Sends as columns.
#[derive(Default)]
struct Columns {
    ids: Vec<u8>,
    states: Vec<u8>,
    columns: SendColumns,
}

impl Columns {
    fn add(&mut self, send: SendId, stored: &StoredSend, reasons: &HashMap<&str, u32>) {
        self.ids.extend_from_slice(&send.0);
        self.columns.triggers.push(stored.row.trigger.0);
        self.columns.epochs.push(stored.row.epoch);
        self.columns.rows.push(stored.row.row);
        self.states.push(self.columns.add_state(&stored.state, reasons));
    }

    fn flush(&mut self, writer: &mut SnapshotWriter) -> Result<(), ViewError> {
        let Self { ids, states, mut columns } = std::mem::take(self);
        (columns.ids, columns.states) = (Bytes::from(ids), Bytes::from(states));
        writer.chunk(&OutboxChunk { sends: Some(columns), ..OutboxChunk::default() })
    }
}

#[cfg(test)]
mod tests;
