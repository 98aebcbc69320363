//! What is remembered of each key: its rows, and when the last of them came.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array},
    compute::take_record_batch,
    datatypes::TimestampNanosecondType,
};
use datafusion::common::Result;

use super::{
    OWN_COLUMNS, UpdatingTop,
    work::{Candidate, Sorted},
};
use crate::{
    chain::new_batch,
    operator::{
        RestoredPart,
        rows::{PortRows, RowId},
    },
};

/// All rows are of one input.
const PORT: u8 = 0;

impl UpdatingTop {
    /// Keeps the rows of some keys as they are now.
    pub(super) fn remember(&mut self, sorted: &Sorted) -> Result<()> {
        let (mut new, mut stay) = (Vec::new(), Vec::new());
        let mut groups = sorted.groups.clone();
        for key in sorted.candidates.chunk_by(|a, b| a.key == b.key) {
            self.settle(groups[key[0].key], key, &mut new, &mut stay);
            if key.iter().all(|candidate| candidate.after == 0)
                && let Some(group) = groups[key[0].key].take()
            {
                self.groups.remove(group);
            }
        }
        self.insert(sorted, &new, &mut groups)?;
        self.replace(&stay)
    }

    /// Sorts the rows of a key to those that are new or stay with another number, and lets others go. One row is always written
    /// again, so that it says when the key was.
    fn settle<'a>(
        &mut self,
        group: Option<u32>,
        key: &'a [Candidate],
        new: &mut Vec<&'a Candidate>,
        stay: &mut Vec<(RowId, i64)>,
    ) {
        let mut gone = HashSet::new();
        let mut says = None;
        let before = (new.len(), stay.len());
        for candidate in key {
            match (candidate.id == RowId::NOBODY, candidate.after) {
                (true, 0) => {}
                (true, _) => new.push(candidate),
                (false, 0) => {
                    gone.insert(candidate.id);
                }
                (false, after) if after != candidate.before => stay.push((candidate.id, after)),
                (false, after) => says = says.or(Some((candidate.id, after))),
            }
        }
        if before == (new.len(), stay.len()) {
            stay.extend(says);
        }
        let Some(group) = group.and_then(|group| self.groups.get_mut(group)) else { return };
        group.written = self.clock.0;
        if !gone.is_empty() {
            group.bag.retain(|id| !gone.contains(id));
            gone.into_iter().for_each(|id| self.rows.release(id));
        }
    }

    /// Keeps new rows.
    fn insert(
        &mut self,
        sorted: &Sorted,
        new: &[&Candidate],
        groups: &mut [Option<u32>],
    ) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let at = UInt32Array::from_iter_values(new.iter().map(|candidate| candidate.row));
        let rows = take_record_batch(&sorted.rows, &at)?;
        let keys = self.groups.encode(&rows.columns()[..self.spec.keys], rows.num_rows())?;
        let counts: Vec<i64> = new.iter().map(|candidate| candidate.after).collect();
        let mut columns = rows.columns().to_vec();
        columns.splice(self.spec.keys..self.spec.keys, self.own_columns(counts));
        let rows = new_batch(&self.spec.state_schema(), columns, new.len())?;
        let ids = self.rows.insert(PORT, rows)?;
        for (row, (candidate, id)) in new.iter().zip(ids).enumerate() {
            let group = match groups[candidate.key] {
                Some(group) => group,
                None => {
                    let group = self.groups.insert(&keys.key(row), RowId::NOBODY, self.clock.0);
                    groups[candidate.key] = Some(group);
                    group
                }
            };
            if let Some(group) = self.groups.get_mut(group) {
                group.bag.push(id);
            }
        }
        Ok(())
    }

    /// Has the next snapshot say how often some rows are there, and when their key was written.
    fn replace(&mut self, rows: &[(RowId, i64)]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Vec<RowId> = rows.iter().map(|(id, _)| *id).collect();
        let kept = self.rows.gather(&ids)?;
        let counts = rows.iter().map(|(_, count)| *count).collect();
        let mut columns = kept.columns().to_vec();
        columns.splice(self.spec.keys..self.spec.keys + OWN_COLUMNS, self.own_columns(counts));
        let rows = new_batch(&kept.schema(), columns, ids.len())?;
        self.rows.replace(PORT, ids, rows)
    }

    fn own_columns(&self, counts: Vec<i64>) -> [ArrayRef; OWN_COLUMNS] {
        let written = TimestampNanosecondArray::from_value(self.clock.0, counts.len());
        [Arc::new(written), Arc::new(Int64Array::from(counts))]
    }

    /// Takes the rows of a part back.
    pub(super) fn take_part(&mut self, part: &RestoredPart) -> Result<()> {
        let mut from = 0;
        for batch in &part.batches {
            let dead = part.dead.as_ref().map(|dead| dead.slice(from, batch.num_rows()));
            from += batch.num_rows();
            let written = batch.column(self.spec.keys);
            let written = written.as_primitive::<TimestampNanosecondType>().clone();
            let keys = self.groups.encode(&batch.columns()[..self.spec.keys], batch.num_rows())?;
            let rows = PortRows { port: PORT, rows: self.kept(batch)? };
            let ids = self.rows.restore(part.id, rows, dead.as_ref())?;
            for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
                let (key, written) = (keys.key(row), written.value(row));
                let group = match self.groups.find(&key) {
                    Some(group) => group,
                    None => self.groups.insert(&key, RowId::NOBODY, written),
                };
                if let Some(group) = self.groups.get_mut(group) {
                    group.written = group.written.max(written);
                    group.bag.push(id);
                }
            }
        }
        Ok(())
    }

    fn kept(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        new_batch(&self.spec.state_schema(), rows.columns().to_vec(), rows.num_rows())
    }
}
