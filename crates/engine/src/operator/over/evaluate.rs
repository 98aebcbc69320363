//! What the functions say of the rows that leave, and what is known of all rows afterwards.

use std::{iter::repeat_n, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array},
    compute::{cast, concat, filter},
    datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type},
};
use datafusion::{
    common::{Result, ScalarValue, cast::as_boolean_array},
    logical_expr::Accumulator,
};
use postrider_plan::KeptRows;

use super::{
    OverCall, OverSpec, RunningAggregate,
    arrange::{Arranged, Span},
};
use crate::{chain::new_batch, operator::rows::RowId};

/// The columns of a tally in front of the partial states: how many rows there were, and how many places in the order they had.
const COUNTS: usize = 2;

/// What was known of each partition before its rows leave.
struct Before<'a> {
    tallies: Option<&'a RecordBatch>,
    /// Which row of the tallies is the partition's.
    rows: Vec<Option<usize>>,
    keys: usize,
}

impl Before<'_> {
    /// How many rows, or places in the order, a partition had.
    fn count(&self, partition: usize, column: usize) -> u64 {
        let Some((tallies, row)) = self.tallies.zip(self.rows[partition]) else { return 0 };
        tallies.column(self.keys + column).as_primitive::<UInt64Type>().value(row)
    }

    /// The partial state of an aggregate, whose first column is `from` behind the counts.
    fn state(&self, partition: usize, from: usize, width: usize) -> Option<Vec<ArrayRef>> {
        let (tallies, row) = self.tallies.zip(self.rows[partition])?;
        let from = self.keys + COUNTS + from;
        let columns = tallies.columns().get(from..from + width)?;
        Some(columns.iter().map(|column| column.slice(row, 1)).collect())
    }
}

impl OverSpec {
    /// The columns of a tally behind the keys.
    pub(super) fn tally_fields(&self) -> Result<Vec<Field>> {
        if !self.tallies() {
            return Ok(Vec::new());
        }
        let mut fields = vec![
            Field::new("rows", DataType::UInt64, false),
            Field::new("places", DataType::UInt64, false),
        ];
        for (number, aggregate) in self.running().enumerate() {
            for (part, field) in aggregate.function.state_fields()?.iter().enumerate() {
                let name = format!("state {number}.{part}");
                fields.push(Field::new(name, field.data_type().clone(), true));
            }
        }
        Ok(fields)
    }

    /// The columns of a tally.
    pub(super) fn tally_schema(&self) -> Result<SchemaRef> {
        let keys = self.input.fields()[..self.keys].iter();
        let mut fields: Vec<_> = keys.map(|field| field.as_ref().clone()).collect();
        fields.extend(self.tally_fields()?);
        Ok(Arc::new(Schema::new(fields)))
    }

    /// A column for each call, and the tallies of the partitions, if there are such. `ids` says whose the ones before are.
    pub(super) fn evaluate(
        &self,
        arranged: &Arranged,
        tallies: Option<&RecordBatch>,
        ids: &[RowId],
    ) -> Result<(Vec<ArrayRef>, Option<RecordBatch>)> {
        let mut known = 0..;
        let rows = ids.iter().map(|id| if *id == RowId::NOBODY { None } else { known.next() });
        let before = Before { tallies, rows: rows.collect(), keys: self.keys };
        let counts = Counts::of(arranged, &before);
        let mut results = Vec::with_capacity(self.calls.len());
        let mut states: Vec<ArrayRef> = Vec::new();
        for call in self.calls.iter() {
            results.push(match call {
                OverCall::RowNumber => {
                    Arc::new(UInt64Array::from(counts.number.clone())) as ArrayRef
                }
                OverCall::Rank => Arc::new(UInt64Array::from(counts.rank.clone())),
                OverCall::DenseRank => Arc::new(UInt64Array::from(counts.dense_rank.clone())),
                OverCall::Running(aggregate) => {
                    let (values, after) = aggregate.run(arranged, &before, states.len())?;
                    states.extend(after);
                    values
                }
                OverCall::Rows(function, _) => {
                    let each = arranged.spans.iter().map(|span| {
                        let rows = arranged.rows.slice(span.all.start, span.all.len());
                        Ok(function.evaluate(&rows)?.slice(span.kept(), span.fresh.len()))
                    });
                    let each = each.collect::<Result<Vec<_>>>()?;
                    concat(&each.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?
                }
            });
        }
        if !self.tallies() {
            return Ok((results, None));
        }
        let mut columns = arranged.keys.clone();
        columns.push(Arc::new(UInt64Array::from(counts.rows)));
        columns.push(Arc::new(UInt64Array::from(counts.places)));
        columns.extend(states);
        Ok((results, Some(new_batch(&self.tally_schema()?, columns, arranged.spans.len())?)))
    }

    /// Which rows are kept whatever their age.
    pub(super) fn pinned(&self, arranged: &Arranged) -> Result<Vec<bool>> {
        let mut pinned = vec![false; arranged.rows.num_rows()];
        for (function, kept) in self.kept().filter(|(_, kept)| kept.for_ever()) {
            let skipped = match function.expressions().first() {
                Some(argument) if kept.skips_nulls => {
                    let values = argument.evaluate(&arranged.rows)?;
                    values.into_array(arranged.rows.num_rows())?.logical_nulls()
                }
                _ => None,
            };
            let counts = |row: &usize| skipped.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
            for span in &arranged.spans {
                pin(&mut pinned, span.all.clone().filter(counts), kept);
            }
        }
        Ok(pinned)
    }
}

/// Pins the first and the last of some rows.
fn pin(
    pinned: &mut [bool],
    rows: impl DoubleEndedIterator<Item = usize> + Clone,
    KeptRows { first, last, .. }: KeptRows,
) {
    rows.clone().take(first).for_each(|row| pinned[row] = true);
    rows.rev().take(last).for_each(|row| pinned[row] = true);
}

/// Numbers of the rows that leave, and how many there were afterwards.
#[derive(Default)]
struct Counts {
    number: Vec<u64>,
    rank: Vec<u64>,
    dense_rank: Vec<u64>,
    rows: Vec<u64>,
    places: Vec<u64>,
}

impl Counts {
    fn of(arranged: &Arranged, before: &Before<'_>) -> Self {
        let mut counts = Self::default();
        for (partition, span) in arranged.spans.iter().enumerate() {
            let (mut rows, mut places) = (before.count(partition, 0), before.count(partition, 1));
            let mut rank = rows;
            for row in span.fresh.clone() {
                rows += 1;
                if arranged.places[row] {
                    places += 1;
                    rank = rows;
                }
                counts.number.push(rows);
                counts.rank.push(rank);
                counts.dense_rank.push(places);
            }
            counts.rows.push(rows);
            counts.places.push(places);
        }
        counts
    }
}

impl RunningAggregate {
    /// A value for each row that leaves, and the partial states of the partitions. `from` is where the states begin in a tally.
    fn run(
        &self,
        arranged: &Arranged,
        before: &Before<'_>,
        from: usize,
    ) -> Result<(ArrayRef, Vec<ArrayRef>)> {
        let fresh = &arranged.fresh;
        let arguments = self.function.expressions();
        let arguments =
            arguments.iter().map(|argument| argument.evaluate(fresh)?.into_array(fresh.num_rows()));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let mask = match &self.filter {
            Some(filter) => {
                let mask = filter.evaluate(fresh)?.into_array(fresh.num_rows())?;
                Some(as_boolean_array(&mask)?.clone())
            }
            None => None,
        };
        let fields = self.function.state_fields()?;
        let mut values = Vec::with_capacity(fresh.num_rows());
        let mut states = vec![Vec::with_capacity(arranged.spans.len()); fields.len()];
        for (partition, span) in arranged.spans.iter().enumerate() {
            let mut accumulator = self.function.create_accumulator()?;
            if let Some(state) = before.state(partition, from, fields.len()) {
                accumulator.merge_batch(&state)?;
            }
            for peers in self.peers(arranged, span) {
                update(accumulator.as_mut(), &arguments, mask.as_ref(), peers.clone())?;
                values.extend(repeat_n(accumulator.evaluate()?, peers.len()));
            }
            for (column, state) in states.iter_mut().zip(accumulator.state()?) {
                column.push(state);
            }
        }
        let states = states.into_iter().zip(&fields).map(|(column, field)| {
            let column = ScalarValue::iter_to_array(column)?;
            let is_it = column.data_type() == field.data_type();
            if is_it { Ok(column) } else { Ok(cast(&column, field.data_type())?) }
        });
        Ok((ScalarValue::iter_to_array(values)?, states.collect::<Result<_>>()?))
    }

    /// Rows of a partition that have one value.
    fn peers(&self, arranged: &Arranged, span: &Span) -> Vec<Range<usize>> {
        let mut peers: Vec<Range<usize>> = Vec::new();
        for row in span.fresh.clone() {
            match peers.last_mut().filter(|_| !self.by_row && !arranged.places[row]) {
                Some(last) => last.end = row + 1,
                None => peers.push(row..row + 1),
            }
        }
        peers
    }
}

/// Adds rows to an accumulator.
fn update(
    accumulator: &mut dyn Accumulator,
    arguments: &[ArrayRef],
    mask: Option<&BooleanArray>,
    rows: Range<usize>,
) -> Result<()> {
    let mask = mask.map(|mask| mask.slice(rows.start, rows.len()));
    let values = arguments.iter().map(|argument| {
        let values = argument.slice(rows.start, rows.len());
        mask.as_ref().map_or(Ok(Arc::clone(&values)), |mask| filter(&values, mask))
    });
    accumulator.update_batch(&values.collect::<std::result::Result<Vec<_>, _>>()?)
}
