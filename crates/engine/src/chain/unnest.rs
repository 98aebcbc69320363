//! `unnest(list)`: a row for each item of a list, with the other columns and the time of the list's row.
//!
//! The items of all lists of a batch stand in one array already; what is repeated is taken by row numbers.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int8Array, ListArray, UInt32Array},
    compute::{cast, take},
    datatypes::{DataType, Field, SchemaRef, TimestampNanosecondType},
};
use datafusion::common::{Result, exec_err, plan_datafusion_err};
use postrider_core::Batch;

use super::new_batch;
use crate::{
    changes::{DELETE, INSERT, TAKES_BACK, kinds_of},
    limits::{UNNEST_ITEMS, UNNEST_ROW_BYTES},
};

/// One list column becomes its items.
#[derive(Debug, Clone)]
pub(crate) struct Unnest {
    /// Where the list stands.
    pub(crate) list: usize,
    /// How many lists within each other are taken apart.
    pub(crate) depth: usize,
    /// Whether a row without items leaves once, with NULL for one.
    pub(crate) keeps_empty: bool,
    /// The column of the input that each column of the result repeats; `None`: the items.
    pub(crate) columns: Arc<[Option<usize>]>,
    /// Whether the last column holds the kinds of a changelog.
    pub(crate) is_updating: bool,
    pub(crate) schema: SchemaRef,
}

impl Unnest {
    /// Takes the lists of a batch apart, in order.
    ///
    /// # Errors
    /// A row becomes more than is allowed.
    pub(super) fn run(&self, batch: &Batch) -> Result<Batch> {
        let (mut rows, mut items) = self.items(batch.rows.column(self.list))?;
        for _ in 1..self.depth {
            let (inner, innermost) = self.items(&items)?;
            rows = take(&rows, &inner, None)?.as_primitive().clone();
            items = innermost;
        }
        self.check(batch, &rows)?;
        let columns = self.columns.iter().map(|from| match from {
            None => Ok(Arc::clone(&items)),
            Some(column) => Ok(take(batch.rows.column(*column), &rows, None)?),
        });
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        if self.is_updating
            && let Some(kinds) = columns.last_mut()
        {
            *kinds = Arc::new(apart(kinds_of(kinds)));
        }
        let times = take(&batch.times, &rows, None)?;
        Ok(Batch {
            rows: new_batch(&self.schema, columns, rows.len())?,
            times: times.as_primitive::<TimestampNanosecondType>().clone(),
        })
    }

    /// The items of all lists in order, and for each the row that it is of.
    fn items(&self, lists: &ArrayRef) -> Result<(UInt32Array, ArrayRef)> {
        let lists = as_lists(lists)?;
        let (mut rows, mut at) = (Vec::new(), Vec::new());
        for (row, ends) in (0_u32..).zip(lists.offsets().windows(2)) {
            let [from, to] = ends else { continue };
            let is_null = lists.is_null(row as usize);
            if is_null || from == to {
                if self.keeps_empty {
                    rows.push(row);
                    at.push(None);
                }
                continue;
            }
            let count = (to - from) as usize;
            if count > UNNEST_ITEMS {
                return exec_err!(
                    "unnest takes lists of at most {UNNEST_ITEMS} items, and this one has {count}"
                );
            }
            rows.resize(rows.len() + count, row);
            at.extend((*from as u32..*to as u32).map(Some));
        }
        let items = take(lists.values(), &UInt32Array::from(at), None)?;
        Ok((UInt32Array::from(rows), items))
    }

    /// A text of a megabyte beside a list of ten thousand items would be ten gigabytes.
    fn check(&self, batch: &Batch, rows: &UInt32Array) -> Result<()> {
        let repeated = self.columns.iter().flatten().map(|&column| batch.rows.column(column));
        let mut widths = vec![0_u64; batch.rows.num_rows()];
        for column in repeated {
            add_widths(column, &mut widths);
        }
        let mut from = 0;
        while let Some(&row) = rows.values().get(from) {
            let copies = rows.values()[from..].partition_point(|&other| other == row);
            let width = widths.get(row as usize).copied().unwrap_or(0);
            let bytes = width.saturating_mul(copies as u64);
            if copies > 1 && bytes > UNNEST_ROW_BYTES {
                return exec_err!(
                    "unnest would make {bytes} bytes of one row with {copies} items, over the limit of {UNNEST_ROW_BYTES}"
                );
            }
            from += copies;
        }
        Ok(())
    }
}

/// Lists of any form in that of lists.
fn as_lists(lists: &ArrayRef) -> Result<ListArray> {
    let item = match lists.data_type() {
        DataType::List(_) => return Ok(lists.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item,
        other => return Err(plan_datafusion_err!("{other} is no list")),
    };
    let wanted = DataType::List(Arc::new(Field::clone(item)));
    Ok(cast(lists, &wanted)?.as_list::<i32>().clone())
}

/// Adds how many bytes each value of a column takes.
fn add_widths(column: &ArrayRef, widths: &mut [u64]) {
    let offsets = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().offsets(),
        DataType::Binary => column.as_binary::<i32>().offsets(),
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let mut items = vec![0; lists.values().len()];
            add_widths(lists.values(), &mut items);
            for (width, ends) in widths.iter_mut().zip(lists.offsets().windows(2)) {
                let items = items.get(ends[0] as usize..ends[1] as usize).unwrap_or_default();
                *width = items.iter().fold(*width, |sum, item| sum.saturating_add(*item));
            }
            return;
        }
        DataType::Struct(_) => {
            column.as_struct().columns().iter().for_each(|field| add_widths(field, widths));
            return;
        }
        other => {
            // What has no width of its own is as wide as all of it on average.
            let all = || column.to_data().get_slice_memory_size().unwrap_or(0);
            let average = || all().div_ceil(column.len().max(1));
            let width = other.primitive_width().unwrap_or_else(average) as u64;
            widths.iter_mut().for_each(|sum| *sum += width);
            return;
        }
    };
    for (width, ends) in widths.iter_mut().zip(offsets.windows(2)) {
        *width += ends[1].abs_diff(ends[0]) as u64;
    }
}

/// The kinds of the rows of items. The old and the new lists of an update may differ in length, so their items are no pairs.
fn apart(kinds: &Int8Array) -> Int8Array {
    kinds.unary(|kind| if kind & TAKES_BACK == 0 { INSERT } else { DELETE })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray,
            TimestampNanosecondArray,
        },
        buffer::{NullBuffer, OffsetBuffer},
        datatypes::{DataType, Field, Int64Type, Schema},
    };
    use postrider_core::Batch;

    use super::Unnest;
    use crate::limits::{UNNEST_ITEMS, UNNEST_ROW_BYTES};

    fn step(keeps_empty: bool) -> Unnest {
        let fields = vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("item", DataType::Int64, true),
        ];
        Unnest {
            list: 1,
            depth: 1,
            keeps_empty,
            columns: Arc::from([Some(0), None]),
            is_updating: false,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    fn batch(names: Vec<String>, lists: ListArray) -> Batch {
        let times = TimestampNanosecondArray::from_iter_values(0..names.len() as i64);
        let names: ArrayRef = Arc::new(StringArray::from(names));
        let lists: ArrayRef = Arc::new(lists);
        let rows =
            RecordBatch::try_from_iter_with_nullable([("name", names, false), ("l", lists, true)]);
        Batch { rows: rows.unwrap(), times }
    }

    /// The name, the item and the time of each row.
    fn shown(batch: &Batch) -> Vec<(String, Option<i64>, i64)> {
        let names = batch.rows.column(0).as_string::<i32>();
        let items = batch.rows.column(1).as_primitive::<Int64Type>();
        let row = |row: usize| {
            let item = items.is_valid(row).then(|| items.value(row));
            (names.value(row).to_owned(), item, batch.times.value(row))
        };
        (0..batch.rows.num_rows()).map(row).collect()
    }

    #[test]
    fn a_null_list_gives_nothing_even_if_it_has_items() {
        let field = Arc::new(Field::new("item", DataType::Int64, true));
        let values = Int64Array::from(vec![Some(1), None, Some(3), Some(4)]);
        let nulls = Some(NullBuffer::from(vec![true, false, true, true]));
        let offsets = OffsetBuffer::new(vec![0, 2, 3, 3, 4].into());
        let lists = ListArray::new(field, offsets, Arc::new(values), nulls);
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let batch = batch(names, lists);
        let of = |name: &str, item, time| (name.to_owned(), item, time);
        let items = [of("a", Some(1), 0), of("a", None, 0), of("d", Some(4), 3)];
        assert_eq!(shown(&step(false).run(&batch).unwrap()), items);
        let [first, second, last] = items;
        let kept = [first, second, of("b", None, 1), of("c", None, 2), last];
        assert_eq!(shown(&step(true).run(&batch).unwrap()), kept);
        // A slice of it has its own offsets.
        let rest = Batch { rows: batch.rows.slice(2, 2), times: batch.times.slice(2, 2) };
        assert_eq!(shown(&step(false).run(&rest).unwrap()), [of("d", Some(4), 3)]);
    }

    #[test]
    fn a_row_becomes_no_more_than_its_share() {
        let of = |items: usize, name: usize| {
            let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(
                (0..items as i64).map(Some),
            )]);
            step(false)
                .run(&batch(vec!["x".repeat(name)], lists))
                .map(|batch| batch.rows.num_rows())
        };
        assert_eq!(of(UNNEST_ITEMS, 8).unwrap(), UNNEST_ITEMS);
        assert!(of(UNNEST_ITEMS + 1, 8).unwrap_err().to_string().contains("at most"));
        let width = UNNEST_ROW_BYTES as usize / 100;
        assert_eq!(of(100, width).unwrap(), 100);
        assert!(of(101, width).unwrap_err().to_string().contains("bytes of one row"));
    }
}
