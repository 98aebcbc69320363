//! Which rows a join keeps: by side and hash of the key, by side and hash of the whole row, and until when.

use std::{cmp::Reverse, collections::BinaryHeap};

use hashbrown::HashTable;

use crate::operator::rows::RowId;

/// What the join knows of a kept row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) side: usize,
    /// The hash of the key.
    pub(super) hash: u64,
    /// The hash of the whole row, if equal rows of its side are one.
    pub(super) row_hash: Option<u64>,
    /// How often the row is there.
    pub(super) count: i64,
    /// How many partners it has, if that matters.
    pub(super) partners: i64,
    /// The epoch's clock when it last came.
    pub(super) written: i64,
    /// Its event time.
    pub(super) time: i64,
}

impl Entry {
    /// The hash of its key among those of both sides.
    const fn place(&self) -> u64 {
        of_side(self.side, self.hash)
    }

    /// The hash of the row among those of both sides.
    fn own_place(&self) -> Option<u64> {
        self.row_hash.map(|hash| of_side(self.side, hash))
    }
}

/// Tells the hashes of one side from those of the other.
const fn of_side(side: usize, hash: u64) -> u64 {
    if side == 0 { hash } else { hash.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15 }
}

/// An entry in its lists.
#[derive(Debug, Clone, Copy)]
struct Slot {
    entry: Option<Entry>,
    /// Rows of a side whose keys have one hash are a list.
    next: RowId,
    before: RowId,
    /// Whether a timer names the place. There is never a second one, whoever is there.
    timed: bool,
}

impl Slot {
    const EMPTY: Self =
        Self { entry: None, next: RowId::NOBODY, before: RowId::NOBODY, timed: false };
}

/// The kept rows of both sides.
pub(super) struct Index {
    ttl_ns: Option<i64>,
    /// By the number of the row.
    slots: Vec<Slot>,
    /// The first row of each hash of a key.
    heads: HashTable<RowId>,
    /// The rows that are counted, by their own hash.
    exact: HashTable<RowId>,
    /// When places are to be looked at: the row may have come again since, or be another.
    timers: BinaryHeap<Reverse<(i64, RowId)>>,
}

impl Index {
    pub(super) fn new(ttl_ns: Option<i64>) -> Self {
        let (heads, exact) = (HashTable::new(), HashTable::new());
        Self { ttl_ns, slots: Vec::new(), heads, exact, timers: BinaryHeap::new() }
    }

    pub(super) fn get(&self, id: RowId) -> Option<&Entry> {
        self.slots.get(id.index())?.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: RowId) -> Option<&mut Entry> {
        self.slots.get_mut(id.index())?.entry.as_mut()
    }

    /// The kept rows of a side whose key has this hash.
    pub(super) fn with_hash(&self, side: usize, hash: u64) -> impl Iterator<Item = RowId> + '_ {
        let is_it = |id: &RowId| {
            self.get(*id).is_some_and(|entry| entry.side == side && entry.hash == hash)
        };
        let mut next =
            self.heads.find(of_side(side, hash), is_it).copied().unwrap_or(RowId::NOBODY);
        std::iter::from_fn(move || {
            let id = next;
            next = self.slots.get(id.index())?.next;
            Some(id)
        })
    }

    /// The kept rows of a side that may be the one with this hash.
    pub(super) fn with_row_hash(&self, side: usize, hash: u64) -> impl Iterator<Item = RowId> + '_ {
        let is_it = move |id: &RowId| {
            let entry = self.get(*id);
            entry.is_some_and(|entry| entry.side == side && entry.row_hash == Some(hash))
        };
        self.exact.iter_hash(of_side(side, hash)).copied().filter(is_it)
    }

    /// Keeps a row.
    pub(super) fn insert(&mut self, id: RowId, entry: Entry) {
        if self.slots.len() <= id.index() {
            self.slots.resize(id.index() + 1, Slot::EMPTY);
        }
        let timed = self.slots[id.index()].timed;
        self.slots[id.index()] = Slot { entry: Some(entry), timed, ..Slot::EMPTY };
        self.link(id, &entry);
        if let Some(own) = entry.own_place() {
            let Self { exact, slots, .. } = self;
            let place = |id: &RowId| slots[id.index()].entry.and_then(|entry| entry.own_place());
            exact.insert_unique(own, id, |id| place(id).unwrap_or_default());
        }
        self.set_timer(id, entry.written);
    }

    fn link(&mut self, id: RowId, entry: &Entry) {
        let Self { slots, heads, .. } = self;
        let place = entry.place();
        let place_of = |id: &RowId| slots[id.index()].entry.map_or(0, |entry| entry.place());
        let same = |head: &RowId| {
            let head = slots[head.index()].entry;
            head.is_some_and(|head| head.side == entry.side && head.hash == entry.hash)
        };
        match heads.find_mut(place, same) {
            Some(head) => {
                let before = std::mem::replace(head, id);
                slots[id.index()].next = before;
                slots[before.index()].before = id;
            }
            None => drop(heads.insert_unique(place, id, place_of)),
        }
    }

    fn set_timer(&mut self, id: RowId, written: i64) {
        let Some(ttl) = self.ttl_ns else { return };
        if !std::mem::replace(&mut self.slots[id.index()].timed, true) {
            self.timers.push(Reverse((written.saturating_add(ttl), id)));
        }
    }

    /// Forgets a row.
    pub(super) fn remove(&mut self, id: RowId) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        let Slot { next, before, timed, .. } = *slot;
        let Some(entry) = slot.entry.take() else { return };
        *slot = Slot { timed, ..Slot::EMPTY };
        if let Some(next) = self.slots.get_mut(next.index()) {
            next.before = before;
        }
        if let Some(before) = self.slots.get_mut(before.index()) {
            before.next = next;
        } else if let Ok(mut head) = self.heads.find_entry(entry.place(), |head| *head == id) {
            if next == RowId::NOBODY {
                head.remove();
            } else {
                *head.get_mut() = next;
            }
        }
        if let Some(own) = entry.own_place()
            && let Ok(found) = self.exact.find_entry(own, |other| *other == id)
        {
            found.remove();
        }
        if self.heads.is_empty() {
            // What was much may have been for once.
            *self = Self::new(self.ttl_ns);
        }
    }

    /// A row that last came too long ago.
    pub(super) fn pop_expired(&mut self, now: i64) -> Option<RowId> {
        let ttl = self.ttl_ns?;
        while let Some(&Reverse((_, id))) = self.timers.peek().filter(|next| next.0.0 <= now) {
            self.timers.pop();
            self.slots[id.index()].timed = false;
            let Some(written) = self.get(id).map(|entry| entry.written) else { continue };
            if written.saturating_add(ttl) <= now {
                return Some(id);
            }
            self.set_timer(id, written);
        }
        None
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + (self.heads.capacity() + self.exact.capacity()) * (size_of::<RowId>() + 1)
            + self.timers.capacity() * size_of::<(i64, RowId)>()
    }
}
