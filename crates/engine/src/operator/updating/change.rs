//! Groups computed anew, and what changed.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int8Array, RecordBatch, TimestampNanosecondArray, UInt32Array,
    },
    compute::{interleave, take},
    datatypes::Int64Type,
    row::{RowConverter, SortField},
};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};
use postrider_core::Batch;

use super::{TOTALS, Updating, bag::Bags, columns_from, delta::Part};
use crate::{
    chain::new_batch,
    changes::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE},
    operator::{
        aggregate::{AggregateSpec, States},
        rows::RowId,
    },
};

/// What was known of the groups of a part.
pub(super) struct Known {
    /// The group that each was, if it was known.
    pub(super) groups: Vec<Option<u32>>,
    /// Which row of [`Self::rows`] each is, and of the old results.
    pub(super) places: Vec<Option<usize>>,
    /// Their rows of totals, in the order of the part; `None` if nothing was known.
    rows: Option<RecordBatch>,
}

impl Known {
    fn count(&self) -> usize {
        self.rows.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// Their partial states.
    fn states(&self, spec: &AggregateSpec) -> Result<Option<States>> {
        let Some(rows) = &self.rows else { return Ok(None) };
        let (_, _, states) = spec.split_state(rows, 1)?;
        Ok(Some(states))
    }
}

/// What a group is behind the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was not known, and has no rows: all that came were taken back.
    Nothing,
    New,
    Gone,
    Stays,
}

impl Updating {
    /// Computes groups anew, remembers them, and emits what changed.
    pub(super) fn change(&mut self, part: &Part, out: &mut Vec<Batch>) -> Result<()> {
        let count = part.times.len();
        let known = self.known(part)?;
        let before = known.states(&self.spec.totals)?;
        let states = merged(&self.spec.totals, before.as_ref(), &known.places, &part.states)?;
        let totals = evaluated(&self.spec.totals, &states, count)?;
        let fates = self.fates(&known, &totals);
        let lives: Vec<bool> =
            fates.iter().map(|fate| matches!(fate, Fate::New | Fate::Stays)).collect();
        let bags = self.bags(part, &known, &lives)?;
        let results = bags.as_ref().map_or(&[][..], |bags| &bags.results);
        let computed = [&part.keys[..], &totals, results].concat();
        let new = self.spec.evaluate(computed, count)?;
        if self.spec.updating {
            let old = self.old_results(&known, part)?;
            out.extend(self.changes(&fates, &known, &new, &old, &part.times)?);
        } else {
            out.extend(self.firsts(&fates, &new, &part.times)?);
        }
        self.remember(part, &known, &fates, &states, bags)
    }

    fn known(&self, part: &Part) -> Result<Known> {
        let count = part.times.len();
        let keys = self.groups.encode(&part.keys, count)?;
        let groups: Vec<_> = (0..count).map(|row| self.groups.find(&keys.key(row))).collect();
        let mut next = 0..;
        let places = groups.iter().map(|group| group.and_then(|_| next.next())).collect();
        let ids: Vec<RowId> = groups
            .iter()
            .flatten()
            .filter_map(|group| self.groups.get(*group).map(|group| group.totals))
            .collect();
        let rows = if ids.is_empty() { None } else { Some(self.rows.gather(&ids)?) };
        Ok(Known { groups, places, rows })
    }

    fn fates(&self, known: &Known, totals: &[ArrayRef]) -> Vec<Fate> {
        let rows = self.spec.rows.map(|index| totals[index].as_primitive::<Int64Type>());
        let fates = known.places.iter().enumerate().map(|(group, place)| {
            // Rows that are taken back although the group was let go meanwhile are no longer known.
            let has_rows = rows.is_none_or(|rows| rows.is_valid(group) && rows.value(group) > 0);
            match (place, has_rows) {
                (None, false) => Fate::Nothing,
                (None, true) => Fate::New,
                (Some(_), false) => Fate::Gone,
                (Some(_), true) => Fate::Stays,
            }
        });
        fates.collect()
    }

    /// The results that the known groups had.
    fn old_results(&self, known: &Known, part: &Part) -> Result<Vec<ArrayRef>> {
        let (Some(rows), Some(states)) = (&known.rows, known.states(&self.spec.totals)?) else {
            return Ok(Vec::new());
        };
        let totals = evaluated(&self.spec.totals, &states, rows.num_rows())?;
        let results = rows.num_columns() - self.spec.bag_results().len();
        let keys = rows.columns()[..part.keys.len()].to_vec();
        let computed = [keys, totals, columns_from(rows, results)].concat();
        self.spec.evaluate(computed, rows.num_rows())
    }

    /// Groups that are new, without kinds.
    fn firsts(&self, fates: &[Fate], new: &[ArrayRef], times: &[i64]) -> Result<Option<Batch>> {
        let firsts: Vec<_> = (0..fates.len()).filter(|group| fates[*group] == Fate::New).collect();
        if firsts.is_empty() {
            return Ok(None);
        }
        let pick: Vec<_> = firsts.iter().map(|group| (0, *group)).collect();
        let columns = new.iter().map(|column| interleave(&[column.as_ref()], &pick));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        let rows = new_batch(&self.spec.output_schema, columns, firsts.len())?;
        let times = firsts.iter().map(|group| times[*group]);
        Ok(Some(Batch { rows, times: TimestampNanosecondArray::from_iter_values(times) }))
    }

    /// The changes of groups, with their kinds.
    fn changes(
        &self,
        fates: &[Fate],
        known: &Known,
        new: &[ArrayRef],
        old: &[ArrayRef],
        times: &[i64],
    ) -> Result<Option<Batch>> {
        let fields = new.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let new_rows = converter.convert_columns(new)?;
        let old_rows = if known.count() > 0 { Some(converter.convert_columns(old)?) } else { None };
        // Where each row comes from: 0 the new results, 1 the old ones.
        let (mut pick, mut kinds, mut at) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |kind: i8, from: (usize, usize), group: usize| {
            kinds.push(kind);
            pick.push(from);
            at.push(times[group]);
        };
        for (group, fate) in fates.iter().enumerate() {
            let place = known.places[group].unwrap_or_default();
            match fate {
                Fate::Nothing => {}
                Fate::New => push(INSERT, (0, group), group),
                Fate::Gone => push(DELETE, (1, place), group),
                Fate::Stays => {
                    let old = old_rows.as_ref().map(|rows| rows.row(place));
                    if old != Some(new_rows.row(group)) {
                        push(UPDATE_BEFORE, (1, place), group);
                        push(UPDATE_AFTER, (0, group), group);
                    }
                }
            }
        }
        if kinds.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(new.len() + 1);
        for (index, column) in new.iter().enumerate() {
            let sources: Vec<&dyn Array> =
                [Some(column), old.get(index)].into_iter().flatten().map(AsRef::as_ref).collect();
            columns.push(interleave(&sources, &pick)?);
        }
        columns.push(Arc::new(Int8Array::from(kinds)));
        let rows = new_batch(&self.spec.output_schema, columns, pick.len())?;
        Ok(Some(Batch { rows, times: TimestampNanosecondArray::from(at) }))
    }

    /// Keeps what groups are now.
    fn remember(
        &mut self,
        part: &Part,
        known: &Known,
        fates: &[Fate],
        states: &States,
        bags: Option<Bags>,
    ) -> Result<()> {
        let count = part.times.len();
        let written = TimestampNanosecondArray::from_value(self.clock.0, count);
        let mut columns = part.keys.clone();
        columns.push(Arc::new(written));
        columns.extend(states.iter().flatten().cloned());
        columns.extend(bags.iter().flat_map(|bags| bags.results.iter().cloned()));
        let rows = new_batch(&self.spec.totals_schema()?, columns, count)?;
        let of = |fate: Fate| -> Vec<usize> {
            (0..count).filter(|group| fates[*group] == fate).collect()
        };
        let (new, stay) = (of(Fate::New), of(Fate::Stays));
        let mut groups = known.groups.clone();
        if !new.is_empty() {
            let keys = self.groups.encode(&part.keys, count)?;
            let ids = self.rows.insert(TOTALS, rows_at(&rows, &new)?)?;
            for (&row, id) in new.iter().zip(ids) {
                groups[row] = Some(self.groups.insert(&keys.key(row), id, self.clock.0));
            }
        }
        let mut ids = Vec::with_capacity(stay.len());
        for &row in &stay {
            let group = groups[row].and_then(|group| self.groups.get_mut(group));
            if let Some(group) = group {
                group.written = self.clock.0;
                ids.push(group.totals);
            }
        }
        if !stay.is_empty() {
            self.rows.replace(TOTALS, ids, rows_at(&rows, &stay)?)?;
        }
        if let Some(bags) = bags {
            self.keep_bags(bags, &groups)?;
        }
        for group in of(Fate::Gone).into_iter().filter_map(|row| groups[row]) {
            self.forget(group);
        }
        Ok(())
    }
}

/// Some rows of a batch.
pub(super) fn rows_at(rows: &RecordBatch, at: &[usize]) -> Result<RecordBatch> {
    if at.len() == rows.num_rows() {
        return Ok(rows.clone());
    }
    let at = UInt32Array::from_iter_values(at.iter().map(|row| *row as u32));
    Ok(arrow::compute::take_record_batch(rows, &at)?)
}

/// The partial states of groups: what was known, and what came. `places` says which of the known ones each group is. Accumulators take it that
/// every group that they learn of has a row in the batch that tells them, so the known groups are numbered first.
pub(in crate::operator) fn merged(
    spec: &AggregateSpec,
    before: Option<&States>,
    places: &[Option<usize>],
    came: &States,
) -> Result<States> {
    let count = places.len();
    let known = places.iter().flatten().count();
    let mut next = known..;
    let numbers: Vec<usize> =
        places.iter().filter_map(|place| place.or_else(|| next.next())).collect();
    let all: Vec<usize> = (0..known).collect();
    let back = UInt32Array::from_iter_values(numbers.iter().map(|number| *number as u32));
    let mut accumulators = spec.accumulators()?;
    let mut states = Vec::with_capacity(accumulators.len());
    for (call, accumulator) in accumulators.iter_mut().enumerate() {
        if let Some(before) = before {
            accumulator.merge_batch(&before[call], &all, known)?;
        }
        accumulator.merge_batch(&came[call], &numbers, count)?;
        let state = accumulator.state(EmitTo::All)?;
        let state = state.iter().map(|column| take(column, &back, None));
        states.push(state.collect::<std::result::Result<_, _>>()?);
    }
    Ok(states)
}

/// The values of aggregates of partial states.
pub(in crate::operator) fn evaluated(
    spec: &AggregateSpec,
    states: &States,
    count: usize,
) -> Result<Vec<ArrayRef>> {
    let groups: Vec<usize> = (0..count).collect();
    let mut accumulators = spec.accumulators()?;
    let values = accumulators.iter_mut().zip(states).map(
        |(accumulator, state): (&mut Box<dyn GroupsAccumulator>, _)| {
            accumulator.merge_batch(state, &groups, count)?;
            accumulator.evaluate(EmitTo::All)
        },
    );
    values.collect()
}
