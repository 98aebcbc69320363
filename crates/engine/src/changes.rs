//! The kinds of the rows of a changelog.
//!
//! They are the last column of a batch inside a dataflow, behind those that the plan knows, as Flink's bytes: expressions find
//! their columns where they always are, and exchanges, filters and joins of batches treat the kinds as they treat any
//! column. Who reads a relation knows from the plan whether it has them.
//!
//! In every batch a `-U` is directly followed by the `+U` of the same update. Only what leaves a dataflow needs the pairs:
//! to operators `-U` and `-D` take a row back, `+I` and `+U` add one.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int8Type, Schema, SchemaRef},
};
use datafusion::common::Result;
pub(crate) use postrider_core::changes::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE, field};

use crate::chain::new_batch;

/// The bit that the kinds have which take a row back.
pub(crate) const TAKES_BACK: i8 = 1;

/// A relation with the kinds of its rows.
pub(crate) fn with_kinds(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain([field()]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a changelog as sinks take it: first the kinds, as text. A column that is called so already leaves them the
/// next free name.
pub(crate) fn written_schema(schema: &Schema) -> SchemaRef {
    let mut name = field().name().clone();
    while schema.column_with_name(&name).is_some() {
        name.insert(0, '_');
    }
    let kind = Field::new(name, DataType::Utf8, false);
    let columns = schema.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new([kind].into_iter().chain(columns).collect::<Vec<_>>()))
}

/// Rows with their kinds as sinks take them: `+I`, `-U`, `+U`, `-D`. A half of an update whose other half is not there was left
/// by itself: an old row is gone, a new one is new.
pub(crate) fn written(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let Some((kinds, columns)) = rows.columns().split_last() else { return Ok(rows.clone()) };
    let texts = kinds_of(kinds).values().iter().map(|kind| match *kind {
        UPDATE_BEFORE => "-U",
        UPDATE_AFTER => "+U",
        DELETE => "-D",
        _ => "+I",
    });
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let columns = [kinds].into_iter().chain(columns.iter().cloned());
    new_batch(schema, columns.collect(), rows.num_rows())
}

/// The kinds of rows.
pub(crate) fn kinds_of(column: &ArrayRef) -> &Int8Array {
    column.as_primitive::<Int8Type>()
}

/// The kinds of rows of which some are left out: of a pair that is torn apart, the old row is gone, or the new one is new.
pub(crate) fn mend(kinds: &Int8Array, kept: &BooleanArray) -> Int8Array {
    let stays = |row: usize| row < kept.len() && kept.is_valid(row) && kept.value(row);
    let kinds = kinds.values().iter().enumerate().map(|(row, kind)| match *kind {
        UPDATE_BEFORE if !stays(row + 1) => DELETE,
        UPDATE_AFTER if row == 0 || !stays(row - 1) => INSERT,
        kind => kind,
    });
    Int8Array::from_iter_values(kinds)
}

/// One row of a changelog by itself.
pub(crate) fn alone(row: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = row.columns().to_vec();
    if let Some(kinds) = columns.last_mut() {
        *kinds = Arc::new(mend(kinds_of(kinds), &BooleanArray::from(vec![true])));
    }
    new_batch(&row.schema(), columns, row.num_rows())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int8Array};

    use super::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE, mend};

    #[test]
    fn a_pair_that_is_torn_apart_is_a_delete_or_an_insert() {
        let kinds = Int8Array::from_iter_values([UPDATE_BEFORE, UPDATE_AFTER].repeat(4));
        let kept = BooleanArray::from(vec![true, true, true, false, false, true, false, false]);
        let mended = mend(&kinds, &kept);
        let left: Vec<_> =
            (0..8).filter(|row| kept.value(*row)).map(|row| mended.value(row)).collect();
        assert_eq!(left, [UPDATE_BEFORE, UPDATE_AFTER, DELETE, INSERT]);
    }
}
