//! Which partitions there are, and when something happens to each.

use std::{cmp::Reverse, collections::BinaryHeap};

use arrow::{
    array::ArrayRef,
    datatypes::{FieldRef, Fields},
    row::OwnedRow,
};
use datafusion::common::Result;
use hashbrown::HashTable;

use crate::operator::{
    keys::{Key, KeyEncoder, Keys},
    rows::RowId,
};

/// Names a partition while it remembers anything. Used again afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionId(u32);

/// A row that left and that later rows may look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) time: i64,
    pub(super) id: RowId,
    /// Whether it is kept whatever its age.
    pub(super) pinned: bool,
}

/// What is remembered of a key.
pub(super) struct Partition {
    key: OwnedRow,
    hash: u64,
    /// Rows that wait for the watermark, the earliest first.
    waiting: BinaryHeap<Reverse<(i64, RowId)>>,
    pub(super) kept: Vec<Kept>,
    /// What is known of all rows that left.
    pub(super) tally: RowId,
    /// The timers that count; others for it are void.
    due: Option<i64>,
    expires: Option<i64>,
}

/// Partitions by a time, the earliest first. What the partition no longer says is void.
type Timers = BinaryHeap<Reverse<(i64, PartitionId)>>;

/// The partitions of one shard.
pub(super) struct Partitions {
    encoder: KeyEncoder,
    table: HashTable<PartitionId>,
    slots: Vec<Option<Partition>>,
    free: Vec<PartitionId>,
    /// By the time of the first waiting row.
    due: Timers,
    /// By the watermark at which the first kept row becomes too old.
    expiring: Timers,
}

impl Partitions {
    pub(super) fn new(keys: &[FieldRef]) -> Result<Self> {
        Ok(Self {
            encoder: KeyEncoder::new(&Fields::from(keys))?,
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            due: Timers::new(),
            expiring: Timers::new(),
        })
    }

    pub(super) fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<Keys> {
        self.encoder.encode(keys, rows)
    }

    /// The partition of a key; a new one if nothing is remembered.
    pub(super) fn of(&mut self, key: &Key<'_>) -> PartitionId {
        let Self { table, slots, free, .. } = self;
        let at = |id: &PartitionId| slots.get(id.0 as usize).and_then(Option::as_ref);
        let is_it = |id: &PartitionId| {
            at(id).is_some_and(|own| own.hash == key.hash && own.key.row() == key.row)
        };
        if let Some(id) = table.find(key.hash, is_it) {
            return *id;
        }
        let id = free.pop().unwrap_or(PartitionId(slots.len() as u32));
        table.insert_unique(key.hash, id, |id| at(id).map_or(0, |own| own.hash));
        let partition = Partition {
            key: key.row.owned(),
            hash: key.hash,
            waiting: BinaryHeap::new(),
            kept: Vec::new(),
            tally: RowId::NOBODY,
            due: None,
            expires: None,
        };
        match slots.get_mut(id.0 as usize) {
            Some(slot) => *slot = Some(partition),
            None => slots.push(Some(partition)),
        }
        id
    }

    pub(super) fn get(&self, id: PartitionId) -> Option<&Partition> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// Has a row wait for the watermark.
    pub(super) fn wait(&mut self, id: PartitionId, time: i64, row: RowId) {
        let Some(partition) = self.get_mut(id) else { return };
        partition.waiting.push(Reverse((time, row)));
        if partition.due.is_none_or(|due| time < due) {
            partition.due = Some(time);
            self.due.push(Reverse((time, id)));
        }
    }

    /// A partition whose first waiting row the watermark has reached.
    pub(super) fn pop_due(&mut self, watermark: i64) -> Option<PartitionId> {
        let time = self.next_due().filter(|time| *time <= watermark)?;
        let Reverse((_, id)) = self.due.pop()?;
        self.get_mut(id)?.due = None;
        debug_assert!(time <= watermark, "the first timer is the earliest");
        Some(id)
    }

    /// The watermark at which a row leaves.
    pub(super) fn next_due(&mut self) -> Option<i64> {
        while let Some(&Reverse((time, id))) = self.due.peek() {
            if self.get(id).is_some_and(|partition| partition.due == Some(time)) {
                return Some(time);
            }
            self.due.pop();
        }
        None
    }

    /// The waiting rows that the watermark has reached. The others go on waiting.
    pub(super) fn take_waiting(&mut self, id: PartitionId, watermark: i64) -> Vec<(i64, RowId)> {
        let mut taken = Vec::new();
        let Some(partition) = self.get_mut(id) else { return taken };
        while let Some(&Reverse((time, row))) = partition.waiting.peek() {
            if time > watermark {
                partition.due = Some(time);
                self.due.push(Reverse((time, id)));
                return taken;
            }
            partition.waiting.pop();
            taken.push((time, row));
        }
        partition.waiting = BinaryHeap::new();
        taken
    }

    /// Says which rows are kept, those that are not pinned for `within` nanoseconds.
    pub(super) fn keep(&mut self, id: PartitionId, kept: Vec<Kept>, within: Option<i64>) {
        let Some(partition) = self.get_mut(id) else { return };
        let oldest = kept.iter().filter(|kept| !kept.pinned).map(|kept| kept.time).min();
        let expires = oldest.zip(within).map(|(oldest, within)| oldest.saturating_add(within));
        let is_new = partition.expires != expires;
        partition.kept = kept;
        partition.kept.shrink_to_fit();
        partition.expires = expires;
        if let Some(expires) = expires.filter(|_| is_new) {
            self.expiring.push(Reverse((expires, id)));
        }
    }

    /// A partition with a row that has become too old.
    pub(super) fn pop_expiring(&mut self, watermark: i64) -> Option<PartitionId> {
        while let Some(&Reverse((time, id))) = self.expiring.peek() {
            let counts = self.get(id).is_some_and(|partition| partition.expires == Some(time));
            if counts && time > watermark {
                return None;
            }
            self.expiring.pop();
            if counts {
                self.get_mut(id)?.expires = None;
                return Some(id);
            }
        }
        None
    }

    /// Forgets a partition that remembers nothing.
    pub(super) fn rest(&mut self, id: PartitionId) {
        let is_empty = |partition: &Partition| {
            partition.waiting.is_empty()
                && partition.kept.is_empty()
                && partition.tally == RowId::NOBODY
        };
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        let Some(partition) = slot.take_if(|partition| is_empty(partition)) else { return };
        if let Ok(entry) = self.table.find_entry(partition.hash, |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
        if self.table.is_empty() {
            // Nothing is left: what was much may have been for once.
            self.table = HashTable::new();
            (self.slots, self.free) = (Vec::new(), Vec::new());
            (self.due, self.expiring) = (Timers::new(), Timers::new());
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let each = self.slots.iter().flatten().map(|partition| {
            partition.key.as_ref().len()
                + partition.waiting.capacity() * size_of::<(i64, RowId)>()
                + partition.kept.capacity() * size_of::<Kept>()
        });
        each.sum::<usize>()
            + self.slots.capacity() * size_of::<Option<Partition>>()
            + self.table.capacity() * (size_of::<PartitionId>() + 1)
            + (self.due.capacity() + self.expiring.capacity()) * size_of::<(i64, PartitionId)>()
    }
}
