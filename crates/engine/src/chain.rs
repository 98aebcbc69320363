//! Chains of stateless operators, run inside the task that feeds them.

mod unnest;

use std::sync::Arc;

use arrow::{
    array::{
        Array, AsArray, BooleanArray, DurationNanosecondArray, RecordBatch, RecordBatchOptions,
        TimestampNanosecondArray, UInt32Array,
    },
    compute::{filter, filter_record_batch, prep_null_mask_filter, take},
    datatypes::{SchemaRef, TimestampNanosecondType},
};
use datafusion::{
    common::{DataFusionError, Result, cast::as_boolean_array},
    physical_expr::PhysicalExpr,
};
use postrider_core::{Batch, ClockTime, Watermark};

pub(crate) use self::unnest::Unnest;
use crate::{
    calendar::Calendar,
    changes::{kinds_of, mend},
    operator::Grid,
};

/// One stateless operator.
#[derive(Debug, Clone)]
pub(crate) enum ChainStep {
    /// Keeps the rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Keeps the rows of a changelog for which the expression is true; halves of updates whose other half is dropped change
    /// their kind.
    FilterChanges(Arc<dyn PhysicalExpr>),
    /// Computes new columns.
    Project(Arc<[Arc<dyn PhysicalExpr>]>, SchemaRef),
    /// Puts the start of each row's window in place of its time zone, and the last time of that window in place of its own.
    OwnDays {
        calendar: Calendar,
        /// Where the zone stands.
        zone: usize,
        schema: SchemaRef,
    },
    /// Repeats each row for each of its windows, with their starts, ends and last times as columns, and the last time as its own.
    Windows {
        grid: Grid,
        /// How much later than a row the last time of a window may be that it is in.
        reach_ns: i64,
        schema: SchemaRef,
    },
    /// Makes a row of each item of a list.
    Unnest(Unnest),
    /// Keeps the rows at or before the watermark that their source had, with that and how far behind it they are as columns. Their time is
    /// the moment after it from there on.
    Late(SchemaRef),
    /// Picks columns by position; costs nothing.
    Pick(Arc<[usize]>, SchemaRef),
    /// Appends the times of the rows as a column, for a step whose expressions read them.
    Time(SchemaRef),
    /// Appends the reading of the clock as a column, for a step whose expressions read it.
    Clock(SchemaRef),
}

/// What is known of an epoch before its first row passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The reading of its clock, which is journaled with it.
    pub(crate) clock: ClockTime,
    /// The watermark of the source of these rows; behind a stage nobody asks.
    pub(crate) watermark: Watermark,
}

/// Stateless operators in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain(pub(crate) Vec<ChainStep>);

impl Chain {
    /// Runs a batch through; `None` if no row is left.
    pub(crate) fn run(&self, batch: &Batch, moment: Moment) -> Result<Option<Batch>> {
        let mut batch = batch.clone();
        for step in &self.0 {
            if batch.rows.num_rows() == 0 {
                return Ok(None);
            }
            batch = match step {
                ChainStep::Filter(predicate) => keep(&batch, predicate)?,
                ChainStep::FilterChanges(predicate) => keep_changes(&batch, predicate)?,
                ChainStep::Project(expressions, schema) => {
                    Batch { rows: project(&batch.rows, expressions, schema)?, times: batch.times }
                }
                ChainStep::OwnDays { calendar, zone, schema } => {
                    own_days(&batch, *calendar, *zone, schema)?
                }
                ChainStep::Late(schema) => late(&batch, moment.watermark, schema)?,
                ChainStep::Windows { grid, schema, .. } => in_windows(&batch, *grid, schema)?,
                ChainStep::Unnest(step) => step.run(&batch)?,
                ChainStep::Pick(columns, schema) => {
                    let picked =
                        columns.iter().map(|&column| Arc::clone(batch.rows.column(column)));
                    let rows = new_batch(schema, picked.collect(), batch.rows.num_rows())?;
                    Batch { rows, times: batch.times }
                }
                ChainStep::Time(schema) => with_column(&batch, batch.times.clone(), schema)?,
                ChainStep::Clock(schema) => {
                    let clock = moment.clock.0;
                    let clock = TimestampNanosecondArray::from_value(clock, batch.rows.num_rows());
                    with_column(&batch, clock, schema)?
                }
            };
        }
        Ok((batch.rows.num_rows() > 0).then_some(batch))
    }
}

fn keep(batch: &Batch, predicate: &Arc<dyn PhysicalExpr>) -> Result<Batch> {
    let mask = predicate.evaluate(&batch.rows)?.into_array(batch.rows.num_rows())?;
    retain(batch, as_boolean_array(&mask)?)
}

fn keep_changes(batch: &Batch, predicate: &Arc<dyn PhysicalExpr>) -> Result<Batch> {
    let mask = predicate.evaluate(&batch.rows)?.into_array(batch.rows.num_rows())?;
    let mask = as_boolean_array(&mask)?;
    let mut columns = batch.rows.columns().to_vec();
    if let Some(kinds) = columns.last_mut() {
        *kinds = Arc::new(mend(kinds_of(kinds), mask));
    }
    let rows = new_batch(&batch.rows.schema(), columns, batch.rows.num_rows())?;
    retain(&Batch { rows, times: batch.times.clone() }, mask)
}

/// Keeps the rows whose mask is true; NULL is false.
pub(crate) fn retain(batch: &Batch, mask: &BooleanArray) -> Result<Batch> {
    let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
    if mask.true_count() == mask.len() {
        return Ok(batch.clone());
    }
    let times = filter(&batch.times, &mask)?;
    if batch.rows.num_columns() == 0 {
        let rows = new_batch(&batch.rows.schema(), Vec::new(), times.len())?;
        return Ok(Batch { rows, times: times.as_primitive::<TimestampNanosecondType>().clone() });
    }
    Ok(Batch {
        rows: filter_record_batch(&batch.rows, &mask)?,
        times: times.as_primitive::<TimestampNanosecondType>().clone(),
    })
}

fn project(
    rows: &RecordBatch,
    expressions: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let columns = expressions
        .iter()
        .map(|expression| expression.evaluate(rows)?.into_array(rows.num_rows()))
        .collect::<Result<Vec<_>>>()?;
    new_batch(schema, columns, rows.num_rows())
}

fn with_column(
    batch: &Batch,
    column: TimestampNanosecondArray,
    schema: &SchemaRef,
) -> Result<Batch> {
    let mut columns = batch.rows.columns().to_vec();
    columns.push(Arc::new(column));
    let rows = new_batch(schema, columns, batch.rows.num_rows())?;
    Ok(Batch { rows, times: batch.times.clone() })
}

fn late(batch: &Batch, watermark: Watermark, schema: &SchemaRef) -> Result<Batch> {
    let behind = |time: i64| watermark != Watermark::MIN && time <= watermark.0;
    let mask = batch.times.values().iter().map(|&time| behind(time)).collect::<Vec<_>>();
    let late = retain(batch, &BooleanArray::from(mask))?;
    let count = late.times.len();
    let by = late.times.values().iter().map(|&time| watermark.0.saturating_sub(time));
    let mut columns = late.rows.columns().to_vec();
    columns.push(Arc::new(TimestampNanosecondArray::from_value(watermark.0, count)));
    columns.push(Arc::new(DurationNanosecondArray::from_iter_values(by)));
    let rows = new_batch(schema, columns, count)?;
    let next = TimestampNanosecondArray::from_value(watermark.0.saturating_add(1), count);
    Ok(Batch { rows, times: next })
}

fn in_windows(batch: &Batch, grid: Grid, schema: &SchemaRef) -> Result<Batch> {
    let count = batch.times.len();
    let mut rows = Vec::with_capacity(count);
    let (mut starts, mut ends) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (row, &time) in (0_u32..).zip(batch.times.values()) {
        for (start, end) in grid.windows_at(time) {
            rows.push(row);
            starts.push(start);
            ends.push(end);
        }
    }
    let (rows, count) = (UInt32Array::from(rows), starts.len());
    let repeated = batch.rows.columns().iter().map(|column| take(column, &rows, None));
    let mut columns = repeated.collect::<std::result::Result<Vec<_>, _>>()?;
    let ends = TimestampNanosecondArray::from(ends);
    let lasts: TimestampNanosecondArray = ends.unary(|end| end - 1);
    columns.push(Arc::new(TimestampNanosecondArray::from(starts)));
    columns.push(Arc::new(ends));
    columns.push(Arc::new(lasts.clone()));
    Ok(Batch { rows: new_batch(schema, columns, count)?, times: lasts })
}

fn own_days(batch: &Batch, calendar: Calendar, zone: usize, schema: &SchemaRef) -> Result<Batch> {
    let (starts, lasts) =
        calendar.windows(batch.rows.column(zone).as_string::<i32>(), &batch.times)?;
    let mut columns = batch.rows.columns().to_vec();
    columns[zone] = Arc::new(starts);
    Ok(Batch { rows: new_batch(schema, columns, lasts.len())?, times: lasts })
}

/// A batch that may have no column at all, as under `count(*)`.
pub(crate) fn new_batch(
    schema: &SchemaRef,
    columns: Vec<arrow::array::ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(DataFusionError::from)
}
