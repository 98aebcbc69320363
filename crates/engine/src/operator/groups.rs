//! Which groups there are, where what is kept of each is, and when it is let go.

use std::{cmp::Reverse, collections::BinaryHeap};

use arrow::{array::ArrayRef, datatypes::SchemaRef, row::OwnedRow};
use datafusion::common::Result;
use hashbrown::HashTable;

use super::{
    keys::{Key, KeyEncoder, Keys},
    rows::RowId,
};

/// What is known of a group.
pub(super) struct Group {
    key: OwnedRow,
    hash: u64,
    /// The epoch's clock when it was last written.
    pub(super) written: i64,
    /// The row of its totals, if it has one.
    pub(super) totals: RowId,
    /// The rows that it has besides, in no order.
    pub(super) bag: Vec<RowId>,
}

/// A place for a group, used again for others.
#[derive(Default)]
struct Slot {
    group: Option<Group>,
    /// Whether a timer names it. There is never a second one, however often its group is written.
    timed: bool,
}

/// The groups of one shard.
pub(super) struct Groups {
    encoder: KeyEncoder,
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// When slots are to be looked at: the group may have been written since.
    timers: BinaryHeap<Reverse<(i64, u32)>>,
    ttl_ns: Option<i64>,
    key_bytes: usize,
}

impl Groups {
    pub(super) fn new(keys: &SchemaRef, ttl_ns: Option<i64>) -> Result<Self> {
        Ok(Self {
            encoder: KeyEncoder::new(keys.fields())?,
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            ttl_ns,
            key_bytes: 0,
        })
    }

    pub(super) fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<Keys> {
        self.encoder.encode(keys, rows)
    }

    /// The group of a key.
    pub(super) fn find(&self, key: &Key<'_>) -> Option<u32> {
        let is_it = |slot: &u32| {
            let group = self.slots[*slot as usize].group.as_ref();
            group.is_some_and(|group| group.hash == key.hash && group.key.row() == key.row)
        };
        self.table.find(key.hash, is_it).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Group> {
        self.slots.get(slot as usize)?.group.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Group> {
        self.slots.get_mut(slot as usize)?.group.as_mut()
    }

    /// A group that was not known.
    pub(super) fn insert(&mut self, key: &Key<'_>, totals: RowId, written: i64) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.key_bytes += key.row.as_ref().len();
        self.slots[slot as usize].group =
            Some(Group { key: key.row.owned(), hash: key.hash, written, totals, bag: Vec::new() });
        let Self { table, slots, .. } = self;
        let hash = |slot: &u32| slots[*slot as usize].group.as_ref().map_or(0, |group| group.hash);
        table.insert_unique(key.hash, slot, hash);
        self.set_timer(slot, written);
        slot
    }

    fn set_timer(&mut self, slot: u32, written: i64) {
        let Some(ttl) = self.ttl_ns else { return };
        if !std::mem::replace(&mut self.slots[slot as usize].timed, true) {
            self.timers.push(Reverse((written.saturating_add(ttl), slot)));
        }
    }

    /// Forgets a group.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Group> {
        let group = self.slots.get_mut(slot as usize)?.group.take()?;
        if let Ok(entry) = self.table.find_entry(group.hash, |other| *other == slot) {
            entry.remove();
        }
        self.key_bytes -= group.key.row().as_ref().len();
        self.free.push(slot);
        if self.table.is_empty() {
            // What was much may have been for once.
            self.table = HashTable::new();
            (self.slots, self.free, self.timers) = (Vec::new(), Vec::new(), BinaryHeap::new());
        }
        Some(group)
    }

    /// A group whose last row is too old now.
    pub(super) fn pop_expired(&mut self, now: i64) -> Option<u32> {
        let ttl = self.ttl_ns?;
        while let Some(&Reverse((_, slot))) = self.timers.peek().filter(|next| next.0.0 <= now) {
            self.timers.pop();
            self.slots[slot as usize].timed = false;
            let Some(written) = self.get(slot).map(|group| group.written) else { continue };
            if written.saturating_add(ttl) <= now {
                return Some(slot);
            }
            self.set_timer(slot, written);
        }
        None
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.table.capacity() * (size_of::<u32>() + 1)
            + self.timers.capacity() * size_of::<(i64, u32)>()
            + self.key_bytes
            + self
                .slots
                .iter()
                .flat_map(|slot| &slot.group)
                .map(|group| group.bag.capacity() * size_of::<RowId>())
                .sum::<usize>()
    }
}
