//! How sessions are snapshotted and restored.
//!
//! A snapshot folds each session that took rows into one row of a new part: key, first and last time, partial states. The
//! rows it had in earlier parts no longer count, as those of sessions that closed, and bitmaps say so.

use std::{cmp::Reverse, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    buffer::BooleanBuffer,
    compute::concat_batches,
    datatypes::{DataType, Field, Int64Type, SchemaRef},
};
use datafusion::common::Result;

use super::{
    SessionWindows,
    parts::Part,
    table::{Session, SessionId},
};
use crate::{
    chain::new_batch,
    operator::{
        Deferred, RestoredPart, StatePart, StateSnapshot,
        aggregate::{AggregateSpec, States},
    },
};

fn own_columns() -> [Field; 2] {
    [Field::new("first", DataType::Int64, false), Field::new("last", DataType::Int64, false)]
}

impl SessionWindows {
    /// Keys, the times of the first and the last row in nanoseconds since 1970, partial states.
    pub(in crate::operator) fn state_schema(spec: &AggregateSpec) -> Result<SchemaRef> {
        spec.state_schema(&own_columns())
    }

    pub(super) fn take_snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        let touched = self.take_touched();
        let lists: Vec<_> = touched.iter().map(|&id| self.take_list(id)).collect();
        let folded = self.parts.fold_states(&lists)?;
        // Moved rows are older than folded ones, and stay before them.
        let mut owners = self.parts.owners_to_move(number);
        let moved: Vec<_> = owners.iter().map(|&id| self.take_list(id)).collect();
        owners.extend(touched);
        let mut new = None;
        if !owners.is_empty() {
            let (store, states) = self.parts.settle(number, &moved, folded, owners.clone())?;
            for (row, &id) in (0_u32..).zip(&owners) {
                self.table.session_mut(id).parts.push(Part { store, row });
            }
            new = Some(vec![self.state_rows(&owners, states)?]);
        }
        let mut parts = self.parts.list();
        if let Some(part) = parts.iter_mut().find(|part| part.id == number) {
            part.new = new.map(Deferred::done);
        }
        Ok(StateSnapshot { parts })
    }

    fn take_list(&mut self, id: SessionId) -> Vec<Part> {
        std::mem::take(&mut self.table.session_mut(id).parts)
    }

    /// The open sessions that took rows since the newest snapshot, each once.
    fn take_touched(&mut self) -> Vec<SessionId> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|&id| {
            self.table.is_open(id)
                && std::mem::replace(&mut self.table.session_mut(id).touched, false)
        });
        touched
    }

    fn state_rows(&self, owners: &[SessionId], states: States) -> Result<RecordBatch> {
        let sessions = || owners.iter().map(|&id| self.table.session(id));
        let times = |time: fn(&Session) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(sessions().map(time)))
        };
        let mut columns = self.table.decode(sessions())?;
        columns.extend([times(|session| session.start), times(|session| session.last)]);
        columns.extend(states.into_iter().flatten());
        new_batch(&Self::state_schema(&self.spec)?, columns, owners.len())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.memory()
            + self.parts.memory()
            + self.timers.len() * size_of::<(i64, SessionId)>()
    }

    pub(super) fn take_parts(&mut self, parts: Vec<RestoredPart>) -> Result<()> {
        let schema = Self::state_schema(&self.spec)?;
        let mut timers = std::mem::take(&mut self.timers).into_vec();
        for RestoredPart { id: part, batches, dead } in parts {
            let rows = concat_batches(&schema, &batches)?;
            let (keys, own, states) = self.spec.split_state(&rows, 2)?;
            let store = self.parts.next_store();
            let owners = self.open_all(&keys, &own, dead.as_ref(), store, &mut timers)?;
            self.parts.take_settled(part, states, owners, dead);
        }
        self.timers = timers.into();
        Ok(())
    }

    /// Opens the sessions of state rows. The owner of a row that no longer counts is nobody.
    fn open_all(
        &mut self,
        keys: &[ArrayRef],
        own: &[ArrayRef],
        dead: Option<&BooleanBuffer>,
        store: u64,
        timers: &mut Vec<Reverse<(i64, SessionId)>>,
    ) -> Result<Vec<SessionId>> {
        let [firsts, lasts] = own else {
            return datafusion::common::exec_err!("a state row of sessions lacks its times");
        };
        let (firsts, lasts) =
            (firsts.as_primitive::<Int64Type>(), lasts.as_primitive::<Int64Type>());
        let keys = self.table.encode(keys, firsts.len())?;
        let mut owners = vec![SessionId::NOBODY; firsts.len()];
        for (row, owner) in owners.iter_mut().enumerate() {
            if dead.is_some_and(|dead| dead.value(row)) {
                continue;
            }
            let id = self.table.open(&keys.key(row), firsts.value(row));
            let session = self.table.session_mut(id);
            session.last = lasts.value(row);
            session.parts.push(Part { store, row: row as u32 });
            timers.push(Reverse((lasts.value(row).saturating_add(self.gap), id)));
            *owner = id;
        }
        Ok(owners)
    }
}

/// What a snapshot lists of a settled store.
pub(super) fn listed(part: u64, dead: Option<BooleanBuffer>) -> StatePart {
    StatePart { id: part, new: None, dead }
}
