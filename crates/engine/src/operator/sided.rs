//! Kept rows of two inputs as state rows and back.
//!
//! A row is kept as `[keys.., own.., others..]`, where `own` are columns of the operator. A state row is
//! `[keys.., side, own.., left others.., right others..]`; those of the other side are NULL.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt8Array, new_null_array},
    buffer::BooleanBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type},
};
use datafusion::common::Result;

use super::{
    Deferred, RestoredPart, StatePart, StateSnapshot,
    rows::{ListedPart, PortRows},
};
use crate::chain::new_batch;

pub(super) const LEFT: usize = 0;
pub(super) const RIGHT: usize = 1;

/// The columns of an operator that keeps rows of two inputs.
#[derive(Debug, Clone)]
pub(super) struct TwoSides {
    pub(super) keys: usize,
    /// The columns in which the rows of each side arrive: `[keys.., others..]`.
    pub(super) inputs: [SchemaRef; 2],
    /// The columns of the operator's own.
    pub(super) own: Vec<Field>,
}

impl TwoSides {
    /// The columns of kept rows.
    pub(super) fn stored_schema(&self, side: usize) -> SchemaRef {
        let fields = self.inputs[side].fields().iter().map(|field| field.as_ref().clone());
        let mut fields: Vec<_> = fields.collect();
        fields.splice(self.keys..self.keys, self.own.iter().cloned());
        Arc::new(Schema::new(fields))
    }

    /// Arriving rows as they are kept.
    pub(super) fn store(
        &self,
        side: usize,
        rows: &RecordBatch,
        own: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        columns.splice(self.keys..self.keys, own);
        new_batch(&self.stored_schema(side), columns, rows.num_rows())
    }

    /// Kept rows with other columns of the operator's own.
    pub(super) fn with_own(&self, kept: &RecordBatch, own: Vec<ArrayRef>) -> Result<RecordBatch> {
        let mut columns = kept.columns().to_vec();
        columns.splice(self.keys..self.keys + self.own.len(), own);
        new_batch(&kept.schema(), columns, kept.num_rows())
    }

    /// Kept rows as they arrived.
    pub(super) fn arrived(&self, side: usize, kept: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = kept.columns().to_vec();
        columns.drain(self.keys..self.keys + self.own.len());
        new_batch(&self.inputs[side], columns, kept.num_rows())
    }

    /// Where a column of arriving rows stands in kept ones.
    pub(super) fn stored(&self, column: usize) -> usize {
        if column < self.keys { column } else { column + self.own.len() }
    }

    /// The columns of a state row.
    pub(super) fn state_schema(&self) -> SchemaRef {
        let nullable = |field: &Field| field.clone().with_nullable(true);
        let keys = &self.inputs[LEFT].fields()[..self.keys];
        let mut fields: Vec<Field> = keys.iter().map(|field| nullable(field)).collect();
        fields.push(Field::new("side", DataType::UInt8, false));
        fields.extend(self.own.iter().cloned());
        for (side, name) in [(LEFT, "left"), (RIGHT, "right")] {
            let others = self.inputs[side].fields()[self.keys..].iter();
            fields.extend(
                others.map(|field| nullable(field).with_name(format!("{name} {}", field.name()))),
            );
        }
        Arc::new(Schema::new(fields))
    }

    /// Kept rows of a side as state rows.
    fn to_state(&self, kept: &PortRows) -> Result<RecordBatch> {
        let rows = kept.rows.num_rows();
        let (keys, rest) = kept.rows.columns().split_at(self.keys);
        let (own, others) = rest.split_at(self.own.len());
        let nulls = |side: usize| {
            let fields = self.inputs[side].fields()[self.keys..].iter();
            fields.map(|field| new_null_array(field.data_type(), rows)).collect::<Vec<_>>()
        };
        let side: ArrayRef = Arc::new(UInt8Array::from(vec![kept.port; rows]));
        let mut columns = keys.to_vec();
        columns.push(side);
        columns.extend_from_slice(own);
        if usize::from(kept.port) == LEFT {
            columns.extend_from_slice(others);
            columns.extend(nulls(RIGHT));
        } else {
            columns.extend(nulls(LEFT));
            columns.extend_from_slice(others);
        }
        new_batch(&self.state_schema(), columns, rows)
    }

    /// State rows of one side as they are kept.
    fn kept_rows(&self, side: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let first = self.keys + 1 + self.own.len();
        let left = self.inputs[LEFT].fields().len() - self.keys;
        let count = self.inputs[side].fields().len() - self.keys;
        let others = if side == LEFT { first } else { first + left };
        let columns = rows.columns();
        let mut kept = columns[..self.keys].to_vec();
        kept.extend_from_slice(&columns[self.keys + 1..first]);
        kept.extend_from_slice(&columns[others..others + count]);
        new_batch(&self.stored_schema(side), kept, rows.num_rows())
    }

    /// Kept rows as a snapshot lists them, as state rows.
    pub(super) fn snapshot(&self, listed: Vec<ListedPart>) -> StateSnapshot {
        let parts = listed.into_iter().map(|ListedPart { id, new, dead }| {
            let sides = self.clone();
            let as_state = |kept: Vec<PortRows>| {
                Deferred::new(move || kept.iter().map(|kept| sides.to_state(kept)).collect())
            };
            StatePart { id, new: new.map(as_state), dead }
        });
        StateSnapshot { parts: parts.collect() }
    }

    /// The runs of one side's rows in a part, as they are kept, and which of them no longer count.
    pub(super) fn runs(
        &self,
        part: &RestoredPart,
    ) -> Result<Vec<(usize, RecordBatch, Option<BooleanBuffer>)>> {
        let (mut runs, mut from) = (Vec::new(), 0);
        for batch in &part.batches {
            let sides = batch.column(self.keys).as_primitive::<UInt8Type>().clone();
            let mut at = 0;
            for run in sides.values().chunk_by(|a, b| a == b) {
                let side = usize::from(run[0]).min(RIGHT);
                let rows = self.kept_rows(side, &batch.slice(at, run.len()))?;
                let dead = part.dead.as_ref().map(|dead| dead.slice(from + at, run.len()));
                runs.push((side, rows, dead));
                at += run.len();
            }
            from += batch.num_rows();
        }
        Ok(runs)
    }
}
