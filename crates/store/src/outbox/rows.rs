//! Sealed trigger rows.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use postrider_core::{Epoch, WorkspaceId};

use super::names::{RowKey, TriggerId};
use crate::limits::DOUBTFUL_ROWS_BYTES_MAX;

/// Rows of one action sink that their epoch's seal has released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedTriggers {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The pipeline's name.
    pub pipeline: String,
    /// The action sink's name.
    pub sink: String,
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the first of these rows among all rows of the sink and epoch: an epoch with many rows
    /// has several of these.
    pub first_row: u32,
    /// How many rows there are.
    pub count: u32,
    /// When the event or tick that moved the watermark came in (wall clock); 0 if none did.
    pub moved_at: i64,
    /// The clock of the epoch.
    pub clock: i64,
    /// How often the pipeline was told to fire again for what it had fired for.
    pub fire_series: u32,
    /// The rows: an Arrow IPC stream of one batch.
    pub rows: Bytes,
    /// The epoch had been sealed before. These rows repeat known ones: nothing may be done with them, and
    /// they are not counted.
    pub replayed: bool,
}

/// Sealed rows, some of which are undecided.
#[derive(Debug, Clone)]
pub struct PendingRows<'a> {
    /// The rows.
    pub triggers: &'a SealedTriggers,
    /// Which of them are undecided: numbers among all rows of the sink and epoch, as in [`crate::RowRef::row`].
    pub undecided: Vec<u32>,
}

/// How far a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    /// No intent and no decision names it.
    Undecided,
    /// It was tried, and another attempt may follow.
    Open,
    /// It was tried, and nobody knows whether it was delivered. Another attempt may follow, and often does not.
    Doubtful,
    /// Nothing will be done with it any more.
    Done,
}

/// All sealed rows that something may still be done with. Clones share the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenRows {
    /// By the key of the first row.
    sets: BTreeMap<RowKey, Arc<RowSet>>,
    /// Sets of which nothing but doubtful rows is left, in the order in which that came about.
    doubtful: BTreeMap<u64, RowKey>,
    /// The bytes of their rows.
    doubtful_bytes: usize,
}

/// Rows that were sealed together. They are kept as long as one of them is not done.
#[derive(Debug, Clone)]
pub(super) struct RowSet {
    pub(super) triggers: SealedTriggers,
    pub(super) states: Vec<RowState>,
    /// Its number among the doubtful sets, if it is one.
    pub(super) doubtful: Option<u64>,
    undecided: u32,
    open: u32,
    in_doubt: u32,
}

impl RowSet {
    /// Rows in these states.
    pub(super) fn new(
        triggers: SealedTriggers,
        states: Vec<RowState>,
        doubtful: Option<u64>,
    ) -> Self {
        // A set has at most `count: u32` rows.
        let count = |wanted| states.iter().filter(|state| **state == wanted).count() as u32;
        let (undecided, open) = (count(RowState::Undecided), count(RowState::Open));
        let in_doubt = count(RowState::Doubtful);
        Self { triggers, states, doubtful, undecided, open, in_doubt }
    }

    /// How many rows are undecided.
    pub(super) const fn undecided(&self) -> u32 {
        self.undecided
    }

    /// Changes the state of a row, if it is in one of these.
    fn change(&mut self, row: u32, from: &[RowState], to: RowState) -> bool {
        let state = self.states.get_mut((row - self.triggers.first_row) as usize);
        let Some(state) = state.filter(|state| from.contains(state)) else { return false };
        let was = std::mem::replace(state, to);
        self.count(was, -1);
        self.count(to, 1);
        true
    }

    const fn count(&mut self, state: RowState, change: i32) {
        let count = match state {
            RowState::Undecided => &mut self.undecided,
            RowState::Open => &mut self.open,
            RowState::Doubtful => &mut self.in_doubt,
            RowState::Done => return,
        };
        *count = count.saturating_add_signed(change);
    }

    fn pending(&self) -> PendingRows<'_> {
        let numbers = (self.triggers.first_row..).zip(&self.states);
        let undecided =
            numbers.filter(|(_, state)| **state == RowState::Undecided).map(|(row, _)| row);
        PendingRows { undecided: undecided.collect(), triggers: &self.triggers }
    }
}

impl OpenRows {
    /// Adds rows that were just sealed.
    pub(super) fn add(&mut self, trigger: TriggerId, triggers: &SealedTriggers) {
        let states = vec![RowState::Undecided; triggers.count as usize];
        self.restore(trigger, RowSet::new(triggers.clone(), states, None));
    }

    /// Adds rows in the states that they had.
    pub(super) fn restore(&mut self, trigger: TriggerId, set: RowSet) {
        let (epoch, row) = (set.triggers.epoch.0, set.triggers.first_row);
        let key = RowKey { trigger, epoch, row };
        if let Some(number) = set.doubtful {
            self.doubtful.insert(number, key);
            self.doubtful_bytes += set.triggers.rows.len();
        }
        if set.undecided + set.open + set.in_doubt > 0 {
            self.sets.insert(key, Arc::new(set));
        }
    }

    /// Takes a decision about a row. An error if it is not undecided.
    pub(super) fn decide(&mut self, row: RowKey, state: RowState) -> Result<(), String> {
        if self.change(row, &[RowState::Undecided], state) {
            return Ok(());
        }
        Err(format!(
            "trigger row {} of epoch {} is not sealed, or was decided before",
            row.row, row.epoch
        ))
    }

    /// The send of a row got into another state. A row that was done, or let go, stays so.
    pub(super) fn follow(&mut self, row: RowKey, state: RowState) {
        self.change(row, &[RowState::Open, RowState::Doubtful], state);
    }

    /// The rows that were sealed together with this one, if it is not done.
    pub(super) fn find(&self, row: RowKey) -> Option<&SealedTriggers> {
        let set = &self.sets.get(&self.first(row)?)?;
        let state = set.states.get((row.row - set.triggers.first_row) as usize)?;
        (*state != RowState::Done).then_some(&set.triggers)
    }

    /// The undecided rows, each sink's in the order of their epochs.
    pub(super) fn pending(&self) -> impl Iterator<Item = PendingRows<'_>> {
        self.sets.values().filter(|set| set.undecided > 0).map(|set| set.pending())
    }

    /// All rows that are kept, in order.
    pub(super) fn sets(&self) -> impl Iterator<Item = (TriggerId, &RowSet)> {
        self.sets.iter().map(|(key, set)| (key.trigger, &**set))
    }

    /// The key of the set that holds this row, if there is one.
    fn first(&self, row: RowKey) -> Option<RowKey> {
        let (first, _) = self.sets.range(..=row).next_back()?;
        (first.trigger == row.trigger && first.epoch == row.epoch).then_some(*first)
    }

    fn change(&mut self, row: RowKey, from: &[RowState], to: RowState) -> bool {
        let Some(first) = self.first(row) else { return false };
        let Some(set) = self.sets.get_mut(&first).map(Arc::make_mut) else { return false };
        if !set.change(row.row, from, to) {
            return false;
        }
        let is_doubtful = set.undecided + set.open == 0;
        let (bytes, is_done) = (set.triggers.rows.len(), is_doubtful && set.in_doubt == 0);
        match set.doubtful {
            Some(number) if !is_doubtful || is_done => {
                set.doubtful = None;
                self.doubtful.remove(&number);
                self.doubtful_bytes -= bytes;
            }
            None if is_doubtful && !is_done => {
                let number = self.doubtful.last_key_value().map_or(0, |(newest, _)| newest + 1);
                set.doubtful = Some(number);
                self.doubtful.insert(number, first);
                self.doubtful_bytes += bytes;
            }
            _ => {}
        }
        if is_done {
            self.sets.remove(&first);
        }
        self.let_go();
        true
    }

    /// Drops the oldest of too many doubtful rows. Their sends stay in doubt for good.
    fn let_go(&mut self) {
        while self.doubtful_bytes > DOUBTFUL_ROWS_BYTES_MAX
            && let Some((_, oldest)) = self.doubtful.pop_first()
        {
            let dropped = self.sets.remove(&oldest);
            self.doubtful_bytes -= dropped.map_or(0, |set| set.triggers.rows.len());
        }
    }
}
