//! Rows that came or went by the end of an epoch, and the changes that say so.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int8Array, TimestampNanosecondArray, UInt32Array},
    compute::{concat, take},
    datatypes::SchemaRef,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::Result;
use postrider_core::Batch;

use crate::{
    chain::new_batch,
    changes::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE},
};

/// The group of rows that are no half of an update.
pub(super) const BY_ITSELF: u32 = u32::MAX;

/// Rows with how often each came, less how often it went.
#[derive(Debug, Default)]
pub(super) struct NetRows {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) times: Vec<i64>,
    pub(super) counts: Vec<i64>,
    /// What came and what went of one group are updates.
    pub(super) groups: Vec<u32>,
}

impl NetRows {
    /// All rows of some pieces, in order. Pieces have the same columns.
    pub(super) fn concat(mut pieces: Vec<Self>) -> Result<Self> {
        pieces.retain(|piece| !piece.counts.is_empty());
        if pieces.len() <= 1 {
            return Ok(pieces.pop().unwrap_or_default());
        }
        let mut all = Self::default();
        for column in 0..pieces[0].columns.len() {
            let arrays: Vec<&dyn Array> =
                pieces.iter().map(|piece| piece.columns[column].as_ref()).collect();
            all.columns.push(concat(&arrays)?);
        }
        for piece in pieces {
            all.times.extend(piece.times);
            all.counts.extend(piece.counts);
            all.groups.extend(piece.groups);
        }
        Ok(all)
    }

    /// The changes. Within a group they pair in the order of their columns: the first that went is an update to the first that came.
    pub(super) fn into_changes(self, schema: &SchemaRef, updating: bool) -> Result<Changes> {
        let runs = if updating { self.paired()? } else { self.inserted() };
        let Self { columns, times, .. } = self;
        Ok(Changes { schema: Arc::clone(schema), updating, columns, times, runs, at: 0, done: 0 })
    }

    fn inserted(&self) -> Vec<Run> {
        let rows = (0_u32..).zip(&self.counts).filter(|(_, count)| **count > 0);
        rows.map(|(row, count)| Run::new(None, Some(row), count.unsigned_abs())).collect()
    }

    fn paired(&self) -> Result<Vec<Run>> {
        let mut order: Vec<u32> = (0..self.counts.len() as u32).collect();
        order.retain(|row| self.counts[*row as usize] != 0);
        order.sort_by_key(|row| self.groups[*row as usize]);
        let mut sortable = None;
        let mut runs = Vec::with_capacity(order.len());
        for group in order.chunk_by(|a, b| self.groups[*a as usize] == self.groups[*b as usize]) {
            let (mut gone, mut came): (Vec<u32>, Vec<u32>) =
                group.iter().partition(|row| self.counts[**row as usize] < 0);
            let apart = self.groups[group[0] as usize] == BY_ITSELF;
            if !apart && !gone.is_empty() && !came.is_empty() {
                let sortable = match &sortable {
                    Some(sortable) => sortable,
                    None => sortable.insert(self.sortable()?),
                };
                let by_columns =
                    |a: &u32, b: &u32| sortable.row(*a as usize).cmp(&sortable.row(*b as usize));
                gone.sort_by(by_columns);
                came.sort_by(by_columns);
                self.pair(&gone, &came, &mut runs);
            } else {
                let whole = |row: &u32| self.counts[*row as usize].unsigned_abs();
                runs.extend(gone.iter().map(|row| Run::new(Some(*row), None, whole(row))));
                runs.extend(came.iter().map(|row| Run::new(None, Some(*row), whole(row))));
            }
        }
        Ok(runs)
    }

    fn sortable(&self) -> Result<Rows> {
        let fields = self.columns.iter().map(|column| SortField::new(column.data_type().clone()));
        Ok(RowConverter::new(fields.collect())?.convert_columns(&self.columns)?)
    }

    /// Pairs what went with what came, each as often as it did.
    fn pair(&self, gone: &[u32], came: &[u32], runs: &mut Vec<Run>) {
        let counted = |rows: &[u32]| -> Vec<(u32, u64)> {
            rows.iter().map(|row| (*row, self.counts[*row as usize].unsigned_abs())).collect()
        };
        let (mut gone, mut came) = (counted(gone).into_iter(), counted(came).into_iter());
        let (mut old, mut new) = (gone.next(), came.next());
        loop {
            match (&mut old, &mut new) {
                (Some((before, left)), Some((after, right))) => {
                    let times = *left.min(right);
                    runs.push(Run::new(Some(*before), Some(*after), times));
                    let which = left.cmp(&right);
                    (*left, *right) = (*left - times, *right - times);
                    if which != Ordering::Greater {
                        old = gone.next();
                    }
                    if which != Ordering::Less {
                        new = came.next();
                    }
                }
                (Some((before, times)), None) => {
                    runs.push(Run::new(Some(*before), None, *times));
                    old = gone.next();
                }
                (None, Some((after, times))) => {
                    runs.push(Run::new(None, Some(*after), *times));
                    new = came.next();
                }
                (None, None) => return,
            }
        }
    }
}

/// The same change several times.
#[derive(Debug, Clone, Copy)]
struct Run {
    before: Option<u32>,
    after: Option<u32>,
    times: u64,
}

impl Run {
    const fn new(before: Option<u32>, after: Option<u32>, times: u64) -> Self {
        Self { before, after, times }
    }
}

/// Changes on their way out, some at a time.
#[derive(Debug)]
pub(super) struct Changes {
    schema: SchemaRef,
    /// Whether they bear their kinds.
    updating: bool,
    columns: Vec<ArrayRef>,
    times: Vec<i64>,
    runs: Vec<Run>,
    /// The next run, and how often it left already.
    at: usize,
    done: u64,
}

impl Changes {
    /// The next changes: about so many rows at most.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Batch>> {
        let (mut rows, mut kinds) = (Vec::new(), Vec::new());
        while let Some(run) = self.runs.get(self.at).filter(|_| rows.len() < most) {
            let update = run.before.is_some() && run.after.is_some();
            if let Some(row) = run.before {
                rows.push(row);
                kinds.push(if update { UPDATE_BEFORE } else { DELETE });
            }
            if let Some(row) = run.after {
                rows.push(row);
                kinds.push(if update { UPDATE_AFTER } else { INSERT });
            }
            self.done += 1;
            if self.done >= run.times {
                (self.at, self.done) = (self.at + 1, 0);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let times = rows.iter().map(|row| self.times[*row as usize]);
        let times = TimestampNanosecondArray::from_iter_values(times);
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().map(|column| take(column, &rows, None));
        let mut columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        if self.updating {
            columns.push(Arc::new(Int8Array::from(kinds)));
        }
        let rows = new_batch(&self.schema, columns, times.len())?;
        Ok(Some(Batch { rows, times }))
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Field, Int8Type, Int64Type, Schema},
    };

    use super::{BY_ITSELF, NetRows};
    use crate::changes::with_kinds;

    /// The changes of `(value, count, group)`, at most two rows at a time, as `(kind, value)`.
    fn changes(rows: &[(i64, i64, u32)]) -> Vec<Vec<(i8, i64)>> {
        let schema = with_kinds(&Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        let rows = NetRows {
            columns: vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))],
            times: vec![0; rows.len()],
            counts: rows.iter().map(|row| row.1).collect(),
            groups: rows.iter().map(|row| row.2).collect(),
        };
        let mut changes = rows.into_changes(&schema, true).unwrap();
        let mut all = Vec::new();
        while let Some(batch) = changes.next(2).unwrap() {
            let values = batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            let kinds = batch.rows.column(1).as_primitive::<Int8Type>().values().to_vec();
            all.push(kinds.into_iter().zip(values).collect());
        }
        assert!(changes.is_done());
        all
    }

    #[test]
    fn what_goes_and_comes_of_a_group_pairs_in_order_as_often_as_it_does() {
        let rows =
            [(5, 2, 0), (9, -1, 0), (7, -3, 0), (4, 1, 1), (3, -1, BY_ITSELF), (2, 1, BY_ITSELF)];
        let expected: Vec<Vec<(i8, i64)>> = vec![
            vec![(1, 7), (2, 5)],
            vec![(1, 7), (2, 5)],
            vec![(3, 7), (3, 9)],
            vec![(0, 4), (3, 3)],
            vec![(0, 2)],
        ];
        assert_eq!(changes(&rows), expected);
        assert!(changes(&[(1, 0, 0)]).is_empty());
    }
}
