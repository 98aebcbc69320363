//! Partial states of sessions, as Arrow rows.

mod settled;

use std::collections::BTreeMap;

use arrow::{
    array::{ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array},
    compute::{concat, take},
};
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::table::{Session, SessionId};
use crate::{
    limits::SESSION_COMPACT_ROWS,
    operator::aggregate::{AggregateSpec, States},
};

/// One row of partial state. Stores are numbered in the order they were written, so parts sort
/// in the order of their rows' arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) store: u64,
    pub(super) row: u32,
}

struct Store {
    states: States,
    rows: usize,
    live: usize,
    /// What a snapshot made of it.
    settled: Option<Settled>,
}

/// A store that is a part of snapshots: its rows stay where they are.
struct Settled {
    /// The snapshot that wrote it.
    part: u64,
    /// The session of each row.
    owners: Vec<SessionId>,
    /// Rows that no session refers to any more.
    dead: BooleanBufferBuilder,
}

/// All partial states of one shard.
pub(super) struct PartStore {
    spec: AggregateSpec,
    stores: BTreeMap<u64, Store>,
    next: u64,
    /// Rows in stores that are not settled.
    rows: usize,
    /// Those of them that a session refers to.
    live: usize,
}

impl PartStore {
    pub(super) fn new(spec: AggregateSpec) -> Self {
        Self { spec, stores: BTreeMap::new(), next: 0, rows: 0, live: 0 }
    }

    /// The number of the store that the next [`add`](Self::add) or [`fold`](Self::fold) makes.
    pub(super) fn next_store(&self) -> u64 {
        self.next
    }

    /// Aggregates the rows of a batch: row `i` belongs to group `groups[i]`, which becomes row
    /// `groups[i]` of the new store.
    pub(super) fn add(&mut self, rows: &RecordBatch, groups: &[usize], count: usize) -> Result<()> {
        let mut accumulators = self.spec.accumulators()?;
        self.spec.update(&mut accumulators, rows, groups, count)?;
        let states = take_states(&mut accumulators)?;
        self.insert(states, count);
        Ok(())
    }

    /// Merges each list of parts into one row of a new store, in the order of the lists.
    pub(super) fn fold(&mut self, lists: &[Vec<Part>]) -> Result<u64> {
        let states = self.fold_states(lists)?;
        self.insert(states, lists.len());
        Ok(self.next - 1)
    }

    /// The final values of each list of parts, in the order of the lists.
    pub(super) fn evaluate(&mut self, lists: &[Vec<Part>]) -> Result<Vec<ArrayRef>> {
        let (mut accumulators, groups) = self.merge(lists)?;
        let values = accumulators.iter_mut().map(|accumulator| {
            let values = accumulator.evaluate(EmitTo::All)?;
            take(&values, &groups, None).map_err(DataFusionError::from)
        });
        values.collect()
    }

    /// Whether most of what is stored, but not settled, is dead.
    pub(super) fn wants_compaction(&self) -> bool {
        mostly_dead(self.rows, self.live)
    }

    /// Rewrites the live rows that are not settled into one store, keeping the order of each session's parts.
    pub(super) fn compact<'a>(
        &mut self,
        sessions: impl Iterator<Item = &'a mut Session>,
    ) -> Result<()> {
        let mut owners: Vec<(Part, &mut Part)> = sessions
            .flat_map(|session| session.parts.iter_mut())
            .filter(|part| self.stores.get(&part.store).is_some_and(|s| s.settled.is_none()))
            .map(|part| (*part, part))
            .collect();
        owners.sort_unstable_by_key(|(part, _)| *part);
        let mut columns: Vec<States> = Vec::new();
        for (&number, store) in self.stores.iter().filter(|(_, store)| store.settled.is_none()) {
            let from = owners.partition_point(|(part, _)| part.store < number);
            let to = owners.partition_point(|(part, _)| part.store <= number);
            let rows = UInt32Array::from_iter_values(owners[from..to].iter().map(|(p, _)| p.row));
            columns.push(take_rows(&store.states, &rows)?);
        }
        let total = owners.len();
        let number = self.next;
        for (row, (_, part)) in (0_u32..).zip(owners) {
            *part = Part { store: number, row };
        }
        self.stores.retain(|_, store| store.settled.is_some());
        (self.rows, self.live) = (0, 0);
        let states = self.concat(&columns)?;
        self.insert(states, total);
        Ok(())
    }

    fn concat(&self, stores: &[States]) -> Result<States> {
        (0..self.spec.calls.len())
            .map(|call| {
                let width = stores.first().map_or(0, |store| store[call].len());
                (0..width)
                    .map(|column| {
                        let arrays: Vec<_> =
                            stores.iter().map(|store| store[call][column].as_ref()).collect();
                        concat(&arrays).map_err(DataFusionError::from)
                    })
                    .collect()
            })
            .collect()
    }

    fn insert(&mut self, states: States, rows: usize) {
        self.stores.insert(self.next, Store { states, rows, live: rows, settled: None });
        self.next += 1;
        self.rows += rows;
        self.live += rows;
    }

    /// Merges each list into one group and lets go of its parts. Returns the accumulators and the group of
    /// each list.
    ///
    /// Groups are numbered in the order in which they are met: an accumulator may take every group
    /// below the count it is given for seen (DataFusion's `NullState` does).
    fn merge(&mut self, lists: &[Vec<Part>]) -> Result<(Vec<Accumulator>, UInt32Array)> {
        let mut by_store: BTreeMap<u64, Vec<(u32, usize)>> = BTreeMap::new();
        for (list, parts) in lists.iter().enumerate() {
            for part in parts {
                by_store.entry(part.store).or_default().push((part.row, list));
            }
        }
        let mut accumulators = self.spec.accumulators()?;
        let mut group_of = vec![None; lists.len()];
        let mut count = 0;
        for (number, used) in by_store {
            let Some(store) = self.stores.get_mut(&number) else { continue };
            let mut groups = Vec::with_capacity(used.len());
            for &(_, list) in &used {
                let group = *group_of[list].get_or_insert_with(|| {
                    count += 1;
                    count - 1
                });
                groups.push(group);
            }
            let rows = UInt32Array::from_iter_values(used.iter().map(|(row, _)| *row));
            let states = take_rows(&store.states, &rows)?;
            for (accumulator, state) in accumulators.iter_mut().zip(&states) {
                accumulator.merge_batch(state, &groups, count)?;
            }
            store.live -= used.len();
            match &mut store.settled {
                Some(settled) => {
                    used.iter().for_each(|&(row, _)| settled.dead.set_bit(row as usize, true));
                }
                None => self.live -= used.len(),
            }
            if store.live == 0 {
                self.rows -= if store.settled.is_none() { store.rows } else { 0 };
                self.stores.remove(&number);
            }
        }
        let group = |group: Option<usize>| group.and_then(|group| u32::try_from(group).ok());
        Ok((accumulators, group_of.into_iter().map(group).collect()))
    }
}

/// Whether a store is worth rewriting.
fn mostly_dead(rows: usize, live: usize) -> bool {
    rows > SESSION_COMPACT_ROWS && rows > 2 * live
}

type Accumulator = Box<dyn GroupsAccumulator>;

fn take_states(accumulators: &mut [Accumulator]) -> Result<States> {
    accumulators.iter_mut().map(|accumulator| accumulator.state(EmitTo::All)).collect()
}

fn take_rows(states: &States, rows: &UInt32Array) -> Result<States> {
    let take_column = |column: &ArrayRef| take(column, rows, None).map_err(DataFusionError::from);
    states.iter().map(|state| state.iter().map(take_column).collect()).collect()
}
