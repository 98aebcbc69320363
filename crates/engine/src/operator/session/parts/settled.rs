//! Stores that are parts of snapshots.
//!
//! Snapshot `n` makes one part: rows that it moves, then rows that it folds, each in a store of its own. Every fourth moves the
//! live rows of the last four parts, every sixteenth those of the last sixteen, and so on; and when most rows of all parts are
//! dead, all live ones move. So there are few parts however long sessions last, and the dead take no more room than the living.

use std::sync::Arc;

use arrow::{
    array::{BooleanBufferBuilder, RecordBatch},
    buffer::BooleanBuffer,
};
use datafusion::common::{Result, exec_datafusion_err};

use super::{Content, PartStore, Plan, Settled, Store};
use crate::operator::{
    Deferred, StatePart,
    aggregate::{AggregateSpec, States},
    session::table::SessionId,
    state::column_bytes,
};

impl PartStore {
    /// Does what the snapshot before left to do, so that there is never more of it than one snapshot leaves. Mostly nothing:
    /// another snapshot is taken once the one before is written. Only a replay comes sooner.
    pub(in crate::operator::session) fn finish_newest(&self) -> Result<()> {
        self.stores.values().try_for_each(|store| store.content.get().map(|_| ()))
    }

    /// Makes store `store` of what snapshot `number` folds; `whole` makes state rows of its states.
    pub(in crate::operator::session) fn add_folded(
        &mut self,
        store: u64,
        number: u64,
        plan: Plan,
        owners: Vec<SessionId>,
        whole: impl FnOnce(States) -> Result<RecordBatch> + Send + 'static,
    ) {
        let (spec, rows) = (self.spec.clone(), owners.len());
        let content =
            Deferred::new(move || Content::whole(&spec, whole(plan.states()?)?, owners.into()));
        self.add_settled(store, number, Arc::new(content), rows, None);
    }

    pub(super) fn add_settled(
        &mut self,
        store: u64,
        part: u64,
        content: Arc<Deferred<Content>>,
        rows: usize,
        dead: Option<BooleanBuffer>,
    ) {
        let mut bits = BooleanBufferBuilder::new(rows);
        match &dead {
            Some(dead) => bits.append_buffer(dead),
            None => bits.append_n(rows, false),
        }
        let live = rows - dead.map_or(0, |dead| dead.count_set_bits());
        let settled = Some(Settled { part, dead: bits });
        self.stores.insert(store, Store { content, rows, live, settled });
        self.listed.entry(part).or_default().push((store, rows));
        self.next = self.next.max(store + 1);
    }

    /// Takes back a part that was read.
    pub(in crate::operator::session) fn take_settled(
        &mut self,
        part: u64,
        rows: RecordBatch,
        owners: Vec<SessionId>,
        dead: Option<BooleanBuffer>,
    ) -> Result<()> {
        let count = rows.num_rows();
        let content = Content::whole(&self.spec, rows, owners.into())?;
        self.add_settled(self.next, part, Arc::new(Deferred::done(content)), count, dead);
        Ok(())
    }

    /// Forgets parts of which no row is left.
    pub(in crate::operator::session) fn forget_parts(&mut self) {
        let Self { listed, stores, .. } = self;
        listed.retain(|_, of| of.iter().any(|(store, _)| stores.contains_key(store)));
    }

    /// All parts, ascending by id, that of snapshot `number` with its rows. Between snapshots there are other rows beside them.
    pub(in crate::operator::session) fn list(&self, number: u64) -> Vec<StatePart> {
        let parts = self.listed.iter().map(|(&id, of)| StatePart {
            id,
            new: (id == number).then(|| self.rows_of(of)),
            dead: self.dead_of(of),
        });
        parts.collect()
    }

    /// The rows of all parts of which some row is left.
    pub(super) fn listed_rows(&self) -> usize {
        self.listed.values().flatten().map(|(_, rows)| rows).sum()
    }

    /// Those of them that a session refers to.
    pub(super) fn settled_rows(&self) -> usize {
        self.stores.values().filter(|store| store.settled.is_some()).map(|store| store.live).sum()
    }

    /// The rows of a part that is in some stores.
    fn rows_of(&self, stores: &[(u64, usize)]) -> Deferred<Vec<RecordBatch>> {
        let contents = stores.iter().filter_map(|(number, _)| self.stores.get(number));
        let contents: Vec<_> = contents.map(|store| Arc::clone(&store.content)).collect();
        let rows = |content: Arc<Deferred<Content>>| match &content.get()?.whole {
            Some((rows, _)) => Ok(rows.clone()),
            None => Err(exec_datafusion_err!("a part of a snapshot is not settled")),
        };
        Deferred::new(move || contents.into_iter().map(rows).collect())
    }

    /// Which of them are dead, if any.
    fn dead_of(&self, stores: &[(u64, usize)]) -> Option<BooleanBuffer> {
        let stores = stores.iter().map(|(number, rows)| (self.stores.get(number), *rows));
        if stores.clone().all(|(store, rows)| store.is_some_and(|store| store.live == rows)) {
            return None;
        }
        let mut all = BooleanBufferBuilder::new(0);
        for (store, rows) in stores {
            match store.and_then(|store| store.settled.as_ref()) {
                Some(settled) => all.append_buffer(&settled.dead.finish_cloned()),
                None => all.append_n(rows, true),
            }
        }
        Some(all.finish())
    }

    pub(in crate::operator::session) fn memory(&self) -> usize {
        let contents = self.stores.values().filter_map(|store| store.content.ready());
        contents.map(Content::memory).sum()
    }
}

impl Content {
    /// Of whole state rows.
    pub(super) fn whole(
        spec: &AggregateSpec,
        rows: RecordBatch,
        owners: Arc<[SessionId]>,
    ) -> Result<Self> {
        let (_, _, states) = spec.split_state(&rows, 2)?;
        Ok(Self { states, whole: Some((rows, owners)) })
    }

    fn memory(&self) -> usize {
        match &self.whole {
            Some((rows, owners)) => column_bytes(rows.columns()) + size_of_val(&owners[..]),
            None => column_bytes(self.states.iter().flatten()),
        }
    }
}
