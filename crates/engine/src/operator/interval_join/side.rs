//! One side of a join: which rows are kept, by the hash of their key and by the time at which they end.

use std::{cmp::Reverse, collections::BinaryHeap};

use arrow::datatypes::{DataType, Field, TimeUnit};
use hashbrown::HashTable;

use crate::operator::rows::RowId;

/// When a row ends.
type Timer = Reverse<(i64, RowId)>;

/// What the join knows of a kept row.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    time: i64,
    /// Rows of the same hash are a list.
    next: RowId,
    before: RowId,
    is_there: bool,
    has_key: bool,
    matched: bool,
}

impl Entry {
    const NOTHING: Self = Self {
        hash: 0,
        time: 0,
        next: RowId::NOBODY,
        before: RowId::NOBODY,
        is_there: false,
        has_key: false,
        matched: false,
    };
}

/// The kept rows of a side.
pub(super) struct Side {
    /// How far behind its own time the partners of a row may be.
    reach: i64,
    /// Whether something is emitted for a row without a partner.
    emits_lonely: bool,
    /// By the number of the row.
    entries: Vec<Entry>,
    /// The first row of each hash.
    heads: HashTable<RowId>,
    /// When rows that would be emitted end. An entry is void if the row is no longer there, or has a partner by now.
    lonely: BinaryHeap<Timer>,
    /// When the other rows end. An entry is void if the row is no longer there.
    others: BinaryHeap<Timer>,
}

impl Side {
    pub(super) fn new(reach: i64, emits_lonely: bool) -> Self {
        Self {
            reach,
            emits_lonely,
            entries: Vec::new(),
            heads: HashTable::new(),
            lonely: BinaryHeap::new(),
            others: BinaryHeap::new(),
        }
    }

    /// The watermark at which a row of this time ends.
    pub(super) const fn deadline(&self, time: i64) -> i64 {
        time.saturating_add(self.reach).saturating_add(1)
    }

    pub(super) fn time(&self, id: RowId) -> i64 {
        self.entries[id.index()].time
    }

    /// The kept rows whose key has this hash, and their times.
    pub(super) fn with_hash(&self, hash: u64) -> impl Iterator<Item = (RowId, i64)> + '_ {
        let head = self.heads.find(hash, |id| self.entries[id.index()].hash == hash);
        let mut next = head.copied().unwrap_or(RowId::NOBODY);
        std::iter::from_fn(move || {
            let id = next;
            let entry = self.entries.get(id.index())?;
            next = entry.next;
            Some((id, entry.time))
        })
    }

    /// Keeps a row. One without a hash has no key that could equal another.
    pub(super) fn insert(&mut self, id: RowId, hash: Option<u64>, time: i64, matched: bool) {
        if self.entries.len() <= id.index() {
            self.entries.resize(id.index() + 1, Entry::NOTHING);
        }
        self.entries[id.index()] = Entry {
            hash: hash.unwrap_or_default(),
            time,
            is_there: true,
            has_key: hash.is_some(),
            matched,
            ..Entry::NOTHING
        };
        if let Some(hash) = hash {
            self.link(id, hash);
        }
        let deadline = self.deadline(time);
        let timers =
            if self.emits_lonely && !matched { &mut self.lonely } else { &mut self.others };
        timers.push(Reverse((deadline, id)));
    }

    /// Whether a row is there that ends at this watermark.
    fn waits(&self, id: RowId, at: i64) -> bool {
        let entry = self.entries.get(id.index());
        entry.is_some_and(|entry| entry.is_there && self.deadline(entry.time) == at)
    }

    fn link(&mut self, id: RowId, hash: u64) {
        let Self { entries, heads, .. } = self;
        let same = |head: &RowId| entries[head.index()].hash == hash;
        if let Some(head) = heads.find_mut(hash, same) {
            let before = std::mem::replace(head, id);
            entries[id.index()].next = before;
            entries[before.index()].before = id;
        } else {
            heads.insert_unique(hash, id, |head| entries[head.index()].hash);
        }
    }

    /// Forgets a row.
    pub(super) fn remove(&mut self, id: RowId) {
        let Entry { hash, next, before, has_key, .. } = self.entries[id.index()];
        self.entries[id.index()] = Entry::NOTHING;
        if !has_key {
            return;
        }
        if let Some(next) = self.entries.get_mut(next.index()) {
            next.before = before;
        }
        if let Some(before) = self.entries.get_mut(before.index()) {
            before.next = next;
        } else if let Ok(mut head) = self.heads.find_entry(hash, |head| *head == id) {
            if next == RowId::NOBODY {
                head.remove();
            } else {
                *head.get_mut() = next;
            }
        }
        if self.heads.is_empty() {
            self.heads = HashTable::new();
        }
    }

    /// Remembers that a row has a partner. True if that is new.
    pub(super) fn mark_matched(&mut self, id: RowId) -> bool {
        let Entry { time, matched, .. } = self.entries[id.index()];
        self.entries[id.index()].matched = true;
        let is_new = !matched;
        if is_new && self.emits_lonely {
            self.others.push(Reverse((self.deadline(time), id)));
        }
        is_new
    }

    /// Forgets a row that ends at the watermark, and says when it ended and whether it is to be emitted.
    pub(super) fn pop_until(&mut self, watermark: i64) -> Option<(RowId, i64, bool)> {
        while let Some(Reverse((at, id))) = pop_due(&mut self.lonely, watermark) {
            if self.waits(id, at) && !self.entries[id.index()].matched {
                self.remove(id);
                return Some((id, at, true));
            }
        }
        while let Some(Reverse((at, id))) = pop_due(&mut self.others, watermark) {
            if self.waits(id, at) {
                self.remove(id);
                return Some((id, at, false));
            }
        }
        self.shrink();
        None
    }

    /// The watermark at which a row is emitted for want of a partner.
    pub(super) fn next_lonely(&mut self) -> Option<i64> {
        while let Some(&Reverse((at, id))) = self.lonely.peek() {
            if self.waits(id, at) && !self.entries[id.index()].matched {
                return Some(at);
            }
            self.lonely.pop();
        }
        None
    }

    /// Gives memory back once nothing is kept.
    fn shrink(&mut self) {
        if self.heads.is_empty() && self.lonely.is_empty() && self.others.is_empty() {
            self.entries = Vec::new();
            self.lonely = BinaryHeap::new();
            self.others = BinaryHeap::new();
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.heads.capacity() * (size_of::<RowId>() + 1)
            + (self.lonely.capacity() + self.others.capacity()) * size_of::<(i64, RowId)>()
    }
}

/// The next timer, if the watermark has passed it.
fn pop_due(timers: &mut BinaryHeap<Timer>, watermark: i64) -> Option<Timer> {
    timers.peek().filter(|Reverse((at, _))| *at <= watermark)?;
    timers.pop()
}

/// The columns of a kept row behind its key that are the join's own: its time, and whether it has a partner.
pub(super) fn own_columns() -> Vec<Field> {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    vec![Field::new("time", time, false), Field::new("matched", DataType::Boolean, false)]
}
