//! Merging partial states: which rows go together is noted at once, the merging itself can be done elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::take,
};
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::EmitTo,
};

use super::{Accumulator, Content, Part, PartStore, take_rows, take_states};
use crate::operator::{
    Deferred,
    aggregate::{AggregateSpec, States},
};

/// Rows of one store, the group of each, and how many groups there are by then.
struct Step {
    content: Arc<Deferred<Content>>,
    rows: Vec<u32>,
    groups: Vec<usize>,
    count: usize,
}

/// Which rows are merged with which.
pub(in crate::operator::session) struct Plan {
    spec: AggregateSpec,
    steps: Vec<Step>,
    /// The group of each list.
    groups: UInt32Array,
}

impl Plan {
    fn run(self) -> Result<(Vec<Accumulator>, UInt32Array)> {
        let mut accumulators = self.spec.accumulators()?;
        for Step { content, rows, groups, count } in self.steps {
            let states = take_rows(&content.get()?.states, &UInt32Array::from(rows))?;
            for (accumulator, state) in accumulators.iter_mut().zip(&states) {
                accumulator.merge_batch(state, &groups, count)?;
            }
        }
        Ok((accumulators, self.groups))
    }

    /// The partial states of each list, in the order of the lists.
    pub(super) fn states(self) -> Result<States> {
        let (mut accumulators, groups) = self.run()?;
        take_rows(&take_states(&mut accumulators)?, &groups)
    }

    /// The final values of each list, in the order of the lists.
    pub(in crate::operator::session) fn values(self) -> Result<Vec<ArrayRef>> {
        let (mut accumulators, groups) = self.run()?;
        let values = accumulators.iter_mut().map(|accumulator| {
            let values = accumulator.evaluate(EmitTo::All)?;
            take(&values, &groups, None).map_err(DataFusionError::from)
        });
        values.collect()
    }
}

impl PartStore {
    /// Plans to merge each list into one group, and lets go of its parts.
    ///
    /// Groups are numbered in the order in which they are met: an accumulator may take every group
    /// below the count it is given for seen (DataFusion's `NullState` does).
    pub(in crate::operator::session) fn plan(&mut self, mut lists: Vec<Vec<Part>>) -> Plan {
        self.find_moved(&mut lists);
        let mut by_store: BTreeMap<u64, Vec<(u32, usize)>> = BTreeMap::new();
        for (list, parts) in lists.iter().enumerate() {
            for part in parts {
                by_store.entry(part.store).or_default().push((part.row, list));
            }
        }
        let mut steps = Vec::with_capacity(by_store.len());
        let mut group_of = vec![None; lists.len()];
        let mut count = 0;
        for (number, used) in by_store {
            let Some(store) = self.stores.get(&number) else { continue };
            let content = Arc::clone(&store.content);
            let mut groups = Vec::with_capacity(used.len());
            for &(_, list) in &used {
                let group = *group_of[list].get_or_insert_with(|| {
                    count += 1;
                    count - 1
                });
                groups.push(group);
            }
            let rows: Vec<u32> = used.into_iter().map(|(row, _)| row).collect();
            self.let_go(number, rows.iter().copied());
            steps.push(Step { content, rows, groups, count });
        }
        let group = |group: Option<usize>| group.and_then(|group| u32::try_from(group).ok());
        let groups = group_of.into_iter().map(group).collect();
        Plan { spec: self.spec.clone(), steps, groups }
    }
}
