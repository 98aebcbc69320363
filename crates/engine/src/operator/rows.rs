//! Rows that an operator keeps, each until it is let go.
//!
//! A row is known by its [`RowId`] from the batch it came in to the last time it is read, wherever it is moved meanwhile. Rows
//! come from the inputs of the operator, and those of each input have their own columns.

mod settled;

use std::collections::BTreeMap;

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, interleave_record_batch, take_record_batch},
};
use datafusion::common::{Result, exec_err};

pub(crate) use self::settled::{ListedPart, PortRows};
use super::state::column_bytes;
use crate::limits::LOOSE_STORES;

/// Names a kept row. Used again for another one once it was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId(pub(crate) u32);

impl RowId {
    /// No row.
    pub(crate) const NOBODY: Self = Self(u32::MAX);

    /// Its position in tables beside this one.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a row is.
#[derive(Debug, Clone, Copy)]
struct Place {
    store: u32,
    row: u32,
}

impl Place {
    const NOWHERE: Self = Self { store: u32::MAX, row: 0 };
}

/// Rows that came together. They stay where they are until the store is moved as a whole.
#[derive(Debug)]
struct Store {
    port: u8,
    rows: RecordBatch,
    /// Who each row is; what is let go is nobody.
    owners: Vec<RowId>,
    live: usize,
    /// Its place in a part of snapshots.
    settled: Option<Settled>,
}

/// A store that is in a part of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Settled {
    part: u64,
    /// Stores of a part follow each other in this order.
    order: u64,
}

/// The rows of one operator instance.
#[derive(Debug, Default)]
pub(crate) struct RowStore {
    places: Vec<Place>,
    free: Vec<RowId>,
    /// By number; a slot without a store is used again.
    stores: Vec<Option<Store>>,
    empty: Vec<u32>,
    /// Stores that are no part of a snapshot yet, in the order in which they came.
    loose: Vec<u32>,
    /// The live rows of each part.
    parts: BTreeMap<u64, usize>,
    next_order: u64,
}

impl RowStore {
    /// Keeps rows of an input.
    pub(crate) fn insert(&mut self, port: u8, rows: RecordBatch) -> Result<Vec<RowId>> {
        let owners = (0..rows.num_rows()).map(|_| self.new_id()).collect::<Result<Vec<_>>>()?;
        if !owners.is_empty() {
            let store = self.add_store(port, rows, owners.clone(), None);
            self.loose.push(store);
        }
        if self.loose.len() > LOOSE_STORES {
            self.gather_loose()?;
        }
        Ok(owners)
    }

    fn new_id(&mut self) -> Result<RowId> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        match u32::try_from(self.places.len()) {
            Ok(next) if next < u32::MAX => {
                self.places.push(Place::NOWHERE);
                Ok(RowId(next))
            }
            _ => {
                exec_err!("one shard keeps four thousand million rows; run with more --parallelism")
            }
        }
    }

    fn add_store(
        &mut self,
        port: u8,
        rows: RecordBatch,
        owners: Vec<RowId>,
        part: Option<u64>,
    ) -> u32 {
        let live = owners.iter().filter(|id| **id != RowId::NOBODY).count();
        let settled = part.map(|part| {
            *self.parts.entry(part).or_default() += live;
            self.next_order += 1;
            Settled { part, order: self.next_order }
        });
        let number = self.empty.pop().unwrap_or_else(|| {
            self.stores.push(None);
            (self.stores.len() - 1) as u32
        });
        for (row, id) in (0_u32..).zip(&owners).filter(|(_, id)| **id != RowId::NOBODY) {
            self.places[id.index()] = Place { store: number, row };
        }
        self.stores[number as usize] = Some(Store { port, rows, owners, live, settled });
        number
    }

    /// Lets a row go.
    pub(crate) fn release(&mut self, id: RowId) {
        self.unlink(id);
        self.places[id.index()] = Place::NOWHERE;
        self.free.push(id);
        if self.free.len() == self.places.len() {
            // Nothing is left: what was much may have been for once.
            *self = Self { next_order: self.next_order, ..Self::default() };
        }
    }

    /// Takes a row out of its store, and ends the store with its last row. A store of a part ends with the part: the rows
    /// behind it must be found where they were written.
    fn unlink(&mut self, id: RowId) {
        let Place { store: number, row } = self.places[id.index()];
        let Some(store) = self.stores.get_mut(number as usize).and_then(Option::as_mut) else {
            return;
        };
        store.owners[row as usize] = RowId::NOBODY;
        store.live -= 1;
        let (live, settled) = (store.live, store.settled);
        if live == 0 {
            store.rows = RecordBatch::new_empty(store.rows.schema());
        }
        match settled {
            None if live == 0 => drop(self.drop_store(number)),
            None => {}
            Some(Settled { part, .. }) => self.count_down(part),
        }
    }

    fn count_down(&mut self, part: u64) {
        let Some(live) = self.parts.get_mut(&part) else { return };
        *live -= 1;
        if *live == 0 {
            self.parts.remove(&part);
            for number in 0..self.stores.len() as u32 {
                let store = self.stores[number as usize].as_ref();
                if store.and_then(|store| store.settled).is_some_and(|s| s.part == part) {
                    drop(self.drop_store(number));
                }
            }
        }
    }

    fn drop_store(&mut self, number: u32) -> Option<Store> {
        let store = self.stores.get_mut(number as usize)?.take()?;
        match store.settled {
            None => self.loose.retain(|loose| *loose != number),
            Some(Settled { part, .. }) => {
                self.parts.entry(part).and_modify(|live| *live -= store.live.min(*live));
            }
        }
        self.empty.push(number);
        Some(store)
    }

    /// Gives rows of one input other contents, which the next snapshot will have. Row `i` of `rows` is that of `ids[i]`.
    pub(crate) fn replace(&mut self, port: u8, ids: Vec<RowId>, rows: RecordBatch) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in &ids {
            self.unlink(*id);
        }
        let store = self.add_store(port, rows, ids, None);
        self.loose.push(store);
        if self.loose.len() > LOOSE_STORES { self.gather_loose() } else { Ok(()) }
    }

    /// Copies rows of one input, in the order of `ids`, which is not empty.
    pub(crate) fn gather(&self, ids: &[RowId]) -> Result<RecordBatch> {
        let mut numbers = vec![usize::MAX; self.stores.len()];
        let mut batches = Vec::new();
        let mut indices = Vec::with_capacity(ids.len());
        for id in ids {
            let Place { store, row } = self.places[id.index()];
            let number = &mut numbers[store as usize];
            if *number == usize::MAX {
                let Some(store) = &self.stores[store as usize] else {
                    return exec_err!("a kept row is nowhere");
                };
                *number = batches.len();
                batches.push(&store.rows);
            }
            indices.push((*number, row as usize));
        }
        if let [only] = batches.as_slice() {
            let rows = UInt32Array::from_iter_values(indices.iter().map(|(_, row)| *row as u32));
            return Ok(take_record_batch(only, &rows)?);
        }
        Ok(interleave_record_batch(&batches, &indices)?)
    }

    /// Where a row stands among all: those of older parts come first. It is the same again behind a restart from the same parts,
    /// so equal rows can be told apart by it.
    pub(crate) fn standing(&self, id: RowId) -> (u64, u64, u32) {
        let Place { store: number, row } = self.places[id.index()];
        let store = self.stores.get(number as usize).and_then(Option::as_ref);
        let settled = store.and_then(|store| store.settled);
        let (part, order) =
            settled.map_or_else(|| (u64::MAX, u64::from(number)), |s| (s.part, s.order));
        (part, order, row)
    }

    /// Makes one store of many small ones, for each input. Large ones stay, so that a row is copied a logarithmic number of times.
    fn gather_loose(&mut self) -> Result<()> {
        let rows = |number: &u32| {
            self.stores[*number as usize].as_ref().map_or(0, |store| store.owners.len())
        };
        let large = 2 * self.loose.iter().map(rows).sum::<usize>() / LOOSE_STORES;
        let small = self.loose.iter().copied().filter(|number| rows(number) <= large).collect();
        for (port, stores) in self.by_port(small) {
            let Some((rows, owners)) = self.take_live(stores)? else { continue };
            let store = self.add_store(port, rows, owners, None);
            self.loose.push(store);
        }
        Ok(())
    }

    /// Sorts stores by their input, keeping their order.
    fn by_port(&self, stores: Vec<u32>) -> Vec<(u8, Vec<u32>)> {
        let mut by_port: Vec<(u8, Vec<u32>)> = Vec::new();
        for number in stores {
            let Some(store) = &self.stores[number as usize] else { continue };
            match by_port.iter_mut().find(|(port, _)| *port == store.port) {
                Some((_, same)) => same.push(number),
                None => by_port.push((store.port, vec![number])),
            }
        }
        by_port.sort_unstable_by_key(|(port, _)| *port);
        by_port
    }

    /// Ends stores of one input: their live rows as one batch, if there are any, and who they are.
    fn take_live(&mut self, stores: Vec<u32>) -> Result<Option<(RecordBatch, Vec<RowId>)>> {
        let (mut batches, mut owners) = (Vec::new(), Vec::new());
        for number in stores {
            let Some(store) = self.drop_store(number) else { continue };
            if store.live > 0 {
                batches.push(live_rows(&store)?);
            }
            owners.extend(store.owners.into_iter().filter(|id| *id != RowId::NOBODY));
        }
        let rows = match batches.as_slice() {
            [] => None,
            [first, ..] => Some(concat_batches(&first.schema(), &batches)?),
        };
        Ok(rows.map(|rows| (rows, owners)))
    }

    /// Bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let stores = self.stores.iter().flatten().map(|store| {
            column_bytes(store.rows.columns()) + store.owners.len() * size_of::<RowId>()
        });
        stores.sum::<usize>()
            + self.places.capacity() * size_of::<Place>()
            + self.free.capacity() * size_of::<RowId>()
    }
}

fn live_rows(store: &Store) -> Result<RecordBatch> {
    if store.live == store.owners.len() {
        return Ok(store.rows.clone());
    }
    let live = (0_u32..).zip(&store.owners).filter(|(_, id)| **id != RowId::NOBODY);
    let live = UInt32Array::from_iter_values(live.map(|(row, _)| row));
    Ok(take_record_batch(&store.rows, &live)?)
}
