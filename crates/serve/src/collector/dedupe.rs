//! The memory of message ids: which events were already accepted, or are on their way into the
//! log right now.
//!
//! An id is *claimed* by the request that brings it first, and *settled* when that request's
//! events are durable. Whoever brings the id in between waits for the outcome: it must not be told
//! `duplicate` of an event that a failing disk then loses. A claim that is dropped without being
//! settled frees its ids.

mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use postrider_core::WorkspaceId;
use postrider_store::KeyRole;
use tokio::sync::watch;
pub(super) use window::{Key, Window};

/// See the module.
pub(super) struct Dedupe {
    state: Mutex<State>,
}

struct State {
    settled: Window,
    claimed: HashMap<Key, watch::Receiver<bool>>,
}

impl Key {
    /// The key of a message id, which is known only within its stream and among the keys of one role: anybody can
    /// read a browser's key, and must not make a server's event look like a duplicate.
    pub(super) fn of(
        workspace: WorkspaceId,
        stream: &str,
        role: KeyRole,
        message_id: &str,
    ) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 message id");
        hasher.update(&workspace.0.to_le_bytes());
        hasher.update(&(stream.len() as u64).to_le_bytes()).update(stream.as_bytes());
        hasher.update(&(role as i32).to_le_bytes());
        hasher.update(message_id.as_bytes());
        let hash = hasher.finalize();
        let (high, low) = hash.as_bytes().split_at(8);
        Self(read_u64(high), read_u64(low))
    }
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Dedupe {
    pub(super) fn new(settled: Window) -> Self {
        Self { state: Mutex::new(State { settled, claimed: HashMap::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way and leave the maps contradicting each other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims every key that is not known. Keys that stand in `keys` twice are new once.
    pub(super) fn claim(self: &Arc<Self>, keys: &[Option<Key>], now: i64) -> Claim {
        let (outcome, pending) = watch::channel(false);
        let mut claim = Claim {
            dedupe: Arc::clone(self),
            is_new: Vec::with_capacity(keys.len()),
            keys: Vec::with_capacity(keys.len()),
            waits: Vec::new(),
            received_at: now,
            outcome,
        };
        let mut state = self.state();
        for key in keys {
            let is_new = match key {
                None => true,
                Some(key) => match state.claimed.get(key) {
                    Some(other) => {
                        let is_own = other.same_channel(&pending);
                        let is_known = claim.waits.last().is_some_and(|it| it.same_channel(other));
                        if !is_own && !is_known {
                            claim.waits.push(other.clone());
                        }
                        false
                    }
                    None if state.settled.contains(*key, now) => false,
                    None => {
                        state.claimed.insert(*key, pending.clone());
                        claim.keys.push(*key);
                        true
                    }
                },
            };
            claim.is_new.push(is_new);
        }
        drop(state);
        claim
    }

    /// All claims of now.
    pub(super) fn claims(&self) -> Others {
        Others(self.state().claimed.values().cloned().collect())
    }

    /// The ids of one part of the memory that are not expired at `now`.
    pub(super) fn ids(&self, shard: usize, now: i64) -> Vec<(Key, i64)> {
        self.state().settled.ids(shard, now)
    }

    /// Ids that were forgotten before their time because there were too many.
    pub(super) fn forgotten(&self) -> u64 {
        self.state().settled.forgotten()
    }
}

/// The ids that one request brought first.
pub(super) struct Claim {
    dedupe: Arc<Dedupe>,
    /// For each key: whether its event is to be stored.
    is_new: Vec<bool>,
    keys: Vec<Key>,
    waits: Vec<watch::Receiver<bool>>,
    received_at: i64,
    outcome: watch::Sender<bool>,
}

impl Claim {
    /// For each key that was asked for: whether its event is to be stored.
    pub(super) fn is_new(&self) -> &[bool] {
        &self.is_new
    }

    /// The claimed events are durable. Returns the claims of others that this request's
    /// duplicates depend on.
    pub(super) fn settle(mut self) -> Others {
        {
            let mut state = self.dedupe.state();
            for key in std::mem::take(&mut self.keys) {
                state.claimed.remove(&key);
                state.settled.insert(key, self.received_at, self.received_at);
            }
        }
        self.outcome.send_replace(true);
        Others(std::mem::take(&mut self.waits))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            let mut state = self.dedupe.state();
            for key in &self.keys {
                state.claimed.remove(key);
            }
        }
    }
}

/// Claims of other requests.
pub(super) struct Others(Vec<watch::Receiver<bool>>);

impl Others {
    /// Waits until each of them is settled, or has failed.
    pub(super) async fn ended(self) {
        for mut other in self.0 {
            other.wait_for(|settled| *settled).await.ok();
        }
    }

    /// Waits for them; `false` if one failed.
    pub(super) async fn settled(self) -> bool {
        for mut other in self.0 {
            if other.wait_for(|settled| *settled).await.is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
