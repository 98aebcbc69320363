//! Settled message ids and when they came, for as long as the window reaches back.

use std::collections::VecDeque;

use hashbrown::{HashMap, hash_map::Entry};

use crate::limits::DEDUPE_EXPIRE_STEP;

/// 128 bits of a message id's hash: with 4 million ids, two collide with a probability of 3e-26.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::collector) struct Key(pub(super) u64, pub(super) u64);

impl Key {
    /// It as bytes.
    pub(in crate::collector) fn bytes(self) -> [u8; 16] {
        (u128::from(self.0) << 64 | u128::from(self.1)).to_be_bytes()
    }

    /// The key of these bytes.
    pub(in crate::collector) const fn of_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        // The casts keep one half each.
        Self((number >> 64) as u64, number as u64)
    }
}

/// A power of two. A table doubles in one go; with many small ones no request waits for long.
const SHARDS: usize = 64;

/// See the module. An id is within the window while it is younger than `length`; one that comes
/// again after that is new, and remembered anew.
pub(in crate::collector) struct Window {
    shards: Vec<Shard>,
    length: i64,
    ids_per_shard: usize,
    forgotten: u64,
}

#[derive(Default)]
struct Shard {
    received_at: HashMap<Key, i64>,
    /// In the order of insertion, which is nearly that of time. An entry whose time is not the
    /// map's belongs to an id that came again, and is void.
    order: VecDeque<(Key, i64)>,
}

impl Window {
    /// A window of `length` ns that remembers about `ids_max` ids.
    pub(in crate::collector) fn new(length: i64, ids_max: usize) -> Self {
        let shards = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        Self { shards, length, ids_per_shard: ids_max.div_ceil(SHARDS).max(1), forgotten: 0 }
    }

    /// How many parts it has.
    pub(in crate::collector) const SHARDS: usize = SHARDS;

    fn shard_of(key: Key) -> usize {
        // The hash table uses the other half of the key.
        usize::try_from(key.0 % SHARDS as u64).unwrap_or(0)
    }

    /// Whether the id came less than the window's length before `now`.
    pub(super) fn contains(&self, key: Key, now: i64) -> bool {
        let shard = self.shards.get(Self::shard_of(key));
        let received_at = shard.and_then(|shard| shard.received_at.get(&key));
        received_at.is_some_and(|at| now.saturating_sub(*at) < self.length)
    }

    /// Remembers an id that came at `received_at`; what is expired at `now` may go.
    pub(in crate::collector) fn insert(&mut self, key: Key, received_at: i64, now: i64) {
        let Some(shard) = self.shards.get_mut(Self::shard_of(key)) else { return };
        match shard.received_at.entry(key) {
            // A clock that was set back must not shorten the memory of an id.
            Entry::Occupied(entry) if *entry.get() >= received_at => return,
            Entry::Occupied(mut entry) => {
                entry.insert(received_at);
            }
            Entry::Vacant(entry) => {
                entry.insert(received_at);
            }
        }
        shard.order.push_back((key, received_at));
        let expired = now.saturating_sub(self.length);
        for _ in 0..DEDUPE_EXPIRE_STEP {
            match shard.order.front() {
                Some((_, at)) if *at <= expired => shard.pop(),
                _ => break,
            };
        }
        while shard.order.len() > self.ids_per_shard {
            self.forgotten += u64::from(shard.pop());
        }
    }

    /// Remembers an id of the past, unless it is expired at `now`.
    pub(in crate::collector) fn insert_recent(&mut self, key: Key, received_at: i64, now: i64) {
        if now.saturating_sub(received_at) < self.length {
            self.insert(key, received_at, now);
        }
    }

    /// The ids of one part that are not expired at `now`, in the order in which they are forgotten.
    pub(super) fn ids(&self, shard: usize, now: i64) -> Vec<(Key, i64)> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let remembered = |(key, at): &&(Key, i64)| {
            now.saturating_sub(*at) < self.length && shard.received_at.get(key) == Some(at)
        };
        shard.order.iter().filter(remembered).copied().collect()
    }

    /// Counts ids that an earlier process forgot too early.
    pub(in crate::collector) const fn had_forgotten(&mut self, ids: u64) {
        self.forgotten += ids;
    }

    /// How many ids were dropped within the window, because there were too many.
    pub(in crate::collector) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Shard {
    /// Drops the oldest entry; whether an id went with it.
    fn pop(&mut self) -> bool {
        let Some((key, at)) = self.order.pop_front() else { return false };
        match self.received_at.entry(key) {
            Entry::Occupied(entry) if *entry.get() == at => {
                entry.remove();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Window};

    const LENGTH: i64 = 100;

    fn of(id: u64) -> Key {
        Key(0, id)
    }

    #[test]
    fn too_many_ids_forget_the_oldest_and_are_counted() {
        let mut window = Window::new(LENGTH, 64);
        window.insert(of(1), 0, 0);
        window.insert(of(2), 1, 1);
        assert!(!window.contains(of(1), 1) && window.contains(of(2), 1));
        assert_eq!(window.forgotten(), 1);
    }

    #[test]
    fn expired_ids_leave_no_memory_behind() {
        let mut window = Window::new(LENGTH, 1_000_000);
        for id in 0..10_000 {
            let at = i64::try_from(id).unwrap();
            window.insert(of(id), at, at);
        }
        let shard = &window.shards[0];
        assert!(shard.order.len() <= 101 && shard.received_at.len() == shard.order.len());
        assert_eq!(window.forgotten(), 0);
    }

    #[test]
    fn an_id_that_came_again_outlives_its_first_entry() {
        let mut window = Window::new(LENGTH, 1_000_000);
        window.insert(of(1), 0, 0);
        window.insert(of(1), LENGTH, LENGTH);
        window.insert(of(2), LENGTH + 1, LENGTH + 1);
        assert!(window.contains(of(1), LENGTH + 1));
    }
}
