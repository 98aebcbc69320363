//! Chains of stateless operators, run inside the task that feeds them.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::{filter, filter_record_batch, prep_null_mask_filter},
    datatypes::{SchemaRef, TimestampNanosecondType},
};
use datafusion::{
    common::{DataFusionError, Result, cast::as_boolean_array},
    physical_expr::PhysicalExpr,
};
use postrider_core::Batch;

use crate::changes::{kinds_of, mend};

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
    /// Picks columns by position; costs nothing.
    Pick(Arc<[usize]>, SchemaRef),
}

/// Stateless operators in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain(pub(crate) Vec<ChainStep>);

impl Chain {
    /// Runs a batch through; `None` if no row is left.
    pub(crate) fn run(&self, batch: &Batch) -> Result<Option<Batch>> {
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
                ChainStep::Pick(columns, schema) => {
                    let picked =
                        columns.iter().map(|&column| Arc::clone(batch.rows.column(column)));
                    let rows = new_batch(schema, picked.collect(), batch.rows.num_rows())?;
                    Batch { rows, times: batch.times }
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
