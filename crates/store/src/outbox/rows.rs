//! Sealed trigger rows.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use postrider_core::{Epoch, WorkspaceId};

use super::names::{RowKey, TriggerId};

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
    /// Nothing will be done with it any more.
    Done,
}

/// All sealed rows that something may still be done with. Clones share the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenRows {
    /// By the key of the first row.
    sets: BTreeMap<RowKey, Arc<RowSet>>,
}

/// Rows that were sealed together. They are kept as long as one of them is not done.
#[derive(Debug, Clone)]
pub(super) struct RowSet {
    pub(super) triggers: SealedTriggers,
    pub(super) states: Vec<RowState>,
    undecided: u32,
    open: u32,
}

impl RowSet {
    /// Rows in these states.
    pub(super) fn new(triggers: SealedTriggers, states: Vec<RowState>) -> Self {
        // A set has at most `count: u32` rows.
        let count = |wanted| states.iter().filter(|state| **state == wanted).count() as u32;
        let (undecided, open) = (count(RowState::Undecided), count(RowState::Open));
        Self { triggers, states, undecided, open }
    }

    /// How many rows are undecided.
    pub(super) const fn undecided(&self) -> u32 {
        self.undecided
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
        self.restore(trigger, RowSet::new(triggers.clone(), states));
    }

    /// Adds rows in the states that they had.
    pub(super) fn restore(&mut self, trigger: TriggerId, set: RowSet) {
        if set.undecided + set.open > 0 {
            let (epoch, row) = (set.triggers.epoch.0, set.triggers.first_row);
            self.sets.insert(RowKey { trigger, epoch, row }, Arc::new(set));
        }
    }

    /// Takes a decision about a row. An error if it is not undecided.
    pub(super) fn decide(&mut self, row: RowKey, state: RowState) -> Result<(), String> {
        if self.change(row, RowState::Undecided, state) {
            return Ok(());
        }
        Err(format!(
            "trigger row {} of epoch {} is not sealed, or was decided before",
            row.row, row.epoch
        ))
    }

    /// Nothing will be done any more with a row that was open.
    pub(super) fn finish(&mut self, row: RowKey) {
        // One that ended before, and turned out to be accepted, is not open.
        self.change(row, RowState::Open, RowState::Done);
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

    fn change(&mut self, row: RowKey, from: RowState, to: RowState) -> bool {
        let Some(first) = self.first(row) else { return false };
        let Some(set) = self.sets.get_mut(&first).map(Arc::make_mut) else { return false };
        match set.states.get_mut((row.row - first.row) as usize) {
            Some(state) if *state == from => *state = to,
            _ => return false,
        }
        for (state, step) in [(from, -1), (to, 1)] {
            match state {
                RowState::Undecided => set.undecided = set.undecided.saturating_add_signed(step),
                RowState::Open => set.open = set.open.saturating_add_signed(step),
                RowState::Done => {}
            }
        }
        if set.undecided + set.open == 0 {
            self.sets.remove(&first);
        }
        true
    }
}
