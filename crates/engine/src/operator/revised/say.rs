//! What of the results of some groups changed since it was said.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, UInt32Array},
    compute::interleave,
    datatypes::TimestampNanosecondType,
    row::{RowConverter, SortField},
};
use datafusion::common::Result;
use postrider_core::Batch;

use super::RevisedWindows;
use crate::{
    chain::new_batch,
    changes::{INSERT, UPDATE_AFTER, UPDATE_BEFORE},
    operator::{rows::RowId, updating::evaluated},
};

impl RevisedWindows {
    /// Emits what changed of groups, and remembers it as said.
    pub(super) fn say(&mut self, groups: &[u32], out: &mut Vec<Batch>) -> Result<()> {
        let ids: Vec<RowId> = groups.iter().filter_map(|group| self.row_of(*group)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = self.rows.gather(&ids)?;
        let count = rows.num_rows();
        let (mut columns, own, states) = self.by_window.split_state(&rows, 2)?;
        let values = self.schema.fields().len() - self.spec.aggregate.calls.len();
        let old = &rows.columns()[values..];
        let new = evaluated(&self.by_window, &states, count)?;
        let picked = changes(own[0].as_boolean(), old, &new)?;
        if !picked.kinds.is_empty() {
            out.push(self.results(&columns, old, &new, picked)?);
        }
        columns.push(Arc::new(BooleanArray::from(vec![true; count])));
        columns.push(Arc::new(Int64Array::new_null(count)));
        columns.extend(states.into_iter().flatten());
        columns.extend(new);
        let said = new_batch(&self.schema, columns, count)?;
        self.rows.replace(0, ids, said)
    }

    /// The rows that leave, in pairs where a result is corrected.
    fn results(
        &self,
        keys: &[ArrayRef],
        old: &[ArrayRef],
        new: &[ArrayRef],
        picked: Picked,
    ) -> Result<Batch> {
        let of_group = UInt32Array::from_iter_values(picked.from.iter().map(|(_, at)| *at as u32));
        let keys = keys.iter().map(|key| arrow::compute::take(key, &of_group, None));
        let mut keys = keys.collect::<std::result::Result<Vec<_>, _>>()?;
        let bounds = keys.split_off(self.spec.keys());
        let [starts, ends] =
            [0, 1].map(|at: usize| bounds[at].as_primitive::<TimestampNanosecondType>().clone());
        let values = new.iter().zip(old).map(|(new, old)| {
            let sources: [&dyn Array; 2] = [new.as_ref(), old.as_ref()];
            interleave(&sources, &picked.from)
        });
        let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
        let Batch { rows, times } = self.spec.aggregate.output(keys, values, starts, ends)?;
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(Int8Array::from(picked.kinds)));
        Ok(Batch { rows: new_batch(&self.spec.output_schema, columns, times.len())?, times })
    }
}

/// Where the values of each row that leaves come from (0 the new results, 1 the old ones) and of which group, and its kind.
#[derive(Default)]
struct Picked {
    from: Vec<(usize, usize)>,
    kinds: Vec<i8>,
}

fn changes(said: &BooleanArray, old: &[ArrayRef], new: &[ArrayRef]) -> Result<Picked> {
    let fields = new.iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    // Without any aggregate there is nothing to correct.
    let rows = match new {
        [] => None,
        new => Some((converter.convert_columns(old)?, converter.convert_columns(new)?)),
    };
    let mut picked = Picked::default();
    let mut push = |kind: i8, from: (usize, usize)| {
        picked.kinds.push(kind);
        picked.from.push(from);
    };
    for group in 0..said.len() {
        if !said.value(group) {
            push(INSERT, (0, group));
        } else if rows.as_ref().is_some_and(|(old, new)| old.row(group) != new.row(group)) {
            push(UPDATE_BEFORE, (1, group));
            push(UPDATE_AFTER, (0, group));
        }
    }
    Ok(picked)
}
