//! The life of a send.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use postrider_core::{Epoch, Generation, SendId, SubjectId, WorkspaceId};

use super::{Counts, names::RowKey, rows::RowState};
use crate::{ResultRecord, SendOutcome, limits::SEND_SHARDS};

/// What became of a send so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendState {
    /// The provider may be called, or is being called, by the running process.
    Intended {
        /// The number of the attempt.
        attempt: u32,
        /// The process that does it.
        generation: Generation,
    },
    /// The provider has taken the message over.
    Accepted,
    /// The provider refused it for good.
    Rejected,
    /// Certainly not taken over; to be tried again.
    Retry {
        /// The number of the attempt that failed.
        attempt: u32,
    },
    /// Nobody knows whether the provider took it over.
    InDoubt {
        /// The number of the attempt.
        attempt: u32,
    },
    /// Decided against.
    NotSent {
        /// A stable word.
        reason: Arc<str>,
    },
}

/// A send, and the trigger row that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct SendEntry<'a> {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The action sink's name.
    pub sink: &'a str,
    /// The epoch of the row.
    pub epoch: Epoch,
    /// The number of the row, as in [`crate::RowRef::row`].
    pub row: u32,
    /// What became of it so far.
    pub state: &'a SendState,
}

/// A send as it is kept.
#[derive(Debug, Clone)]
pub(super) struct StoredSend {
    pub(super) row: RowKey,
    pub(super) state: SendState,
}

impl StoredSend {
    /// Whether this attempt may begin.
    pub(super) fn may_be_tried(&self, attempt: u32) -> Result<(), String> {
        match &self.state {
            SendState::Intended { attempt: last, .. }
            | SendState::Retry { attempt: last }
            | SendState::InDoubt { attempt: last }
                if attempt > *last =>
            {
                Ok(())
            }
            state => Err(format!("attempt {attempt} can't follow {state:?}")),
        }
    }

    /// What its state means for its row.
    pub(super) const fn row_state(&self) -> RowState {
        match self.state {
            SendState::Intended { .. } | SendState::Retry { .. } => RowState::Open,
            SendState::InDoubt { .. } => RowState::Doubtful,
            SendState::Accepted | SendState::Rejected | SendState::NotSent { .. } => RowState::Done,
        }
    }

    /// Whether it may be decided not to go on with this send: only while it certainly was not taken over. A decision about one
    /// that may have been would hide the doubt and free its key for a second mail.
    pub(super) fn may_be_dropped(&self) -> Result<(), String> {
        match &self.state {
            SendState::Retry { .. } => Ok(()),
            state => Err(format!("a decision can't follow {state:?}")),
        }
    }
}

/// Sends whose ids begin with the same bits.
type Shard = HashMap<SendId, StoredSend>;

/// All sends. Clones share the shards, and copy one when it changes: a snapshot can be written while the original goes on.
#[derive(Debug, Clone)]
pub(super) struct Sends {
    shards: Vec<Arc<Shard>>,
    open_intents: HashSet<SendId>,
    /// Whom the intents are about that no result was written for, whichever process has it to answer for.
    unanswered: HashMap<SendId, SubjectId>,
    reasons: HashSet<Arc<str>>,
}

impl Default for Sends {
    fn default() -> Self {
        Self {
            shards: vec![Arc::default(); SEND_SHARDS],
            open_intents: HashSet::new(),
            unanswered: HashMap::new(),
            reasons: HashSet::new(),
        }
    }
}

/// The shard of a send: by the first bits of its id, which is a hash.
fn shard_of(send: SendId) -> usize {
    (usize::from(u16::from_be_bytes([send.0[0], send.0[1]])) * SEND_SHARDS) >> 16
}

impl Sends {
    pub(super) fn get(&self, send: SendId) -> Option<&StoredSend> {
        self.shards.get(shard_of(send))?.get(&send)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SendId, &StoredSend)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|(send, stored)| (*send, stored))
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// All reasons, in no order.
    pub(super) fn reasons(&self) -> Vec<Arc<str>> {
        self.reasons.iter().cloned().collect()
    }

    /// The shards. The ids of one are all before those of the next.
    pub(super) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    fn shard(&mut self, send: SendId) -> Option<&mut Shard> {
        self.shards.get_mut(shard_of(send)).map(Arc::make_mut)
    }

    /// Intents that no result was written for, and whom they are about.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (SendId, SubjectId)> {
        self.unanswered.iter().map(|(send, subject)| (*send, *subject))
    }

    /// An intent was written.
    pub(super) fn ask(&mut self, send: SendId, subject: SubjectId) {
        self.unanswered.insert(send, subject);
    }

    /// A reason, kept once however many sends have it.
    pub(super) fn reason(&mut self, reason: &str) -> Arc<str> {
        if let Some(known) = self.reasons.get(reason) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(reason);
        self.reasons.insert(Arc::clone(&new));
        new
    }

    /// Begins a send, or takes over the id of one that was decided against.
    pub(super) fn insert(&mut self, send: SendId, row: RowKey, state: SendState) {
        self.note_intent(send, &state);
        if let Some(shard) = self.shard(send) {
            shard.insert(send, StoredSend { row, state });
        }
    }

    /// Changes the state of a send.
    pub(super) fn change(
        &mut self,
        send: SendId,
        state: SendState,
        counts: &mut Counts,
    ) -> Result<(), String> {
        self.note_intent(send, &state);
        let stored = self.shard(send).and_then(|shard| shard.get_mut(&send));
        let stored = stored.ok_or_else(|| format!("send {send} is unknown"))?;
        counts.leave(&stored.state);
        counts.enter(&state);
        stored.state = state;
        Ok(())
    }

    /// A new process writes: nobody will ever write the results of the open intents of the one before it.
    /// Returns the rows that are in doubt now.
    pub(super) fn take_over(&mut self, counts: &mut Counts) -> Vec<RowKey> {
        let mut rows = Vec::new();
        for send in std::mem::take(&mut self.open_intents) {
            if let Some(stored) = self.shard(send).and_then(|shard| shard.get_mut(&send))
                && let SendState::Intended { attempt, .. } = stored.state
            {
                counts.leave(&stored.state);
                stored.state = SendState::InDoubt { attempt };
                counts.enter(&stored.state);
                rows.push(stored.row);
            }
        }
        // Their order decides which are let go first.
        rows.sort_unstable();
        rows
    }

    /// Applies a result. A late result of an earlier attempt, or one for a send that has ended, changes nothing,
    /// with one exception: "accepted" is a fact, whatever was thought before.
    pub(super) fn result(
        &mut self,
        record: &ResultRecord,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let (send, attempt) = (record.send(), record.attempt);
        let stored = self.get(send).ok_or_else(|| format!("send {send} has no intent"))?;
        let newest = match &stored.state {
            SendState::Intended { attempt, .. }
            | SendState::Retry { attempt }
            | SendState::InDoubt { attempt } => Some(*attempt),
            SendState::Accepted | SendState::Rejected | SendState::NotSent { .. } => None,
        };
        self.unanswered.remove(&send);
        let counts_now = newest.is_some_and(|newest| attempt >= newest);
        let state = match record.outcome() {
            SendOutcome::Accepted => SendState::Accepted,
            SendOutcome::Rejected if counts_now => SendState::Rejected,
            SendOutcome::Retry if counts_now => SendState::Retry { attempt },
            SendOutcome::InDoubt if counts_now => SendState::InDoubt { attempt },
            _ => return Ok(()),
        };
        self.change(send, state, counts)
    }

    fn note_intent(&mut self, send: SendId, state: &SendState) {
        if matches!(state, SendState::Intended { .. }) {
            self.open_intents.insert(send);
        } else {
            self.open_intents.remove(&send);
        }
    }
}
