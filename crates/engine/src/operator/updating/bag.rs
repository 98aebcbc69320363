//! Bags: the values of a group and how often each is there, for aggregates that can't take a row back.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
    },
    compute::take,
    datatypes::Int64Type,
    row::{RowConverter, SortField},
};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::{
    BAG, BagSpec, Updating,
    change::{Known, rows_at},
    delta::Part,
};
use crate::{
    chain::new_batch,
    limits::BAG_ROWS,
    operator::{aggregate::AggregateTable, rows::RowId},
};

/// The bags of some groups behind an epoch.
pub(super) struct Bags {
    /// What is computed from them, by group.
    pub(super) results: Vec<ArrayRef>,
    /// Rows that are in no bag any more, and the group of each.
    gone: Vec<(usize, RowId)>,
    /// Rows whose number changed, and what they are now.
    changed: (Vec<RowId>, RecordBatch),
    /// Rows that are new, and the group of each.
    new: (Vec<usize>, RecordBatch),
}

/// What is in the bags of some groups: keys and values, how often each is there, and whose it is.
struct Contents {
    columns: Vec<ArrayRef>,
    counts: Vec<i64>,
    groups: Vec<usize>,
}

impl Updating {
    /// Adds what came to the bags of groups. Those of groups that end are emptied.
    pub(super) fn bags(&self, part: &Part, known: &Known, lives: &[bool]) -> Result<Option<Bags>> {
        let (Some(spec), Some(came), Some(schema)) =
            (&self.spec.bag, &part.bag, self.spec.bag_schema())
        else {
            return Ok(None);
        };
        let mut ids = Vec::new();
        let mut groups = Vec::new();
        for (row, group) in known.groups.iter().enumerate() {
            let Some(group) = group.and_then(|group| self.groups.get(group)) else { continue };
            ids.extend_from_slice(&group.bag);
            groups.resize(ids.len(), row);
        }
        let mut table = AggregateTable::new(&spec.counts)?;
        let (mut counts, mut before) = (Vec::new(), Vec::new());
        if !ids.is_empty() {
            let kept = self.rows.gather(&ids)?;
            let (count, columns) =
                (kept.num_columns() - 1, &kept.columns()[..kept.num_columns() - 1]);
            table.intern(columns, kept.num_rows())?;
            counts.extend_from_slice(kept.column(count).as_primitive::<Int64Type>().values());
            before.clone_from(&counts);
        }
        table.intern(&came.columns, came.groups.len())?;
        let more = came.counts.as_primitive::<Int64Type>();
        for (row, &entry) in table.indices().iter().enumerate() {
            if entry == counts.len() {
                counts.push(0);
                groups.push(came.groups[row]);
            }
            counts[entry] = counts[entry].saturating_add(more.value(row));
        }
        for (count, group) in counts.iter_mut().zip(&groups) {
            *count = if lives[*group] { (*count).max(0) } else { 0 };
        }
        let columns = table.into_keys()?;
        let contents = Contents { columns, counts, groups };
        let results = contents.evaluate(spec, lives.len())?;
        contents.sort_out(&ids, &before, results, &schema).map(Some)
    }

    /// Keeps bags as they are now.
    pub(super) fn keep_bags(&mut self, bags: Bags, groups: &[Option<u32>]) -> Result<()> {
        let Bags { gone, changed: (ids, rows), new: (owners, new), .. } = bags;
        for rows in gone.chunk_by(|a, b| a.0 == b.0) {
            let ended: HashSet<RowId> = rows.iter().map(|(_, id)| *id).collect();
            let group = groups[rows[0].0].and_then(|group| self.groups.get_mut(group));
            if let Some(group) = group {
                group.bag.retain(|id| !ended.contains(id));
            }
            rows.iter().for_each(|(_, id)| self.rows.release(*id));
        }
        self.rows.replace(BAG, ids, rows)?;
        for (group, id) in owners.into_iter().zip(self.rows.insert(BAG, new)?) {
            if let Some(group) = groups[group].and_then(|group| self.groups.get_mut(group)) {
                group.bag.push(id);
            }
        }
        Ok(())
    }
}

impl Contents {
    /// The aggregates of each group. Values are taken in their own order, so that nothing depends on when they came.
    fn evaluate(&self, spec: &BagSpec, groups: usize) -> Result<Vec<ArrayRef>> {
        let keys = spec.aggregates.key_schema.fields().len();
        let values = &self.columns[keys..];
        let mut order: Vec<usize> =
            (0..self.counts.len()).filter(|entry| self.counts[*entry] > 0).collect();
        if values.is_empty() {
            order.sort_by_key(|entry| self.groups[*entry]);
        } else {
            let fields = values.iter().map(|value| SortField::new(value.data_type().clone()));
            let sortable = RowConverter::new(fields.collect())?.convert_columns(values)?;
            let place = |entry: &usize| (self.groups[*entry], sortable.row(*entry));
            order.sort_by(|a, b| place(a).cmp(&place(b)));
        }
        let mut feed = Feed::new(self, spec)?;
        for entry in order {
            feed.add(entry)?;
        }
        feed.finish(groups)
    }

    /// Tells which rows are to be kept. `ids` are the first entries, and `before` how often they were there.
    fn sort_out(
        self,
        ids: &[RowId],
        before: &[i64],
        results: Vec<ArrayRef>,
        schema: &arrow::datatypes::SchemaRef,
    ) -> Result<Bags> {
        let count = self.counts.len();
        let mut columns = self.columns;
        columns.push(Arc::new(Int64Array::from(self.counts.clone())));
        let rows = new_batch(schema, columns, count)?;
        let (mut gone, mut changed, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, &number) in self.counts.iter().enumerate() {
            match before.get(entry) {
                Some(_) if number == 0 => gone.push((self.groups[entry], ids[entry])),
                Some(before) if *before != number => changed.push(entry),
                None if number > 0 => new.push(entry),
                _ => {}
            }
        }
        let owners = new.iter().map(|entry| self.groups[*entry]).collect();
        Ok(Bags {
            results,
            gone,
            changed: (changed.iter().map(|entry| ids[*entry]).collect(), rows_at(&rows, &changed)?),
            new: (owners, rows_at(&rows, &new)?),
        })
    }
}

/// Gives the rows of bags to accumulators, some at a time. Groups are numbered as they come: accumulators take it that every group that
/// they learn of has a row in the batch that tells them.
struct Feed<'a> {
    contents: &'a Contents,
    spec: &'a BagSpec,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// The groups that came, ascending.
    groups: Vec<usize>,
    rows: Vec<u32>,
    /// The number of the group of each row.
    numbers: Vec<usize>,
}

impl<'a> Feed<'a> {
    fn new(contents: &'a Contents, spec: &'a BagSpec) -> Result<Self> {
        let accumulators = spec.aggregates.accumulators()?;
        let (groups, rows, numbers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { contents, spec, accumulators, groups, rows, numbers })
    }

    /// Adds an entry, as often as it is there. Those of a group follow each other.
    fn add(&mut self, entry: usize) -> Result<()> {
        let group = self.contents.groups[entry];
        let mut left = usize::try_from(self.contents.counts[entry]).unwrap_or(0);
        while left > 0 {
            if self.groups.last() != Some(&group) {
                self.groups.push(group);
            }
            let some = left.min(BAG_ROWS - self.rows.len());
            self.rows.resize(self.rows.len() + some, entry as u32);
            self.numbers.resize(self.rows.len(), self.groups.len() - 1);
            left -= some;
            if self.rows.len() == BAG_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let at = UInt32Array::from(std::mem::take(&mut self.rows));
        let numbers = std::mem::take(&mut self.numbers);
        let pick = |column: usize| take(&self.contents.columns[column], &at, None);
        for (call, accumulator) in self.spec.aggregates.calls.iter().zip(&mut self.accumulators) {
            let arguments = call.arguments.iter().map(|&column| pick(column));
            let arguments = arguments.collect::<std::result::Result<Vec<_>, _>>()?;
            let filter = call.filter.map(pick).transpose()?;
            let filter: Option<&BooleanArray> = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(&arguments, &numbers, filter, self.groups.len())?;
        }
        Ok(())
    }

    /// The aggregates of so many groups; NULL for those that have no rows.
    fn finish(mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        if self.groups.is_empty() {
            let calls = self.spec.aggregates.calls.iter();
            let nulls = calls.map(|c| new_null_array(c.function.field().data_type(), groups));
            return Ok(nulls.collect());
        }
        self.flush()?;
        let mut numbers = vec![None; groups];
        for (number, group) in (0_u32..).zip(&self.groups) {
            numbers[*group] = Some(number);
        }
        let numbers = UInt32Array::from(numbers);
        let values = self
            .accumulators
            .iter_mut()
            .map(|accumulator| Ok(take(&accumulator.evaluate(EmitTo::All)?, &numbers, None)?));
        values.collect()
    }
}
