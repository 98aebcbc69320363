//! Which sessions are open, by key.

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    datatypes::SchemaRef,
    row::{OwnedRow, RowConverter},
};
use datafusion::common::{DataFusionError, Result};
use hashbrown::HashTable;

use super::parts::Part;
use crate::operator::keys::{Key, KeyEncoder, Keys};

/// Names a session for as long as it is open, and never another one afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId {
    slot: u32,
    generation: u32,
}

impl SessionId {
    /// No session.
    pub(super) const NOBODY: Self = Self { slot: u32::MAX, generation: u32::MAX };
}

/// One open session.
#[derive(Debug)]
pub(super) struct Session {
    /// The time of its first row.
    pub(super) start: i64,
    /// The time of its last row; it ends one gap later.
    pub(super) last: i64,
    /// Its partial states, oldest first.
    pub(super) parts: Vec<Part>,
    /// Whether it took rows since the newest snapshot.
    pub(super) touched: bool,
    key: Arc<OwnedRow>,
    hash: u64,
}

impl Session {
    pub(super) fn key(&self) -> &Arc<OwnedRow> {
        &self.key
    }
}

struct Slot {
    generation: u32,
    session: Option<Session>,
}

struct KeyEntry {
    hash: u64,
    key: Arc<OwnedRow>,
    /// Slots of the key's open sessions; nearly always one.
    sessions: Vec<u32>,
}

/// The open sessions of one shard.
pub(super) struct SessionTable {
    encoder: KeyEncoder,
    keys: HashTable<KeyEntry>,
    /// Bytes of all keys: too many to count at every checkpoint.
    key_bytes: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl SessionTable {
    pub(super) fn new(key_schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            encoder: KeyEncoder::new(key_schema.fields())?,
            keys: HashTable::new(),
            key_bytes: 0,
            slots: Vec::new(),
            free: Vec::new(),
        })
    }

    /// Encodes the keys of a batch; no key column at all is one key.
    pub(super) fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<Keys> {
        self.encoder.encode(keys, rows)
    }

    /// What makes key columns of keys.
    pub(super) fn converter(&self) -> Arc<RowConverter> {
        self.encoder.converter()
    }

    /// Bytes of memory, but for what lists and keys need beside their content.
    pub(super) fn memory(&self) -> usize {
        let sessions = self.slots.len() - self.free.len();
        self.slots.capacity() * size_of::<Slot>()
            + self.keys.capacity() * size_of::<KeyEntry>()
            + self.key_bytes
            + sessions * size_of::<Part>()
    }

    /// The session of an id that is open.
    pub(super) fn session(&self, id: SessionId) -> &Session {
        match &self.slots[id.slot as usize].session {
            Some(session) => session,
            None => unreachable!("the caller checked that the session is open"),
        }
    }

    /// Extends the key's session that a row at `time` reaches, merging those it joins.
    pub(super) fn touch(&mut self, key: &Key<'_>, time: i64, gap: i64) -> Option<SessionId> {
        let entry = self
            .keys
            .find_mut(key.hash, |entry| entry.hash == key.hash && entry.key.row() == key.row)?;
        let mut home: Option<u32> = None;
        let mut index = 0;
        while let Some(&slot) = entry.sessions.get(index) {
            let Some(session) = &mut self.slots[slot as usize].session else {
                index += 1;
                continue;
            };
            let joins = time <= session.last.saturating_add(gap)
                && time.saturating_add(gap) >= session.start;
            match home {
                _ if !joins => index += 1,
                None => {
                    session.start = session.start.min(time);
                    session.last = session.last.max(time);
                    home = Some(slot);
                    index += 1;
                }
                Some(home) => {
                    entry.sessions.swap_remove(index);
                    merge(&mut self.slots, home, slot);
                    self.free.push(slot);
                }
            }
        }
        home.map(|slot| SessionId { slot, generation: self.slots[slot as usize].generation })
    }

    /// Opens a session of one row.
    pub(super) fn open(&mut self, key: &Key<'_>, time: i64) -> SessionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, session: None });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let entry = self
            .keys
            .entry(
                key.hash,
                |entry| entry.hash == key.hash && entry.key.row() == key.row,
                |entry| entry.hash,
            )
            .or_insert_with(|| {
                self.key_bytes += key.row.as_ref().len();
                KeyEntry { hash: key.hash, key: Arc::new(key.row.owned()), sessions: Vec::new() }
            });
        let entry = entry.into_mut();
        entry.sessions.push(slot);
        let state = &mut self.slots[slot as usize];
        state.session = Some(Session {
            start: time,
            last: time,
            parts: Vec::new(),
            touched: false,
            key: Arc::clone(&entry.key),
            hash: key.hash,
        });
        SessionId { slot, generation: state.generation }
    }

    pub(super) fn is_open(&self, id: SessionId) -> bool {
        let slot = &self.slots[id.slot as usize];
        slot.generation == id.generation && slot.session.is_some()
    }

    /// The session of an id that is open.
    pub(super) fn session_mut(&mut self, id: SessionId) -> &mut Session {
        match &mut self.slots[id.slot as usize].session {
            Some(session) => session,
            None => unreachable!("the caller checked that the session is open"),
        }
    }

    /// Takes an open session out; a key without sessions is forgotten.
    pub(super) fn close(&mut self, id: SessionId) -> Session {
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let Some(session) = slot.session.take() else {
            unreachable!("the caller checked that the session is open")
        };
        self.free.push(id.slot);
        let found =
            self.keys.find_entry(session.hash, |entry| Arc::ptr_eq(&entry.key, &session.key));
        if let Ok(mut entry) = found {
            entry.get_mut().sessions.retain(|&slot| slot != id.slot);
            if entry.get().sessions.is_empty() {
                self.key_bytes -= session.key.as_ref().as_ref().len();
                entry.remove();
            }
        }
        session
    }
}

/// The columns of keys.
pub(super) fn decode<'a>(
    converter: &RowConverter,
    keys: impl IntoIterator<Item = &'a OwnedRow>,
) -> Result<Vec<ArrayRef>> {
    let rows = keys.into_iter().map(OwnedRow::row);
    converter.convert_rows(rows).map_err(DataFusionError::from)
}

/// Moves the session of slot `from` into that of slot `into`.
fn merge(slots: &mut [Slot], into: u32, from: u32) {
    let slot = &mut slots[from as usize];
    slot.generation = slot.generation.wrapping_add(1);
    let (Some(old), Some(home)) = (slot.session.take(), &mut slots[into as usize].session) else {
        return;
    };
    home.start = home.start.min(old.start);
    home.last = home.last.max(old.last);
    // Chronological order, so that order-sensitive aggregates merge as their rows arrived.
    home.parts.extend(old.parts);
    home.parts.sort_unstable();
}
