//! Short numbers for triggers, so that a million sends do not hold a million names.

use std::collections::HashMap;

use postrider_core::{Epoch, WorkspaceId};

use super::sends::{SendEntry, StoredSend};

/// The number of a (workspace, pipeline, sink).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TriggerId(pub(super) u32);

/// Names one sealed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowKey {
    pub(super) trigger: TriggerId,
    pub(super) epoch: u64,
    pub(super) row: u32,
}

/// All triggers that had a sealed row.
#[derive(Debug, Clone, Default)]
pub(super) struct TriggerNames {
    ids: HashMap<(WorkspaceId, String, String), TriggerId>,
    names: Vec<(WorkspaceId, String, String)>,
}

impl TriggerNames {
    pub(super) fn find(
        &self,
        workspace: WorkspaceId,
        pipeline: &str,
        sink: &str,
    ) -> Option<TriggerId> {
        self.ids.get(&(workspace, pipeline.to_owned(), sink.to_owned())).copied()
    }

    pub(super) fn intern(
        &mut self,
        workspace: WorkspaceId,
        pipeline: &str,
        sink: &str,
    ) -> TriggerId {
        let name = (workspace, pipeline.to_owned(), sink.to_owned());
        *self.ids.entry(name.clone()).or_insert_with(|| {
            // Pipelines are written by people: there are never 2^32 of them.
            let id = TriggerId(self.names.len() as u32);
            self.names.push(name);
            id
        })
    }

    /// All names, in the order of their numbers.
    pub(super) fn all(&self) -> &[(WorkspaceId, String, String)] {
        &self.names
    }

    /// The trigger of a number.
    pub(super) fn get(&self, number: u32) -> Option<TriggerId> {
        ((number as usize) < self.names.len()).then_some(TriggerId(number))
    }

    /// The workspace, pipeline and sink of a trigger.
    pub(super) fn name(&self, trigger: TriggerId) -> (WorkspaceId, &str, &str) {
        match self.names.get(trigger.0 as usize) {
            Some((workspace, pipeline, sink)) => (*workspace, pipeline, sink),
            None => (WorkspaceId::DEFAULT, "", ""),
        }
    }

    pub(super) fn entry<'a>(&'a self, send: &'a StoredSend) -> SendEntry<'a> {
        let row = send.row;
        let (workspace, pipeline, sink) = self.name(row.trigger);
        let epoch = Epoch(row.epoch);
        SendEntry { workspace, pipeline, sink, epoch, row: row.row, state: &send.state }
    }
}
