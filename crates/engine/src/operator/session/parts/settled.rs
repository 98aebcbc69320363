//! Stores that are parts of snapshots.
//!
//! Every fourth snapshot moves the live rows of the last four parts into its own, every sixteenth those of the last sixteen, and so
//! on; and when most rows of all parts are dead, all live ones move. So there are few parts however long sessions last, and
//! the dead take no more room than the living. Moving a row changes no bit of it.

use std::collections::BTreeSet;

use arrow::{
    array::{BooleanBufferBuilder, UInt32Array},
    buffer::BooleanBuffer,
};
use datafusion::common::Result;

use super::{Part, PartStore, Settled, Store, mostly_dead, take_rows, take_states};
use crate::operator::{
    StatePart,
    aggregate::States,
    merged_from,
    session::{snapshot::listed, table::SessionId},
    state::column_bytes,
};

impl PartStore {
    /// The sessions whose rows move into the part of snapshot `number`, in the order of their rows.
    pub(in crate::operator::session) fn owners_to_move(&self, number: u64) -> Vec<SessionId> {
        let settled = || self.stores.values().filter_map(|s| Some((s, s.settled.as_ref()?)));
        let count = |of: fn(&Store) -> usize| settled().map(|(store, _)| of(store)).sum::<usize>();
        let all = mostly_dead(count(|store| store.rows), count(|store| store.live));
        let from = if all { 0 } else { merged_from(number) };
        // A part of its own number is what every snapshot makes: alone, it stays.
        let moving = settled().filter(|(_, settled)| settled.part > from);
        let rows = moving.flat_map(|(_, settled)| {
            let live = |row: &usize| !settled.dead.get_bit(*row);
            (0..settled.owners.len()).filter(live).map(|row| settled.owners[row])
        });
        rows.collect()
    }

    /// The partial states of each list of parts, folded into one row, in the order of the lists.
    pub(in crate::operator::session) fn fold_states(
        &mut self,
        lists: &[Vec<Part>],
    ) -> Result<States> {
        if lists.is_empty() {
            // Some accumulators have no state of nothing.
            return Ok(Vec::new());
        }
        let (mut accumulators, groups) = self.merge(lists)?;
        take_rows(&take_states(&mut accumulators)?, &groups)
    }

    /// Makes the part of snapshot `number`: the moved rows as they are, then the folded ones. Returns its store and its states.
    pub(in crate::operator::session) fn settle(
        &mut self,
        number: u64,
        moved: &[Vec<Part>],
        folded: States,
        owners: Vec<SessionId>,
    ) -> Result<(u64, States)> {
        let mut pieces = self.take_moved(moved)?;
        if moved.len() < owners.len() {
            pieces.push(folded);
        }
        let states = self.concat(&pieces)?;
        let store = self.next;
        let mut dead = BooleanBufferBuilder::new(owners.len());
        dead.append_n(owners.len(), false);
        self.add_settled(number, states.clone(), owners, dead);
        Ok((store, states))
    }

    /// Takes rows out of their stores, which were listed store by store.
    fn take_moved(&mut self, moved: &[Vec<Part>]) -> Result<Vec<States>> {
        let parts: Vec<Part> = moved.iter().flatten().copied().collect();
        let mut pieces = Vec::new();
        for run in parts.chunk_by(|a, b| a.store == b.store) {
            let number = run.first().map_or(0, |part| part.store);
            let Some(store) = self.stores.remove(&number) else { continue };
            let rows = UInt32Array::from_iter_values(run.iter().map(|part| part.row));
            pieces.push(take_rows(&store.states, &rows)?);
        }
        Ok(pieces)
    }

    fn add_settled(
        &mut self,
        part: u64,
        states: States,
        owners: Vec<SessionId>,
        dead: BooleanBufferBuilder,
    ) {
        let rows = owners.len();
        let live = (0..rows).filter(|&row| !dead.get_bit(row)).count();
        let settled = Some(Settled { part, owners, dead });
        self.stores.insert(self.next, Store { states, rows, live, settled });
        self.next += 1;
    }

    /// Takes back a part that was read.
    pub(in crate::operator::session) fn take_settled(
        &mut self,
        part: u64,
        states: States,
        owners: Vec<SessionId>,
        dead: Option<BooleanBuffer>,
    ) {
        let mut bits = BooleanBufferBuilder::new(owners.len());
        match dead {
            Some(dead) => bits.append_buffer(&dead),
            None => bits.append_n(owners.len(), false),
        }
        self.add_settled(part, states, owners, bits);
    }

    /// All parts, ascending by id. Between snapshots there are other rows beside them.
    pub(in crate::operator::session) fn list(&self) -> Vec<StatePart> {
        let mut ids = BTreeSet::new();
        let mut parts: Vec<_> = self
            .stores
            .values()
            .filter_map(|store| Some((store, store.settled.as_ref()?)))
            .map(|(store, settled)| {
                debug_assert!(ids.insert(settled.part));
                let dead = (store.live < store.rows).then(|| settled.dead.finish_cloned());
                listed(settled.part, dead)
            })
            .collect();
        parts.sort_unstable_by_key(|part| part.id);
        parts
    }

    pub(in crate::operator::session) fn memory(&self) -> usize {
        let stores = self.stores.values().map(|store| {
            let settled = store.settled.as_ref();
            let owners = settled.map_or(0, |s| s.owners.len() * size_of::<SessionId>());
            column_bytes(store.states.iter().flatten()) + owners
        });
        stores.sum()
    }
}
