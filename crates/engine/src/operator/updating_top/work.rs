//! Keys that an epoch touched, sorted anew, and what that changes.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array},
    compute::{concat_batches, take, take_record_batch},
    datatypes::Int64Type,
};
use datafusion::common::Result;
use hashbrown::HashTable;

use super::{OWN_COLUMNS, UpdatingTop, UpdatingTopSpec, columns_of};
use crate::{
    chain::new_batch,
    changes::{TAKES_BACK, kinds_of},
    limits::ADVANCE_ROWS,
    operator::{groups::Groups, net_rows::NetRows, rows::RowId},
};

/// The rows of an epoch by their key, and how far they were worked off.
pub(super) struct Epoch {
    /// Without kinds, those of a key one after the other.
    rows: RecordBatch,
    signs: Vec<i64>,
    /// Where the rows of each key begin, and the end of all.
    starts: Vec<usize>,
    /// The latest time of a row of each key.
    latest: Vec<i64>,
    /// Keys before are done.
    next: usize,
}

impl Epoch {
    pub(super) fn new(
        spec: &UpdatingTopSpec,
        groups: &Groups,
        rows: &RecordBatch,
        times: &[i64],
    ) -> Result<Self> {
        let keys = groups.encode(&rows.columns()[..spec.keys], rows.num_rows())?;
        let mut table: HashTable<u32> = HashTable::new();
        let (mut firsts, mut hashes, mut latest) = (Vec::<usize>::new(), Vec::new(), Vec::new());
        let mut key_of = Vec::with_capacity(times.len());
        for (row, &time) in times.iter().enumerate() {
            let key = keys.key(row);
            let is_it = |at: &u32| keys.row(firsts[*at as usize]) == key.row;
            let at = match table.find(key.hash, is_it) {
                Some(at) => *at,
                None => {
                    table.insert_unique(key.hash, firsts.len() as u32, |at| hashes[*at as usize]);
                    firsts.push(row);
                    hashes.push(key.hash);
                    latest.push(time);
                    firsts.len() as u32 - 1
                }
            };
            latest[at as usize] = time.max(latest[at as usize]);
            key_of.push(at);
        }
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_by_key(|row| key_of[*row as usize]);
        let mut starts = vec![0; firsts.len() + 1];
        for key in key_of {
            starts[key as usize + 1] += 1;
        }
        for key in 0..firsts.len() {
            starts[key + 1] += starts[key];
        }
        let sorted = take_record_batch(rows, &UInt32Array::from(order))?;
        let signs = if spec.takes_back {
            let kinds = kinds_of(sorted.column(sorted.num_columns() - 1)).values().iter();
            kinds.map(|kind| if kind & TAKES_BACK == TAKES_BACK { -1 } else { 1 }).collect()
        } else {
            vec![1; times.len()]
        };
        let columns = sorted.columns()[..spec.input.fields().len()].to_vec();
        let rows = new_batch(&spec.input, columns, times.len())?;
        Ok(Self { rows, signs, starts, latest, next: 0 })
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.latest.len()
    }
}

/// A row among the kept and the new ones of some keys: how often it was there and is, and who keeps it.
pub(super) struct Candidate {
    /// Its key.
    pub(super) key: usize,
    /// Where it is among all.
    pub(super) row: u32,
    pub(super) before: i64,
    pub(super) after: i64,
    /// The kept row that it is; nobody if it is new.
    pub(super) id: RowId,
}

/// The rows of some keys.
pub(super) struct Sorted {
    /// The first of those, among all of the epoch.
    pub(super) keys: Vec<usize>,
    /// Kept and new rows, as they arrive.
    pub(super) rows: RecordBatch,
    /// Each row once, by key and in its order.
    pub(super) candidates: Vec<Candidate>,
    /// The group of each key, if it is known.
    pub(super) groups: Vec<Option<u32>>,
}

impl UpdatingTop {
    /// Works off the next keys, about [`ADVANCE_ROWS`] rows. A key is never split: its rows were in memory before.
    pub(super) fn next_keys(&mut self, epoch: &mut Epoch) -> Result<NetRows> {
        let mut sorted = self.sorted(epoch)?;
        let net = self.changed(epoch, &sorted)?;
        if !self.spec.takes_back {
            self.cut(&mut sorted.candidates);
        }
        self.remember(&sorted)?;
        Ok(net)
    }

    /// Takes the next keys, and sorts their rows.
    fn sorted(&self, epoch: &mut Epoch) -> Result<Sorted> {
        let from = epoch.next;
        let (mut ids, mut owners, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let encoded =
            self.groups.encode(&epoch.rows.columns()[..self.spec.keys], epoch.rows.num_rows())?;
        let first = epoch.starts[from];
        while !epoch.is_done()
            && (epoch.next == from || epoch.starts[epoch.next] - first + ids.len() < ADVANCE_ROWS)
        {
            let group = self.groups.find(&encoded.key(epoch.starts[epoch.next]));
            if let Some(group) = group.and_then(|group| self.groups.get(group)) {
                ids.extend_from_slice(&group.bag);
                owners.resize(ids.len(), epoch.next - from);
            }
            groups.push(group);
            epoch.next += 1;
        }
        let count = epoch.starts[epoch.next] - first;
        let new = epoch.rows.slice(first, count);
        for key in from..epoch.next {
            let rows = epoch.starts[key + 1] - epoch.starts[key];
            owners.resize(owners.len() + rows, key - from);
        }
        let mut changes = vec![0; ids.len()];
        changes.extend_from_slice(&epoch.signs[first..first + count]);
        let (rows, mut before) = self.with_kept(&ids, &new)?;
        before.resize(owners.len(), 0);
        ids.resize(owners.len(), RowId::NOBODY);
        let candidates = self.candidates(&rows, &owners, &before, &changes, &ids)?;
        Ok(Sorted { keys: (from..epoch.next).collect(), rows, candidates, groups })
    }

    /// Kept rows and new ones, and how often each of the kept ones is there.
    fn with_kept(&self, ids: &[RowId], new: &RecordBatch) -> Result<(RecordBatch, Vec<i64>)> {
        if ids.is_empty() {
            return Ok((new.clone(), Vec::new()));
        }
        let kept = self.rows.gather(ids)?;
        let counts = kept.column(self.spec.keys + 1).as_primitive::<Int64Type>().values().to_vec();
        let mut columns = kept.columns().to_vec();
        columns.drain(self.spec.keys..self.spec.keys + OWN_COLUMNS);
        let kept = new_batch(&self.spec.input, columns, ids.len())?;
        Ok((concat_batches(&self.spec.input, [&kept, new])?, counts))
    }

    /// Each row once, by key and in its order.
    fn candidates(
        &self,
        rows: &RecordBatch,
        owners: &[usize],
        before: &[i64],
        changes: &[i64],
        ids: &[RowId],
    ) -> Result<Vec<Candidate>> {
        let width = self.spec.width();
        let ordered = if self.spec.order.is_empty() {
            None
        } else {
            Some(self.order.convert_columns(columns_of(rows, self.spec.keys, width))?)
        };
        let columns = self.columns.convert_columns(columns_of(rows, width, rows.num_columns()))?;
        let place = |row: u32| {
            let row = row as usize;
            (owners[row], ordered.as_ref().map(|order| order.row(row)), columns.row(row))
        };
        let mut order: Vec<u32> = (0..owners.len() as u32).collect();
        order.sort_by(|a, b| place(*a).cmp(&place(*b)));
        let mut candidates: Vec<Candidate> = Vec::with_capacity(order.len());
        for same in order.chunk_by(|a, b| place(*a) == place(*b)) {
            // Sorting is stable, so that a kept row comes first.
            let row = same[0];
            let was: i64 = same.iter().map(|row| before[*row as usize]).sum();
            let change: i64 = same.iter().map(|row| changes[*row as usize]).sum();
            candidates.push(Candidate {
                key: owners[row as usize],
                row,
                before: was,
                // What would be fewer than none was let go.
                after: was.saturating_add(change).max(0),
                id: ids[row as usize],
            });
        }
        Ok(candidates)
    }

    /// What came to the first rows of each key, and what went.
    fn changed(&self, epoch: &Epoch, sorted: &Sorted) -> Result<NetRows> {
        let mut found = Found::default();
        for key in sorted.candidates.chunk_by(|a, b| a.key == b.key) {
            found.time = epoch.latest[sorted.keys[key[0].key]];
            if self.spec.numbered {
                found.add_places(key, self.spec.limit);
            } else {
                found.add_rows(key, self.spec.limit);
            }
        }
        if found.rows.is_empty() {
            return Ok(found.net);
        }
        let rows = UInt32Array::from(found.rows);
        let columns = columns_of(&sorted.rows, self.spec.width(), sorted.rows.num_columns());
        let columns = columns.iter().map(|column| take(column, &rows, None));
        let mut columns: Vec<ArrayRef> = columns.collect::<std::result::Result<_, _>>()?;
        if self.spec.numbered {
            columns.push(Arc::new(UInt64Array::from(found.places)));
        }
        Ok(NetRows { columns, ..found.net })
    }

    /// Lets go what can't be among the first any more.
    fn cut(&self, candidates: &mut [Candidate]) {
        for key in candidates.chunk_by_mut(|a, b| a.key == b.key) {
            let mut left = i64::try_from(self.spec.limit).unwrap_or(i64::MAX);
            for candidate in key {
                candidate.after = candidate.after.min(left);
                left -= candidate.after;
            }
        }
    }
}

/// Changes in the making.
#[derive(Default)]
struct Found {
    net: NetRows,
    rows: Vec<u32>,
    places: Vec<u64>,
    /// How many groups of updates there are.
    groups: u32,
    /// The time of the changes of the current key.
    time: i64,
}

impl Found {
    fn push(&mut self, row: u32, count: i64, place: u64) {
        self.rows.push(row);
        self.places.push(place);
        self.net.counts.push(count);
        self.net.times.push(self.time);
        self.net.groups.push(self.groups);
    }

    /// Rows of a key that came among the first, or no longer are.
    fn add_rows(&mut self, key: &[Candidate], limit: u64) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (mut before, mut after) = (limit, limit);
        for candidate in key {
            let (was, is) = (candidate.before.min(before), candidate.after.min(after));
            (before, after) = (before - was, after - is);
            if was != is {
                self.push(candidate.row, is - was, 0);
            }
        }
        self.groups += 1;
    }

    /// The same, place by place.
    fn add_places(&mut self, key: &[Candidate], limit: u64) {
        let places = |count: fn(&Candidate) -> i64| {
            let rows = key.iter().flat_map(move |candidate| {
                std::iter::repeat_n(candidate.row, usize::try_from(count(candidate)).unwrap_or(0))
            });
            rows.take(usize::try_from(limit).unwrap_or(usize::MAX))
        };
        let mut before = places(|candidate| candidate.before);
        let mut after = places(|candidate| candidate.after);
        for place in 1.. {
            let (was, is) = (before.next(), after.next());
            if was.is_none() && is.is_none() {
                return;
            }
            if was != is {
                was.into_iter().for_each(|row| self.push(row, -1, place));
                is.into_iter().for_each(|row| self.push(row, 1, place));
                self.groups += 1;
            }
        }
    }
}
