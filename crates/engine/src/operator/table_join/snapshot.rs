//! How the kept rows of a join with a table become state rows and back.
//!
//! A state row is `[keys.., side, time, left columns.., right columns..]`; those of the other side are NULL.

use std::{cmp::Reverse, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt8Array, new_null_array},
    buffer::BooleanBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType, UInt8Type},
};
use datafusion::common::Result;

use super::{LEFT, RIGHT, TableJoin, TableJoinSpec, time_field};
use crate::{
    chain::new_batch,
    operator::{
        Deferred, RestoredPart, StatePart, StateSnapshot,
        rows::{ListedPart, PortRows, RowId},
        state::column_bytes,
    },
};

impl TableJoinSpec {
    /// The columns of a state row.
    pub(crate) fn state_schema(&self) -> SchemaRef {
        let nullable = |field: &Field| field.clone().with_nullable(true);
        let mut fields: Vec<Field> =
            self.key_fields().iter().map(|field| nullable(field)).collect();
        fields.push(Field::new("side", DataType::UInt8, false));
        fields.push(time_field());
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
        let (time, own) = rest.split_at(1);
        let mut columns = keys.to_vec();
        columns.push(Arc::new(UInt8Array::from(vec![kept.port; rows])) as ArrayRef);
        columns.extend_from_slice(time);
        for side in [LEFT, RIGHT] {
            if usize::from(kept.port) == side {
                columns.extend_from_slice(own);
            } else {
                let others = self.inputs[side].fields()[self.keys..].iter();
                columns.extend(others.map(|field| new_null_array(field.data_type(), rows)));
            }
        }
        new_batch(&self.state_schema(), columns, rows)
    }

    /// State rows of one side as they are kept.
    fn kept_rows(&self, side: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = |side: usize| self.inputs[side].fields().len() - self.keys;
        let first = self.keys + 2 + if side == LEFT { 0 } else { count(LEFT) };
        let columns = rows.columns();
        let mut kept = columns[..self.keys].to_vec();
        kept.push(Arc::clone(&columns[self.keys + 1]));
        kept.extend_from_slice(&columns[first..first + count(side)]);
        new_batch(&self.stored_schema(side), kept, rows.num_rows())
    }
}

impl TableJoin {
    pub(super) fn take_snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        let listed = self.rows.snapshot(number)?.into_iter();
        let parts = listed.map(|ListedPart { id, new, dead }| {
            let spec = self.spec.clone();
            let as_state = |kept: Vec<PortRows>| {
                Deferred::new(move || kept.iter().map(|kept| spec.to_state(kept)).collect())
            };
            StatePart { id, new: new.map(as_state), dead }
        });
        Ok(StateSnapshot { parts: parts.collect() })
    }

    pub(super) fn take_part(&mut self, part: &RestoredPart) -> Result<()> {
        let mut from = 0;
        for batch in &part.batches {
            let sides = batch.column(self.spec.keys).as_primitive::<UInt8Type>().clone();
            let mut at = 0;
            for run in sides.values().chunk_by(|a, b| a == b) {
                let rows = batch.slice(at, run.len());
                let dead = part.dead.as_ref().map(|dead| dead.slice(from + at, run.len()));
                self.take_run(part.id, run[0], &rows, dead.as_ref())?;
                at += run.len();
            }
            from += batch.num_rows();
        }
        Ok(())
    }

    /// Takes back state rows of one side.
    fn take_run(
        &mut self,
        part: u64,
        port: u8,
        rows: &RecordBatch,
        dead: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let side = usize::from(port).min(RIGHT);
        let rows = self.spec.kept_rows(side, rows)?;
        let keys = self.versions.encode(&rows.columns()[..self.spec.keys], rows.num_rows())?;
        let times = rows.column(self.spec.keys).as_primitive::<TimestampNanosecondType>().clone();
        if side == RIGHT {
            self.table_bytes += column_bytes(rows.columns());
        }
        let ids = self.rows.restore(part, PortRows { port: side as u8, rows }, dead)?;
        for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
            let time = times.value(row);
            if side == LEFT {
                self.waiting.push(Reverse((time, id)));
            } else {
                self.versions.insert(&keys.key(row), self.spec.from(time), id);
            }
        }
        Ok(())
    }
}
