//! The rows that an epoch changed, by the hash of their key, and the pairs that are to be looked at for them.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;

use super::index::Index;
use crate::{
    limits::ADVANCE_ROWS,
    operator::{
        net_rows::BY_ITSELF,
        rows::RowId,
        sided::{LEFT, RIGHT},
    },
};

/// The rows of a side whose number changed.
pub(super) struct Changed {
    /// As they arrive, without kinds.
    pub(super) rows: RecordBatch,
    pub(super) times: Vec<i64>,
    /// The hash of each key; `None` for one that equals nothing.
    pub(super) hashes: Vec<Option<u64>>,
    pub(super) row_hashes: Vec<Option<u64>>,
    /// How often each was there, and is.
    pub(super) before: Vec<i64>,
    pub(super) after: Vec<i64>,
    /// The kept row that each is; nobody if it is new.
    pub(super) ids: Vec<RowId>,
    /// How many partners each had, and what the epoch adds.
    pub(super) known: Vec<i64>,
    pub(super) found: Vec<Found>,
}

impl Changed {
    pub(super) fn new(rows: &RecordBatch) -> Self {
        Self {
            rows: rows.slice(0, 0),
            times: Vec::new(),
            hashes: Vec::new(),
            row_hashes: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            ids: Vec::new(),
            known: Vec::new(),
            found: Vec::new(),
        }
    }
}

/// Partners that an epoch added to a row, less those that went, and the earliest time of a pair that was added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) partners: i64,
    pub(super) since: i64,
}

impl Found {
    pub(super) const NOBODY: Self = Self { partners: 0, since: i64::MAX };

    pub(super) fn add(&mut self, partners: i64, time: i64) {
        self.partners = self.partners.saturating_add(partners);
        if partners > 0 {
            self.since = self.since.min(time);
        }
    }
}

/// An epoch that is over, and how far it was worked off.
pub(super) struct Epoch {
    pub(super) changed: [Option<Changed>; 2],
    /// The kept rows among those.
    taken: HashSet<RowId>,
    /// For each side, the changed rows by group, and where each group begins.
    members: [Vec<u32>; 2],
    starts: [Vec<u32>; 2],
    /// The hash that the keys of each group have.
    hashes: Vec<u64>,
    /// The latest time of a changed row of each group.
    pub(super) latest: Vec<i64>,
    next: usize,
    open: Option<Open>,
    /// What was found for kept rows that did not change, of groups that are not finished.
    pub(super) found: HashMap<RowId, Found>,
}

/// A group of which some pairs were looked at.
struct Open {
    group: usize,
    /// The kept rows of each side that did not change.
    others: [Vec<RowId>; 2],
    pair: usize,
}

impl Open {
    /// How many pairs there are between changed rows and all others: of `changed` ones of each side.
    fn pairs(&self, changed: [usize; 2]) -> usize {
        let [left, right] = changed;
        let new = left.saturating_mul(right.saturating_add(self.others[RIGHT].len()));
        new.saturating_add(self.others[LEFT].len().saturating_mul(right))
    }
}

/// Pairs that are to be looked at, and groups of which all were then.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Two changed rows.
    pub(super) both: Pairs<u32, u32>,
    /// A changed left row and a kept right one.
    pub(super) left: Pairs<u32, RowId>,
    /// A kept left row and a changed right one.
    pub(super) right: Pairs<RowId, u32>,
    /// For each group its number, its kept rows that did not change, and what its changes are called.
    pub(super) finished: Vec<Finished>,
}

/// A group whose pairs are all there.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) group: usize,
    pub(super) others: [Vec<RowId>; 2],
    pub(super) name: u32,
}

/// Rows of the left and the right side, and the names of their groups.
#[derive(Debug)]
pub(super) struct Pairs<L, R> {
    pub(super) left: Vec<L>,
    pub(super) right: Vec<R>,
    pub(super) names: Vec<u32>,
}

impl<L, R> Default for Pairs<L, R> {
    fn default() -> Self {
        Self { left: Vec::new(), right: Vec::new(), names: Vec::new() }
    }
}

impl<L, R> Pairs<L, R> {
    fn push(&mut self, left: L, right: R, name: u32) {
        self.left.push(left);
        self.right.push(right);
        self.names.push(name);
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

impl Epoch {
    pub(super) fn new(changed: [Option<Changed>; 2]) -> Self {
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let (mut hashes, mut latest) = (Vec::new(), Vec::new());
        let mut group_of: [Vec<Option<u32>>; 2] = [Vec::new(), Vec::new()];
        let mut taken = HashSet::new();
        for (side, changed) in changed.iter().enumerate() {
            let Some(changed) = changed else { continue };
            taken.extend(changed.ids.iter().filter(|id| **id != RowId::NOBODY));
            for (hash, &time) in changed.hashes.iter().zip(&changed.times) {
                group_of[side].push(hash.map(|hash| {
                    let group = *numbers.entry(hash).or_insert(hashes.len() as u32);
                    if group as usize == hashes.len() {
                        hashes.push(hash);
                        latest.push(time);
                    }
                    latest[group as usize] = latest[group as usize].max(time);
                    group
                }));
            }
        }
        let sorted = group_of.map(|groups| by_group(&groups, hashes.len()));
        let [(left, left_starts), (right, right_starts)] = sorted;
        Self {
            changed,
            taken,
            members: [left, right],
            starts: [left_starts, right_starts],
            hashes,
            latest,
            next: 0,
            open: None,
            found: HashMap::new(),
        }
    }

    /// The changed rows of a side in a group.
    pub(super) fn members(&self, side: usize, group: usize) -> &[u32] {
        let starts = &self.starts[side];
        &self.members[side][starts[group] as usize..starts[group + 1] as usize]
    }

    /// Whether every pair was given to somebody.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_none() && self.next >= self.hashes.len()
    }

    /// Opens a group. Kept rows that did not change only matter to changed ones of the other side.
    fn open(&self, group: usize, index: &Index) -> Open {
        let others = [LEFT, RIGHT].map(|side| {
            if self.members(1 - side, group).is_empty() {
                return Vec::new();
            }
            let kept = index.with_hash(side, self.hashes[group]);
            kept.filter(|id| !self.taken.contains(id)).collect()
        });
        Open { group, others, pair: 0 }
    }

    /// The next pairs. Groups that have no more than a chunk does are whole; the changes of larger ones are no updates, so that it does not
    /// matter where they are cut.
    pub(super) fn next_chunk(&mut self, index: &Index) -> Chunk {
        let (mut chunk, mut count) = (Chunk::default(), 0);
        while count < ADVANCE_ROWS {
            let mut open = match self.open.take() {
                Some(open) => open,
                None if self.next < self.hashes.len() => {
                    self.next += 1;
                    self.open(self.next - 1, index)
                }
                None => break,
            };
            let members = [LEFT, RIGHT].map(|side| self.members(side, open.group).len());
            let pairs = open.pairs(members);
            let is_large = pairs > ADVANCE_ROWS;
            if !is_large && count > 0 && count + pairs > ADVANCE_ROWS {
                self.open = Some(open);
                break;
            }
            let name = if is_large { BY_ITSELF } else { open.group as u32 };
            let until = pairs.min(open.pair + (ADVANCE_ROWS - count));
            count += until - open.pair + members[LEFT] + members[RIGHT];
            self.add_pairs(&mut chunk, &open, until, name);
            open.pair = until;
            if until < pairs {
                self.open = Some(open);
                break;
            }
            chunk.finished.push(Finished { group: open.group, others: open.others, name });
        }
        chunk
    }

    fn add_pairs(&self, chunk: &mut Chunk, open: &Open, until: usize, name: u32) {
        let (left, right) = (self.members(LEFT, open.group), self.members(RIGHT, open.group));
        let all_right = right.len() + open.others[RIGHT].len();
        let new = left.len() * all_right;
        for pair in open.pair..until {
            if pair < new {
                let (row, partner) = (left[pair / all_right], pair % all_right);
                match right.get(partner) {
                    Some(partner) => chunk.both.push(row, *partner, name),
                    None => {
                        let partner = open.others[RIGHT][partner - right.len()];
                        chunk.left.push(row, partner, name);
                    }
                }
            } else {
                let pair = pair - new;
                let row = open.others[LEFT][pair / right.len()];
                chunk.right.push(row, right[pair % right.len()], name);
            }
        }
    }
}

/// The rows of each group one after the other, in their order, and where each group begins.
fn by_group(groups: &[Option<u32>], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; count + 1];
    for group in groups.iter().flatten() {
        starts[*group as usize + 1] += 1;
    }
    for group in 0..count {
        starts[group + 1] += starts[group];
    }
    let mut next = starts.clone();
    let mut members = vec![0; starts[count] as usize];
    for (row, group) in (0_u32..).zip(groups) {
        let Some(group) = group else { continue };
        members[next[*group as usize] as usize] = row;
        next[*group as usize] += 1;
    }
    (members, starts)
}
