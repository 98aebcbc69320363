//! How rows and tallies become state rows and back.
//!
//! A state row is `[keys.., kind, time, other columns.., tally..]`; a row has no tally, and a tally no time and no other columns.
//! Whether a row waits or has left is told by the watermark.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt8Array, new_null_array},
    buffer::BooleanBuffer,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimestampNanosecondType, UInt8Type},
};
use datafusion::common::Result;

use super::{
    Over, OverSpec, ROWS, TALLIES,
    partitions::{Kept, PartitionId},
};
use crate::{
    chain::new_batch,
    operator::{
        Deferred, RestoredPart, StatePart, StateSnapshot,
        rows::{ListedPart, PortRows, RowId},
    },
};

impl OverSpec {
    /// The columns of a state row.
    pub(crate) fn state_schema(&self) -> Result<SchemaRef> {
        let nullable = |field: &Field| field.clone().with_nullable(true);
        let stored = self.stored_schema();
        let (keys, rest) = stored.fields().split_at(self.keys);
        let mut fields: Vec<Field> = keys.iter().map(|field| nullable(field)).collect();
        fields.push(Field::new("kind", DataType::UInt8, false));
        fields.extend(rest.iter().map(|field| nullable(field)));
        fields.extend(self.tally_fields()?.iter().map(nullable));
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Kept rows as state rows.
    fn to_state(&self, kept: &PortRows) -> Result<RecordBatch> {
        let rows = kept.rows.num_rows();
        let nulls = |fields: &Fields| {
            let fields = fields.iter();
            fields.map(|field| new_null_array(field.data_type(), rows)).collect::<Vec<_>>()
        };
        let (keys, own) = kept.rows.columns().split_at(self.keys);
        let mut columns = keys.to_vec();
        columns.push(Arc::new(UInt8Array::from(vec![kept.port; rows])) as ArrayRef);
        if kept.port == ROWS {
            columns.extend_from_slice(own);
            columns.extend(nulls(&Fields::from(self.tally_fields()?)));
        } else {
            columns.extend(nulls(&Fields::from(&self.stored_schema().fields()[self.keys..])));
            columns.extend_from_slice(own);
        }
        new_batch(&self.state_schema()?, columns, rows)
    }

    /// State rows of one kind as they are kept.
    fn kept_rows(&self, kind: u8, rows: &RecordBatch) -> Result<RecordBatch> {
        let (keys, rest) = rows.columns().split_at(self.keys);
        let others = self.stored_schema().fields().len() - self.keys;
        let own = if kind == ROWS { &rest[1..1 + others] } else { &rest[1 + others..] };
        let schema = if kind == ROWS { self.stored_schema() } else { self.tally_schema()? };
        new_batch(&schema, [keys, own].concat(), rows.num_rows())
    }
}

impl Over {
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

    /// Takes back a part; `kept` learns which partitions have rows that left.
    pub(super) fn take_part(
        &mut self,
        part: &RestoredPart,
        kept: &mut BTreeSet<PartitionId>,
    ) -> Result<()> {
        let mut from = 0;
        for batch in &part.batches {
            let kinds = batch.column(self.spec.keys).as_primitive::<UInt8Type>().clone();
            let mut at = 0;
            for run in kinds.values().chunk_by(|a, b| a == b) {
                let rows = self.spec.kept_rows(run[0], &batch.slice(at, run.len()))?;
                let dead = part.dead.as_ref().map(|dead| dead.slice(from + at, run.len()));
                self.take_run(part.id, run[0], rows, dead.as_ref(), kept)?;
                at += run.len();
            }
            from += batch.num_rows();
        }
        Ok(())
    }

    fn take_run(
        &mut self,
        part: u64,
        kind: u8,
        rows: RecordBatch,
        dead: Option<&BooleanBuffer>,
        kept: &mut BTreeSet<PartitionId>,
    ) -> Result<()> {
        let keys = self.partitions.encode(&rows.columns()[..self.spec.keys], rows.num_rows())?;
        let times = (kind == ROWS)
            .then(|| rows.column(self.spec.keys).as_primitive::<TimestampNanosecondType>().clone());
        let ids = self.rows.restore(part, PortRows { port: kind.min(TALLIES), rows }, dead)?;
        for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
            let partition = self.partitions.of(&keys.key(row));
            match times.as_ref().map(|times| times.value(row)) {
                Some(time) if time > self.watermark.0 => self.partitions.wait(partition, time, id),
                Some(time) => {
                    kept.insert(partition);
                    if let Some(partition) = self.partitions.get_mut(partition) {
                        // Until all parts are there nothing is known of its place among the others.
                        partition.kept.push(Kept { time, id, pinned: true });
                    }
                }
                None => {
                    if let Some(partition) = self.partitions.get_mut(partition) {
                        partition.tally = id;
                    }
                }
            }
        }
        Ok(())
    }
}
