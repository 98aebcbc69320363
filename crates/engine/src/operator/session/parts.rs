//! Partial states of sessions, as Arrow rows.

mod moving;
mod plan;
mod settled;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array},
    compute::{concat, take},
};
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::{EmitTo, GroupsAccumulator},
};

use self::moving::Moving;
pub(super) use self::plan::Plan;
use super::table::{SessionId, SessionTable};
use crate::{
    limits::SESSION_COMPACT_ROWS,
    operator::{
        Deferred,
        aggregate::{AggregateSpec, States},
    },
};

/// One row of partial state. Stores are numbered in the order they were written, so parts sort
/// in the order of their rows' arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) store: u64,
    pub(super) row: u32,
}

/// The rows of a store. They never change.
#[derive(Clone)]
struct Content {
    states: States,
    /// What only settled stores have: whole state rows, and the session of each.
    whole: Option<(RecordBatch, Arc<[SessionId]>)>,
}

struct Store {
    content: Arc<Deferred<Content>>,
    rows: usize,
    live: usize,
    /// What a snapshot made of it.
    settled: Option<Settled>,
}

/// What snapshots know of a store.
struct Settled {
    /// The part that it belongs to.
    part: u64,
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
    /// The stores that the rows of each part are in, and how many there are in each; those of which no row is left included.
    listed: BTreeMap<u64, Vec<(u64, usize)>>,
    /// Rows that the newest snapshot merges into one store.
    moving: Option<Moving>,
}

impl PartStore {
    pub(super) fn new(spec: AggregateSpec) -> Self {
        let (stores, listed) = (BTreeMap::new(), BTreeMap::new());
        Self { spec, stores, next: 0, rows: 0, live: 0, listed, moving: None }
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
    pub(super) fn fold(&mut self, lists: Vec<Vec<Part>>) -> Result<u64> {
        let rows = lists.len();
        let states = self.plan(lists).states()?;
        self.insert(states, rows);
        Ok(self.next - 1)
    }

    /// Whether most of what is stored, but not settled, is dead.
    pub(super) fn wants_compaction(&self) -> bool {
        mostly_dead(self.rows, self.live)
    }

    /// Rewrites the live rows that are not settled into one store, keeping the order of each session's parts. They belong to
    /// the sessions that took rows since the newest snapshot.
    pub(super) fn compact(
        &mut self,
        table: &mut SessionTable,
        touched: &[SessionId],
    ) -> Result<()> {
        let mut used = Vec::new();
        for &id in touched {
            for (index, &part) in table.session(id).parts.iter().enumerate() {
                if self.stores.get(&part.store).is_some_and(|store| store.settled.is_none()) {
                    used.push((part, id, index));
                }
            }
        }
        used.sort_unstable();
        let mut columns: Vec<States> = Vec::new();
        for run in used.chunk_by(|(a, ..), (b, ..)| a.store == b.store) {
            let number = run.first().map_or(0, |(part, ..)| part.store);
            let Some(store) = self.stores.get(&number) else { continue };
            let rows = UInt32Array::from_iter_values(run.iter().map(|(part, ..)| part.row));
            columns.push(take_rows(&store.content.get()?.states, &rows)?);
        }
        let store = self.next;
        for (row, &(_, id, index)) in (0_u32..).zip(&used) {
            table.session_mut(id).parts[index] = Part { store, row };
        }
        self.stores.retain(|_, store| store.settled.is_some());
        (self.rows, self.live) = (0, 0);
        let states = self.concat(&columns)?;
        self.insert(states, used.len());
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
        let content = Arc::new(Deferred::done(Content { states, whole: None }));
        self.stores.insert(self.next, Store { content, rows, live: rows, settled: None });
        self.next += 1;
        self.rows += rows;
        self.live += rows;
    }

    /// Lets go of rows of a store; lets go of the store when none is left.
    fn let_go(&mut self, number: u64, rows: impl ExactSizeIterator<Item = u32>) {
        let Some(store) = self.stores.get_mut(&number) else { return };
        store.live -= rows.len();
        match &mut store.settled {
            Some(settled) => rows.for_each(|row| settled.dead.set_bit(row as usize, true)),
            None => self.live -= rows.len(),
        }
        if store.live == 0 {
            self.rows -= if store.settled.is_none() { store.rows } else { 0 };
            self.stores.remove(&number);
        }
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
