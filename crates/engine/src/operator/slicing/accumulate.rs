//! Windows of one start that grow: each leaves what it merged to the next one, which merges that and what came since, not every
//! slice again.

use datafusion::common::Result;

use super::{
    AggregateTable, SlicingWindows,
    settled::{Partial, Slice},
};

impl SlicingWindows {
    /// The table of a window. A key's states are merged whenever a window that it is in fires, so that other keys have no say in
    /// where.
    pub(super) fn accumulate(&mut self, window: i128) -> Result<AggregateTable> {
        let merged = self.merge(window)?;
        let Some(left) = self.grid.left_by(window) else { return Ok(merged) };
        let whole = Partial::of(merged)?;
        let mut table = AggregateTable::new(&self.spec)?;
        table.merge(&whole.keys, &whole.states, whole.rows)?;
        let merged = self.grid.slices_of(window);
        self.slices.retain(|slice, _| !merged.contains(slice));
        self.slices.insert(left, Slice::of(whole));
        Ok(table)
    }

    /// Forgets slices that a later snapshot found merged: their rows are still in parts that others are in.
    pub(super) fn forget_replaced(&mut self) {
        let left: Vec<_> = self
            .slices
            .iter()
            .filter_map(|(&number, slice)| {
                Some((self.grid.replaced_by(number)?, slice.first_settled()?))
            })
            .collect();
        for (replaced, since) in left {
            for (_, slice) in self.slices.range_mut(replaced) {
                slice.forget_settled_before(since);
            }
        }
        self.slices.retain(|_, slice| slice.is_settled());
    }
}
