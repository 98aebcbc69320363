//! How what is kept of groups becomes state rows and back.
//!
//! A state row is `[keys.., kind, written, partial states.., results of the bag.., values.., count]`: a row of totals has no
//! values, and one of a bag nothing else.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt8Array, new_null_array},
    buffer::BooleanBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType, UInt8Type},
};
use datafusion::common::{Result, exec_err};

use super::{BAG, TOTALS, Updating, UpdatingSpec, columns_from};
use crate::{
    chain::new_batch,
    operator::{
        Deferred, RestoredPart, StatePart, StateSnapshot,
        rows::{ListedPart, PortRows, RowId},
    },
};

impl UpdatingSpec {
    /// The columns of a state row.
    pub(crate) fn state_schema(&self) -> Result<SchemaRef> {
        let totals = self.totals_schema()?;
        let (keys, rest) = totals.fields().split_at(self.keys());
        let mut fields: Vec<Field> = keys.iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new("kind", DataType::UInt8, false));
        fields.extend(rest.iter().map(|field| field.as_ref().clone()));
        if let Some(bag) = self.bag_schema() {
            let values = &bag.fields()[self.keys()..];
            fields.extend(values.iter().map(|field| {
                let name = format!("bag {}", field.name());
                field.as_ref().clone().with_name(name)
            }));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Kept rows as state rows.
    fn to_state(&self, kept: &PortRows) -> Result<RecordBatch> {
        let rows = kept.rows.num_rows();
        let schema = self.state_schema()?;
        let nulls = |from: usize, to: usize| {
            let fields = schema.fields()[from..to].iter();
            fields.map(|field| new_null_array(field.data_type(), rows)).collect::<Vec<_>>()
        };
        let keys = self.keys();
        let totals = self.totals_schema()?.fields().len() - keys;
        let mut columns = kept.rows.columns()[..keys].to_vec();
        columns.push(Arc::new(UInt8Array::from(vec![kept.port; rows])) as ArrayRef);
        if kept.port == TOTALS {
            columns.extend(columns_from(&kept.rows, keys));
            columns.extend(nulls(keys + 1 + totals, schema.fields().len()));
        } else {
            columns.extend(nulls(keys + 1, keys + 1 + totals));
            columns.extend(columns_from(&kept.rows, keys));
        }
        new_batch(&schema, columns, rows)
    }

    /// State rows of one kind as they are kept.
    fn kept_rows(&self, kind: u8, rows: &RecordBatch) -> Result<RecordBatch> {
        let (totals, keys) = (self.totals_schema()?, self.keys());
        let border = totals.fields().len() + 1;
        let columns = rows.columns();
        let (schema, own) = match self.bag_schema() {
            Some(bag) if kind == BAG => (bag, &columns[border..]),
            _ => (totals, &columns[keys + 1..border]),
        };
        new_batch(&schema, [&columns[..keys], own].concat(), rows.num_rows())
    }
}

impl Updating {
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

    /// Takes parts back. Groups first: what is in a bag is found by its group.
    pub(super) fn take_parts(&mut self, parts: &[RestoredPart]) -> Result<()> {
        for kind in [TOTALS, BAG] {
            for part in parts {
                self.take_part(kind, part)?;
            }
        }
        Ok(())
    }

    fn take_part(&mut self, kind: u8, part: &RestoredPart) -> Result<()> {
        let mut from = 0;
        for batch in &part.batches {
            let kinds = batch.column(self.spec.keys()).as_primitive::<UInt8Type>().clone();
            let mut at = 0;
            for run in kinds.values().chunk_by(|a, b| a == b) {
                if run[0] == kind {
                    let rows = self.spec.kept_rows(kind, &batch.slice(at, run.len()))?;
                    let dead = part.dead.as_ref().map(|dead| dead.slice(from + at, run.len()));
                    self.take_run(part.id, kind, rows, dead.as_ref())?;
                }
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
    ) -> Result<()> {
        let width = self.spec.keys();
        let keys = self.groups.encode(&rows.columns()[..width], rows.num_rows())?;
        let written = (kind == TOTALS)
            .then(|| rows.column(width).as_primitive::<TimestampNanosecondType>().clone());
        let ids = self.rows.restore(part, PortRows { port: kind, rows }, dead)?;
        for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
            let key = keys.key(row);
            match (&written, self.groups.find(&key)) {
                (Some(written), None) => {
                    self.groups.insert(&key, id, written.value(row));
                }
                (None, Some(group)) => {
                    if let Some(group) = self.groups.get_mut(group) {
                        group.bag.push(id);
                    }
                }
                _ => return exec_err!("the state of a group is there twice, or not at all"),
            }
        }
        Ok(())
    }
}
