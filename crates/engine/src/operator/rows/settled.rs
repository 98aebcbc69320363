//! Kept rows as the parts of snapshots.
//!
//! A snapshot makes one part of all rows that came since the one before. Every fourth moves the live rows of the last four parts
//! into its own, every sixteenth those of the last sixteen, and so on; and when most rows of all parts are dead, all live ones
//! move. A part has the rows of each input one after the other.

use arrow::{array::RecordBatch, buffer::BooleanBuffer};
use datafusion::common::Result;

use super::{RowId, RowStore, Settled, Store};
use crate::{limits::COMPACT_ROWS, operator::state::merged_from};

/// Rows of one input.
#[derive(Debug, Clone)]
pub(crate) struct PortRows {
    pub(crate) port: u8,
    pub(crate) rows: RecordBatch,
}

/// A part as a snapshot lists it.
#[derive(Debug)]
pub(crate) struct ListedPart {
    pub(crate) id: u64,
    /// Its rows, if it is new.
    pub(crate) new: Option<Vec<PortRows>>,
    /// Which rows no longer count, if there are such.
    pub(crate) dead: Option<BooleanBuffer>,
}

impl RowStore {
    /// Makes the part of a snapshot, and lists all parts, ascending.
    pub(crate) fn snapshot(&mut self, number: u64) -> Result<Vec<ListedPart>> {
        let mut moving = self.stores_to_move(number);
        moving.extend(std::mem::take(&mut self.loose));
        let mut new = Vec::new();
        for (port, stores) in self.by_port(moving) {
            let Some((rows, owners)) = self.take_live(stores)? else { continue };
            self.add_store(port, rows.clone(), owners, Some(number));
            new.push(PortRows { port, rows });
        }
        self.parts.retain(|_, live| *live > 0);
        let mut parts = self.list();
        if let Some(part) = parts.iter_mut().find(|part| part.id == number) {
            part.new = Some(new);
        }
        Ok(parts)
    }

    /// The settled stores whose rows move into the part of snapshot `number`, in the order of their rows.
    fn stores_to_move(&self, number: u64) -> Vec<u32> {
        let settled = self.settled();
        let rows: usize = settled.iter().map(|(.., store)| store.owners.len()).sum();
        let live: usize = settled.iter().map(|(.., store)| store.live).sum();
        let mostly_dead = rows > COMPACT_ROWS && rows > 2 * live;
        let from = if mostly_dead { 0 } else { merged_from(number) };
        let moving = settled.into_iter().filter(|(settled, ..)| settled.part > from);
        moving.map(|(_, index, _)| index).collect()
    }

    /// The stores of all parts, in the order of their rows.
    fn settled(&self) -> Vec<(Settled, u32, &Store)> {
        let settled = (0_u32..).zip(&self.stores).filter_map(|(index, store)| {
            let store = store.as_ref()?;
            Some((store.settled?, index, store))
        });
        let mut stores: Vec<_> = settled.collect();
        stores.sort_unstable_by_key(|(settled, ..)| *settled);
        stores
    }

    fn list(&self) -> Vec<ListedPart> {
        let settled = self.settled();
        let parts = settled.chunk_by(|a, b| a.0.part == b.0.part).filter_map(|stores| {
            let owners = || stores.iter().flat_map(|(.., store)| &store.owners);
            let rows = owners().count();
            let live: usize = stores.iter().map(|(.., store)| store.live).sum();
            let dead = (live < rows)
                .then(|| owners().map(|id| *id == RowId::NOBODY).collect::<BooleanBuffer>());
            let id = stores.first()?.0.part;
            Some(ListedPart { id, new: None, dead })
        });
        parts.collect()
    }

    /// Takes back the rows of a part that was read. Returns who each is; those that no longer count are nobody.
    pub(crate) fn restore(
        &mut self,
        part: u64,
        rows: PortRows,
        dead: Option<&BooleanBuffer>,
    ) -> Result<Vec<RowId>> {
        let mut owners = Vec::with_capacity(rows.rows.num_rows());
        for row in 0..rows.rows.num_rows() {
            let is_dead = dead.is_some_and(|dead| dead.value(row));
            owners.push(if is_dead { RowId::NOBODY } else { self.new_id()? });
        }
        self.add_store(rows.port, rows.rows, owners.clone(), Some(part));
        Ok(owners)
    }
}
