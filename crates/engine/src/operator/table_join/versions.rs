//! The versions of each key, in the order of their times.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

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

/// Names a key that has a version: it keeps one for ever.
type KeyId = u32;

/// The versions of one key.
struct History {
    key: OwnedRow,
    hash: u64,
    /// By time, each another one.
    versions: VecDeque<(i64, RowId)>,
    /// The timer that counts; others for it are void.
    due: Option<i64>,
}

/// The versions of one shard.
pub(super) struct Versions {
    encoder: KeyEncoder,
    table: HashTable<KeyId>,
    histories: Vec<History>,
    /// The bytes of all keys, and how many versions there are.
    key_bytes: usize,
    count: usize,
    /// Keys by the time of their second version: once the watermark reaches it, nobody asks for the first any more.
    pruning: BinaryHeap<Reverse<(i64, KeyId)>>,
}

impl Versions {
    pub(super) fn new(keys: &[FieldRef]) -> Result<Self> {
        Ok(Self {
            encoder: KeyEncoder::new(&Fields::from(keys))?,
            table: HashTable::new(),
            histories: Vec::new(),
            key_bytes: 0,
            count: 0,
            pruning: BinaryHeap::new(),
        })
    }

    pub(super) fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<Keys> {
        self.encoder.encode(keys, rows)
    }

    fn find(&self, key: &Key<'_>) -> Option<KeyId> {
        let is_it = |id: &KeyId| {
            let own = &self.histories[*id as usize];
            own.hash == key.hash && own.key.row() == key.row
        };
        self.table.find(key.hash, is_it).copied()
    }

    /// The newest version of a key that is not behind a time.
    pub(super) fn at(&self, key: &Key<'_>, time: i64) -> Option<RowId> {
        let versions = &self.histories[self.find(key)? as usize].versions;
        let newer = versions.partition_point(|(from, _)| *from <= time);
        versions.get(newer.checked_sub(1)?).map(|(_, id)| *id)
    }

    /// Adds a version. Returns the one that it replaces.
    pub(super) fn insert(&mut self, key: &Key<'_>, time: i64, row: RowId) -> Option<RowId> {
        let id = self.find(key).unwrap_or_else(|| self.add(key));
        let versions = &mut self.histories[id as usize].versions;
        let place = versions.partition_point(|(from, _)| *from < time);
        match versions.get_mut(place) {
            Some((from, known)) if *from == time => return Some(std::mem::replace(known, row)),
            _ => versions.insert(place, (time, row)),
        }
        self.count += 1;
        self.set_timer(id);
        None
    }

    fn add(&mut self, key: &Key<'_>) -> KeyId {
        let Self { table, histories, .. } = self;
        self.key_bytes += key.row.as_ref().len();
        let id = histories.len() as KeyId;
        // Most keys have one.
        let versions = VecDeque::with_capacity(1);
        histories.push(History { key: key.row.owned(), hash: key.hash, versions, due: None });
        table.insert_unique(key.hash, id, |id| histories[*id as usize].hash);
        id
    }

    fn set_timer(&mut self, id: KeyId) {
        let history = &mut self.histories[id as usize];
        let due = history.versions.get(1).map(|(time, _)| *time);
        if due != history.due {
            history.due = due;
            self.pruning.extend(due.map(|time| Reverse((time, id))));
        }
    }

    /// Lets go of versions that are older than the newest that the watermark has reached.
    pub(super) fn prune(&mut self, watermark: i64, mut release: impl FnMut(RowId)) {
        while let Some(&Reverse((time, id))) = self.pruning.peek()
            && time <= watermark
        {
            self.pruning.pop();
            let history = &mut self.histories[id as usize];
            if history.due != Some(time) {
                continue;
            }
            while let Some((next, _)) = history.versions.get(1)
                && *next <= watermark
            {
                history.versions.pop_front().into_iter().for_each(|(_, row)| release(row));
                self.count -= 1;
            }
            history.due = None;
            history.versions.shrink_to_fit();
            self.set_timer(id);
        }
        if self.pruning.is_empty() {
            self.pruning = BinaryHeap::new();
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.key_bytes
            + self.count * size_of::<(i64, RowId)>()
            + self.histories.capacity() * size_of::<History>()
            + self.table.capacity() * (size_of::<KeyId>() + 1)
            + self.pruning.capacity() * size_of::<(i64, KeyId)>()
    }
}
