//! What came in an epoch, added to the groups that are kept.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
    },
    compute::{take, take_record_batch},
    datatypes::TimestampNanosecondType,
};
use datafusion::common::Result;

use super::RevisedWindows;
use crate::{
    chain::new_batch,
    operator::{
        aggregate::{AggregateTable, States},
        keys::Keys,
        rows::RowId,
        updating::merged,
    },
};

impl RevisedWindows {
    /// Adds what came in the epoch to its groups.
    pub(super) fn merge(&mut self, delta: AggregateTable) -> Result<()> {
        let (keys, came, count) = delta.into_states()?;
        let encoded = self.groups.encode(&keys, count)?;
        let known: Vec<Option<u32>> =
            (0..count).map(|row| self.groups.find(&encoded.key(row))).collect();
        let ids = known.iter().flatten().filter_map(|group| self.row_of(*group));
        let ids: Vec<RowId> = ids.collect();
        let kept = if ids.is_empty() { None } else { Some(self.rows.gather(&ids)?) };
        let mut next = 0..;
        let places: Vec<Option<usize>> =
            known.iter().map(|group| group.and_then(|_| next.next())).collect();
        let before = kept.as_ref().map(|rows| self.by_window.split_state(rows, 2)).transpose()?;
        let before = before.map(|(_, _, states)| states);
        let states = merged(&self.by_window, before.as_ref(), &places, &came)?;
        let ends = keys[keys.len() - 1].as_primitive::<TimestampNanosecondType>().clone();
        let due = self.next_due();
        let dues: Vec<i64> = known
            .iter()
            .map(|group| group.and_then(|group| self.due[group as usize].at).unwrap_or(due))
            .collect();
        let rows = self.changed(keys, kept.as_ref(), &places, &dues, states)?;
        self.keep(&encoded, &known, ids, &rows)?;
        for (row, due) in dues.into_iter().enumerate() {
            if let Some(group) = self.groups.find(&encoded.key(row)) {
                self.set_unsaid(group, ends.value(row), due);
            }
        }
        Ok(())
    }

    /// When a group is due whose result changes now.
    fn next_due(&self) -> i64 {
        let next =
            |every: i64| self.clock.0.div_euclid(every).saturating_add(1).saturating_mul(every);
        self.spec.every_ns.map_or(i64::MAX, next)
    }

    /// The rows of groups behind an epoch: what was said of them stays.
    fn changed(
        &self,
        keys: Vec<ArrayRef>,
        kept: Option<&RecordBatch>,
        places: &[Option<usize>],
        dues: &[i64],
        states: States,
    ) -> Result<RecordBatch> {
        let width = keys.len();
        let values = self.schema.fields().len() - self.spec.aggregate.calls.len();
        let at: UInt32Array = places.iter().map(|place| place.map(|place| place as u32)).collect();
        let mut columns = keys;
        let said = kept.map(|rows| rows.column(width).as_boolean());
        let said = places
            .iter()
            .map(|place| place.zip(said).is_some_and(|(place, said)| said.value(place)));
        columns.push(Arc::new(BooleanArray::from(said.collect::<Vec<_>>())));
        columns.push(Arc::new(Int64Array::from(dues.to_vec())));
        columns.extend(states.into_iter().flatten());
        for column in values..self.schema.fields().len() {
            columns.push(match kept {
                Some(rows) => take(rows.column(column), &at, None)?,
                None => new_null_array(self.schema.field(column).data_type(), places.len()),
            });
        }
        new_batch(&self.schema, columns, places.len())
    }

    /// Keeps rows of groups, of which `ids` are those of the known ones.
    fn keep(
        &mut self,
        keys: &Keys,
        known: &[Option<u32>],
        ids: Vec<RowId>,
        rows: &RecordBatch,
    ) -> Result<()> {
        let at = |wanted: bool| {
            let rows = (0_u32..).zip(known).filter(|(_, group)| group.is_some() == wanted);
            UInt32Array::from_iter_values(rows.map(|(row, _)| row))
        };
        let (new, stay) = (at(false), at(true));
        if !stay.is_empty() {
            self.rows.replace(0, ids, take_record_batch(rows, &stay)?)?;
        }
        if new.is_empty() {
            return Ok(());
        }
        let ids = self.rows.insert(0, take_record_batch(rows, &new)?)?;
        let ends = rows.column(self.spec.keys() + 1).as_primitive::<TimestampNanosecondType>();
        for (&row, id) in new.values().iter().zip(ids) {
            self.add_group(&keys.key(row as usize), id, ends.value(row as usize));
        }
        Ok(())
    }
}
