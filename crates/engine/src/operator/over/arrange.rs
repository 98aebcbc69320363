//! Rows of some partitions side by side, each partition's in order.

use std::{cmp::Ordering, ops::Range};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take_record_batch,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::Result;

use super::OverSpec;
use crate::operator::rows::{RowId, RowStore};

/// Where the rows of one partition are.
pub(super) struct Span {
    /// All of them: those that are kept, then those that leave, which are later.
    pub(super) all: Range<usize>,
    /// Those that leave, counted among all rows that leave.
    pub(super) fresh: Range<usize>,
}

impl Span {
    /// How many rows are kept ones.
    pub(super) fn kept(&self) -> usize {
        self.all.len() - self.fresh.len()
    }
}

/// The rows of some partitions, one partition after the other.
pub(super) struct Arranged {
    pub(super) ids: Vec<RowId>,
    pub(super) times: Vec<i64>,
    /// With the columns that calls are computed over.
    pub(super) rows: RecordBatch,
    /// Those that leave.
    pub(super) fresh: RecordBatch,
    /// The keys of the partitions.
    pub(super) keys: Vec<ArrayRef>,
    pub(super) spans: Vec<Span>,
    /// Where each place in the order begins among the rows that leave: rows of one place are peers.
    pub(super) places: Vec<bool>,
}

/// A partition's kept rows, and those that leave, by their times.
type Members<'a> = (Vec<(i64, RowId)>, &'a [(i64, RowId)]);

/// A row that is to be put in order.
#[derive(Clone, Copy)]
struct Member {
    partition: usize,
    time: i64,
    id: RowId,
}

impl Arranged {
    /// The rows of these partitions.
    pub(super) fn new(
        spec: &OverSpec,
        store: &RowStore,
        partitions: Vec<Members<'_>>,
    ) -> Result<Self> {
        let mut members = Vec::new();
        let (mut spans, mut fresh) = (Vec::with_capacity(partitions.len()), 0);
        for (partition, (kept, leaving)) in partitions.into_iter().enumerate() {
            let start = members.len();
            let rows = kept.iter().chain(leaving);
            members.extend(rows.map(|&(time, id)| Member { partition, time, id }));
            spans.push(Span { all: start..members.len(), fresh: fresh..fresh + leaving.len() });
            fresh += leaving.len();
        }
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        let stored = store.gather(&ids)?;
        let order = in_order(spec, store, &members, &stored)?;
        let stored = take_record_batch(&stored, &order)?;
        let member = |row: &u32| members[*row as usize];
        let times: Vec<_> = order.values().iter().map(|row| member(row).time).collect();
        let rows = spec.pick(&stored)?;
        let leaving = spans.iter().flat_map(|span| span.all.start + span.kept()..span.all.end);
        let leaving = UInt32Array::from_iter_values(leaving.map(|row| row as u32));
        let fresh = take_record_batch(&rows, &leaving)?;
        let firsts = UInt32Array::from_iter_values(spans.iter().map(|span| span.all.start as u32));
        let keys = stored.columns()[..spec.keys].iter();
        let keys = keys.map(|key| Ok(arrow::compute::take(key, &firsts, None)?));
        let keys = keys.collect::<Result<_>>()?;
        let ids = order.values().iter().map(|row| member(row).id).collect();
        let mut arranged = Self { ids, times, rows, fresh, keys, spans, places: Vec::new() };
        arranged.places = arranged.find_places(spec)?;
        Ok(arranged)
    }

    /// The times of the rows that leave.
    pub(super) fn fresh_times(&self) -> Vec<i64> {
        let leaving = self.spans.iter();
        leaving
            .flat_map(|span| &self.times[span.all.start + span.kept()..span.all.end])
            .copied()
            .collect()
    }

    /// Which rows that leave have another place in the order than the row before.
    fn find_places(&self, spec: &OverSpec) -> Result<Vec<bool>> {
        let times = self.fresh_times();
        let rest = if spec.order.is_empty() || times.is_empty() {
            None
        } else {
            Some(sortable(spec, &self.fresh, false)?)
        };
        let same = |a: usize, b: usize| {
            times[a] == times[b] && rest.as_ref().is_none_or(|rest| rest.row(a) == rest.row(b))
        };
        let mut places: Vec<_> =
            (0..times.len()).map(|row| row == 0 || !same(row - 1, row)).collect();
        for span in self.spans.iter().filter(|span| !span.fresh.is_empty()) {
            places[span.fresh.start] = true;
        }
        Ok(places)
    }
}

/// The order of members: by partition, by time, by the rest of the order, by all columns. Equal rows are interchangeable; which of
/// them is taken for the earlier one must not change with a restart, since one may be kept and the other not.
fn in_order(
    spec: &OverSpec,
    store: &RowStore,
    members: &[Member],
    stored: &RecordBatch,
) -> Result<UInt32Array> {
    let by_time = |a: u32, b: u32| {
        let (a, b) = (members[a as usize], members[b as usize]);
        a.partition.cmp(&b.partition).then(a.time.cmp(&b.time))
    };
    let mut order: Vec<u32> = (0..members.len() as u32).collect();
    order.sort_by(|&a, &b| by_time(a, b));
    let has_ties = order.windows(2).any(|pair| by_time(pair[0], pair[1]) == Ordering::Equal);
    if has_ties {
        let rows = sortable(spec, &spec.pick(stored)?, true)?;
        order.sort_by(|&a, &b| {
            let standing = |row: u32| store.standing(members[row as usize].id);
            by_time(a, b)
                .then_with(|| rows.row(a as usize).cmp(&rows.row(b as usize)))
                .then_with(|| standing(a).cmp(&standing(b)))
        });
    }
    Ok(UInt32Array::from(order))
}

/// The rest of the order as bytes, and, if `whole`, all columns behind it.
fn sortable(spec: &OverSpec, rows: &RecordBatch, whole: bool) -> Result<Rows> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for sort in spec.order.iter() {
        let column = sort.expr.evaluate(rows)?.into_array(rows.num_rows())?;
        fields.push(SortField::new_with_options(column.data_type().clone(), sort.options));
        columns.push(column);
    }
    if whole {
        fields
            .extend(rows.columns().iter().map(|column| SortField::new(column.data_type().clone())));
        columns.extend(rows.columns().iter().cloned());
    }
    Ok(RowConverter::new(fields)?.convert_columns(&columns)?)
}
