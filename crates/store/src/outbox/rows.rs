//! Sealed trigger rows.

use std::collections::BTreeMap;

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

/// All sealed rows that are undecided.
#[derive(Debug, Default)]
pub(super) struct UndecidedRows {
    /// By the key of the first row.
    sets: BTreeMap<RowKey, RowSet>,
}

#[derive(Debug)]
struct RowSet {
    triggers: SealedTriggers,
    decided: Vec<bool>,
    undecided: u32,
}

impl UndecidedRows {
    /// Adds rows that were just sealed.
    pub(super) fn add(&mut self, trigger: TriggerId, triggers: &SealedTriggers) {
        if triggers.count == 0 {
            return;
        }
        let key = RowKey { trigger, epoch: triggers.epoch.0, row: triggers.first_row };
        let decided = vec![false; triggers.count as usize];
        let set = RowSet { triggers: triggers.clone(), decided, undecided: triggers.count };
        self.sets.insert(key, set);
    }

    /// Takes a row out. An error if it is not undecided.
    pub(super) fn decide(&mut self, row: RowKey) -> Result<(), String> {
        let set = self
            .sets
            .range_mut(..=row)
            .next_back()
            .filter(|(first, _)| first.trigger == row.trigger && first.epoch == row.epoch);
        let slot = set.and_then(|(first, set)| {
            let slot = set.decided.get_mut((row.row - first.row) as usize)?;
            Some((*first, slot, &mut set.undecided))
        });
        match slot {
            Some((first, decided, undecided)) if !*decided => {
                *decided = true;
                *undecided -= 1;
                if *undecided == 0 {
                    self.sets.remove(&first);
                }
                Ok(())
            }
            _ => Err(format!(
                "trigger row {} of epoch {} is not sealed, or was decided before",
                row.row, row.epoch
            )),
        }
    }

    /// The rows, each sink's in the order of their epochs.
    pub(super) fn iter(&self) -> impl Iterator<Item = PendingRows<'_>> {
        self.sets.iter().map(|(first, set)| {
            let numbers = (first.row..).zip(&set.decided);
            let undecided = numbers.filter(|(_, decided)| !**decided).map(|(row, _)| row).collect();
            PendingRows { triggers: &set.triggers, undecided }
        })
    }
}
