//! How sessions are snapshotted and restored.
//!
//! A snapshot folds each session that took rows into one row of a new part: key, first and last time, partial states. The
//! rows it had in earlier parts no longer count, as those of sessions that closed, and bitmaps say so. It only notes which rows
//! are folded and which move: computing them is left to the task that writes the checkpoint, or to who reads them before.

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
    table::{SessionId, decode},
};
use crate::{
    chain::new_batch,
    operator::{
        RestoredPart, StateSnapshot,
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
        self.parts.finish_newest()?;
        self.parts.follow_move(&mut self.table, usize::MAX);
        // Moved rows are older than folded ones, and stay before them.
        let moved = self.parts.next_store();
        let folded = moved + 1;
        let touched = self.take_touched();
        let lists: Vec<_> = (0..)
            .zip(&touched)
            .map(|(row, &id)| {
                let parts = &mut self.table.session_mut(id).parts;
                std::mem::replace(parts, vec![Part { store: folded, row }])
            })
            .collect();
        let plan = self.parts.plan(lists);
        self.parts.end_move();
        self.parts.forget_parts();
        self.parts.begin_move(number, moved);
        // Some accumulators have no state of nothing.
        if !touched.is_empty() {
            let rows = self.state_rows(&touched)?;
            self.parts.add_folded(folded, number, plan, touched, rows);
        }
        Ok(StateSnapshot { parts: self.parts.list(number) })
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

    /// Notes what sessions are now; makes rows of it and of their partial states.
    fn state_rows(
        &self,
        sessions: &[SessionId],
    ) -> Result<impl FnOnce(States) -> Result<RecordBatch> + Send + 'static> {
        let schema = Self::state_schema(&self.spec)?;
        let sessions = sessions.iter().map(|&id| self.table.session(id));
        let heads: Vec<_> = sessions.map(|s| (Arc::clone(s.key()), s.start, s.last)).collect();
        let converter = self.table.converter();
        Ok(move |states: States| {
            let rows = heads.len();
            let mut columns = decode(&converter, heads.iter().map(|(key, ..)| key.as_ref()))?;
            let firsts = heads.iter().map(|(_, first, _)| *first);
            columns.push(Arc::new(Int64Array::from_iter_values(firsts)));
            let lasts = heads.iter().map(|(.., last)| *last);
            columns.push(Arc::new(Int64Array::from_iter_values(lasts)));
            columns.extend(states.into_iter().flatten());
            new_batch(&schema, columns, rows)
        })
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
            let (keys, own, _) = self.spec.split_state(&rows, 2)?;
            let store = self.parts.next_store();
            let owners = self.open_all(&keys, &own, dead.as_ref(), store, &mut timers)?;
            self.parts.take_settled(part, rows, owners, dead)?;
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
