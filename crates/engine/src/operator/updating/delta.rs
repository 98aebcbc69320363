//! The rows of one epoch, aggregated by themselves.

use std::ops::Range;

use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::take,
};
use datafusion::common::{Result, exec_err};
use postrider_core::Batch;

use super::UpdatingSpec;
use crate::operator::aggregate::{AggregateTable, States};

/// What came so far.
pub(super) struct Delta {
    totals: AggregateTable,
    bag: Option<AggregateTable>,
    /// The time of each group: of a changelog that of its last row, otherwise of its first.
    times: Vec<i64>,
}

impl Delta {
    pub(super) fn new(spec: &UpdatingSpec) -> Result<Self> {
        let bag = spec.bag.as_ref().map(|bag| AggregateTable::new(&bag.counts)).transpose()?;
        Ok(Self { totals: AggregateTable::new(&spec.totals)?, bag, times: Vec::new() })
    }

    pub(super) fn add(&mut self, spec: &UpdatingSpec, batch: &Batch) -> Result<()> {
        self.totals.update(&spec.totals, &batch.rows)?;
        for (&group, &time) in self.totals.indices().iter().zip(batch.times.values()) {
            match self.times.get_mut(group) {
                None => self.times.push(time),
                Some(known) if spec.updating => *known = time.max(*known),
                Some(known) => *known = time.min(*known),
            }
        }
        match (&mut self.bag, &spec.bag) {
            (Some(table), Some(bag)) => table.update(&bag.counts, &batch.rows),
            _ => Ok(()),
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.totals.memory()
            + self.bag.as_ref().map_or(0, AggregateTable::memory)
            + self.times.capacity() * size_of::<i64>()
    }

    /// Ends the epoch.
    pub(super) fn close(self, keys: usize) -> Result<Closed> {
        let Self { mut totals, bag, times } = self;
        let bag = bag.map(|bag| ClosedBag::new(bag, &mut totals, keys)).transpose()?;
        let (keys, states, rows) = totals.into_states()?;
        if times.len() != rows {
            return exec_err!("an aggregate lost groups");
        }
        Ok(Closed { keys, states, times, bag, at: 0 })
    }
}

/// The groups that an epoch touched.
pub(super) struct Closed {
    keys: Vec<ArrayRef>,
    states: States,
    times: Vec<i64>,
    bag: Option<ClosedBag>,
    /// Those before are done.
    at: usize,
}

/// What came to the bags, and was taken from them.
struct ClosedBag {
    /// Keys and values, by group.
    columns: Vec<ArrayRef>,
    counts: ArrayRef,
    /// The group of each.
    groups: Vec<usize>,
}

impl ClosedBag {
    fn new(bag: AggregateTable, totals: &mut AggregateTable, keys: usize) -> Result<Self> {
        let (columns, states, rows) = bag.into_states()?;
        let Some(counts) = states.first().and_then(|state| state.first()) else {
            return exec_err!("a bag has no counts");
        };
        totals.intern(&columns[..keys], rows)?;
        let groups = totals.indices();
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_key(|row| groups[*row as usize]);
        let groups = order.iter().map(|row| groups[*row as usize]).collect();
        let order = UInt32Array::from(order);
        let columns = columns.iter().map(|column| take(column, &order, None));
        let columns = columns.collect::<std::result::Result<_, _>>()?;
        Ok(Self { columns, counts: take(counts, &order, None)?, groups })
    }

    fn part(&self, groups: &Range<usize>) -> BagPart {
        let from = self.groups.partition_point(|group| *group < groups.start);
        let to = self.groups.partition_point(|group| *group < groups.end);
        BagPart {
            columns: self.columns.iter().map(|column| column.slice(from, to - from)).collect(),
            counts: self.counts.slice(from, to - from),
            groups: self.groups[from..to].iter().map(|group| group - groups.start).collect(),
        }
    }
}

/// Some of the groups that an epoch touched.
pub(super) struct Part {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) states: States,
    pub(super) times: Vec<i64>,
    pub(super) bag: Option<BagPart>,
}

/// What came to the bags of some groups.
pub(super) struct BagPart {
    /// Keys and values.
    pub(super) columns: Vec<ArrayRef>,
    /// How many came, less those taken back.
    pub(super) counts: ArrayRef,
    /// The group of each, ascending.
    pub(super) groups: Vec<usize>,
}

impl Closed {
    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.times.len()
    }

    /// The next groups, at most so many.
    pub(super) fn next(&mut self, most: usize) -> Result<Part> {
        let range = self.at..self.times.len().min(self.at.saturating_add(most));
        self.at = range.end;
        let slice = |column: &ArrayRef| column.slice(range.start, range.len());
        Ok(Part {
            keys: self.keys.iter().map(slice).collect(),
            states: self.states.iter().map(|state| state.iter().map(slice).collect()).collect(),
            times: self.times[range.clone()].to_vec(),
            bag: self.bag.as_ref().map(|bag| bag.part(&range)),
        })
    }
}
