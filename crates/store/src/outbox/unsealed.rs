//! Trigger rows that wait for the seal of their epoch.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use postrider_core::{Epoch, WorkspaceId};

use super::SealedTriggers;
use crate::{EpochSealed, TriggersRecord};

/// Rows of epochs that the running generation has not sealed yet. There are few: those of a pipeline's open epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsealed {
    pub(super) pipelines: HashMap<(WorkspaceId, String), PipelineEpochs>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct PipelineEpochs {
    /// The newest sealed epoch. Epochs are sealed in order, so every epoch up to here is sealed.
    pub(super) sealed: Option<u64>,
    pub(super) waiting: BTreeMap<u64, Vec<TriggersRecord>>,
}

impl Unsealed {
    /// A new process writes: what the one before it left unsealed is void.
    pub(super) fn take_over(&mut self) {
        for epochs in self.pipelines.values_mut() {
            epochs.waiting.clear();
        }
    }

    /// Keeps rows until their seal.
    pub(super) fn add(&mut self, workspace: WorkspaceId, mut record: TriggersRecord) {
        // The record's bytes are a slice of the reader's buffer, which must not be held for longer than the frame.
        record.rows = Bytes::copy_from_slice(&record.rows);
        let epochs = self.pipelines.entry((workspace, record.pipeline.clone())).or_default();
        epochs.waiting.entry(record.epoch).or_default().push(record);
    }

    /// Releases the rows of an epoch, in the order of their frames.
    pub(super) fn seal(
        &mut self,
        workspace: WorkspaceId,
        seal: &EpochSealed,
    ) -> Result<Vec<SealedTriggers>, String> {
        let epochs = self.pipelines.entry((workspace, seal.pipeline.clone())).or_default();
        let replayed = epochs.sealed.is_some_and(|sealed| seal.epoch <= sealed);
        let waiting = epochs.waiting.get(&seal.epoch).map(Vec::as_slice).unwrap_or_default();
        let rows: u64 = waiting.iter().map(|record| u64::from(record.count)).sum();
        if !replayed && rows != seal.trigger_rows {
            return Err(format!(
                "the seal of epoch {} of `{}` counts {} trigger rows, the log has {rows}",
                seal.epoch, seal.pipeline, seal.trigger_rows
            ));
        }
        epochs.sealed = epochs.sealed.max(Some(seal.epoch));
        let waiting = epochs.waiting.remove(&seal.epoch).unwrap_or_default();
        let mut rows_of_sink: HashMap<String, u32> = HashMap::new();
        let release = |record: TriggersRecord| {
            let next_row = rows_of_sink.entry(record.sink.clone()).or_default();
            let first_row = *next_row;
            *next_row += record.count;
            SealedTriggers {
                workspace,
                pipeline: record.pipeline,
                sink: record.sink,
                epoch: Epoch(record.epoch),
                first_row,
                count: record.count,
                moved_at: seal.moved_at,
                clock: seal.clock,
                fire_series: record.fire_series,
                rows: record.rows,
                replayed,
            }
        };
        Ok(waiting.into_iter().map(release).collect())
    }
}
