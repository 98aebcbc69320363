//! Columns that were read as a whole, and the rows of them that are none.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, cast::AsArray,
    types::TimestampNanosecondType,
};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use postrider_core::{Decoded, Position, Reject, SourceError};

use super::json::{Bad, parse_time, quote, sql_name};
use crate::{
    failure::source_bug,
    limits::{OVERSIZE_RAW_BYTES, RECORD_BYTES_MAX},
};

/// The rows of a chunk that are none: for each its first fault.
#[derive(Debug, Default)]
pub(crate) struct Rejects(BTreeMap<usize, Bad>);

impl Rejects {
    /// Takes note of the fault of a row, unless it has one.
    pub(crate) fn add(&mut self, row: usize, bad: Bad) {
        self.0.entry(row).or_insert(bad);
    }

    /// The values of `column` in the type of `field`. A row whose value the type can't hold, or that has none where it must, is a reject.
    pub(crate) fn convert(
        &mut self,
        column: &ArrayRef,
        field: &Field,
    ) -> Result<ArrayRef, SourceError> {
        let converted = if column.data_type() == field.data_type() {
            Arc::clone(column)
        } else {
            let converted = convert(column, field.data_type()).map_err(|error| mixed_up(&error))?;
            self.note_lost(column, &converted, field).map_err(|error| mixed_up(&error))?;
            converted
        };
        if !field.is_nullable() && converted.null_count() > 0 {
            for row in (0..converted.len()).filter(|&row| converted.is_null(row)) {
                self.add(row, *Bad::missing(field.name(), "empty"));
            }
        }
        Ok(converted)
    }

    /// A value that is NULL once it was converted could not be.
    fn note_lost(
        &mut self,
        before: &ArrayRef,
        after: &ArrayRef,
        field: &Field,
    ) -> Result<(), ArrowError> {
        if before.null_count() == after.null_count() {
            return Ok(());
        }
        for row in (0..before.len()).filter(|&row| before.is_valid(row) && after.is_null(row)) {
            let value = cast(&before.slice(row, 1), &DataType::Utf8)?;
            let found = quote(value.as_string::<i32>().value(0));
            let kind = sql_name(field.data_type());
            let message = format!("column `{}` is {kind}, which can't hold {found}", field.name());
            let reason = if before.data_type().is_string() { "wrong_type" } else { "out_of_range" };
            self.add(row, *Bad::new(reason, message));
        }
        Ok(())
    }

    /// The rows that are left, and what became of the others.
    pub(crate) fn finish(
        self,
        schema: &SchemaRef,
        columns: Vec<ArrayRef>,
        rows: usize,
        place: impl Fn(usize) -> (Position, Bytes),
    ) -> Result<Decoded, SourceError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let nullable: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let all = Arc::new(arrow_schema::Schema::new(nullable));
        let all = RecordBatch::try_new_with_options(all, columns, &options)
            .map_err(|error| mixed_up(&error))?;
        let kept = if self.0.is_empty() {
            all
        } else {
            let keep: BooleanArray =
                (0..rows).map(|row| Some(!self.0.contains_key(&row))).collect();
            filter_record_batch(&all, &keep).map_err(|error| mixed_up(&error))?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let rows = RecordBatch::try_new_with_options(
            Arc::clone(schema),
            kept.columns().to_vec(),
            &options,
        )
        .map_err(|error| mixed_up(&error))?;
        let rejects = self.0.into_iter().map(|(row, bad)| {
            let (position, raw) = place(row);
            // A copy, so that a kept reject does not keep its whole chunk in memory.
            let shown = if raw.len() > RECORD_BYTES_MAX { OVERSIZE_RAW_BYTES } else { raw.len() };
            let raw = Bytes::copy_from_slice(&raw[..shown]);
            Reject { position, reason: bad.reason, message: bad.message, raw }
        });
        Ok(Decoded { rows, received_at: None, rejects: rejects.collect() })
    }
}

/// Into another type; what can't be converted is NULL.
fn convert(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    const SAFE: CastOptions<'static> =
        CastOptions { safe: true, format_options: arrow_cast::display::FormatOptions::new() };
    match (column.data_type(), wanted) {
        // In the forms that TIMESTAMP columns of JSON take.
        (DataType::Utf8, DataType::Timestamp(_, zone)) => {
            let texts = column.as_string::<i32>();
            let times = texts.iter().map(|text| text.and_then(parse_time));
            let times: arrow_array::PrimitiveArray<TimestampNanosecondType> = times.collect();
            cast_with_options(&times.with_timezone_opt(zone.clone()), wanted, &SAFE)
        }
        // A file that names no zone means UTC.
        (DataType::Timestamp(_, None), DataType::Timestamp(unit, Some(_))) => {
            let plain = cast_with_options(column, &DataType::Timestamp(*unit, None), &SAFE)?;
            cast_with_options(&cast(&plain, &DataType::Int64)?, wanted, &SAFE)
        }
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, None)) => {
            // A moment: its zone says only how it is shown.
            let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
            let utc = cast_with_options(column, &utc, &SAFE)?;
            let plain: ArrayRef = Arc::new(
                utc.as_primitive::<TimestampNanosecondType>()
                    .clone()
                    .with_timezone_opt(None::<&str>),
            );
            cast_with_options(&plain, wanted, &SAFE)
        }
        _ => cast_with_options(column, wanted, &SAFE),
    }
}

fn mixed_up(error: &ArrowError) -> SourceError {
    source_bug(format!("columns of a file don't fit together: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, StringArray, TimestampMillisecondArray, TimestampNanosecondArray};
    use arrow_schema::{DataType, TimeUnit};

    use super::convert;

    #[test]
    fn moments_come_with_any_offset_and_from_files_without_zone() {
        let moments = |unit| DataType::Timestamp(unit, Some("UTC".into()));
        let texts = ["2026-11-24T12:00:00+02:00", "2026-11-24 10:00:00.5", "soon"];
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let wanted: ArrayRef = Arc::new(
            TimestampMillisecondArray::from(vec![
                Some(1_795_514_400_000),
                Some(1_795_514_400_500),
                None,
            ])
            .with_timezone("UTC"),
        );
        let read = convert(&texts, &moments(TimeUnit::Millisecond)).unwrap();
        assert_eq!(&read, &wanted);
        let plain: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5, i64::MAX]));
        let wanted: ArrayRef = Arc::new(
            TimestampNanosecondArray::from(vec![Some(5_000_000), None]).with_timezone("UTC"),
        );
        assert_eq!(&convert(&plain, &moments(TimeUnit::Nanosecond)).unwrap(), &wanted);
        let elsewhere = TimestampMillisecondArray::from(vec![5]).with_timezone("+02:00");
        let wanted: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![5_000_000]).with_timezone("UTC"));
        let elsewhere: ArrayRef = Arc::new(elsewhere);
        assert_eq!(&convert(&elsewhere, &moments(TimeUnit::Nanosecond)).unwrap(), &wanted);
    }
}
