//! Settled slices: partial states that take no more rows, how snapshots cut them, and how they come back.
//!
//! Snapshot `n` settles what its slices took since the one before, and merges it with what earlier ones settled, as
//! [`merged_from`] says.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, SchemaRef},
};
use datafusion::common::Result;

use super::SlicingWindows;
use crate::{
    chain::new_batch,
    operator::{
        RestoredPart, StatePart, StateSnapshot,
        aggregate::{AggregateSpec, AggregateTable, States},
        merged_from,
        state::column_bytes,
    },
};

/// Partial states of one slice, one row a key.
#[derive(Clone)]
pub(super) struct Partial {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) states: States,
    pub(super) rows: usize,
}

impl Partial {
    pub(super) fn of(table: AggregateTable) -> Result<Self> {
        let (keys, states, rows) = table.into_states()?;
        Ok(Self { keys, states, rows })
    }

    fn memory(&self) -> usize {
        column_bytes(self.keys.iter().chain(self.states.iter().flatten()))
    }
}

/// The state of one slice.
#[derive(Default)]
pub(super) struct Slice {
    /// Takes new rows.
    pub(super) open: Option<AggregateTable>,
    /// Settled since the newest snapshot, because a window read them.
    recent: Vec<Partial>,
    /// Settled by the snapshots of these numbers, ascending.
    settled: Vec<(u64, Partial)>,
}

impl Slice {
    /// A slice of what was settled since the newest snapshot.
    pub(super) fn of(partial: Partial) -> Self {
        Self { recent: vec![partial], ..Self::default() }
    }

    /// The first snapshot of whose rows it has some.
    pub(super) fn first_settled(&self) -> Option<u64> {
        self.settled.first().map(|(number, _)| *number)
    }

    /// Forgets what earlier snapshots settled.
    pub(super) fn forget_settled_before(&mut self, number: u64) {
        self.settled.retain(|(settled, _)| *settled >= number);
    }

    pub(super) fn is_settled(&self) -> bool {
        !self.settled.is_empty() || !self.recent.is_empty()
    }

    /// Settles what is open.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(table) = self.open.take() {
            self.recent.push(Partial::of(table)?);
        }
        Ok(())
    }

    /// What is settled, oldest first.
    pub(super) fn partials(&self) -> impl Iterator<Item = &Partial> {
        self.settled.iter().map(|(_, partial)| partial).chain(&self.recent)
    }

    pub(super) fn memory(&self) -> usize {
        self.open.as_ref().map_or(0, AggregateTable::memory)
            + self.partials().map(Partial::memory).sum::<usize>()
    }

    /// Settles all that came behind snapshot `from` into one state, as of snapshot `number`.
    fn cut(
        &mut self,
        spec: &AggregateSpec,
        exact: bool,
        from: u64,
        number: u64,
    ) -> Result<Option<&Partial>> {
        self.settle()?;
        let keep = self.settled.partition_point(|(settled, _)| *settled <= from);
        let mut cut: Vec<_> = self.settled.drain(keep..).map(|(_, partial)| partial).collect();
        cut.append(&mut self.recent);
        let partial = match (cut.pop(), cut.is_empty()) {
            (None, _) => return Ok(None),
            (Some(only), true) if exact => only,
            (Some(last), _) => {
                let mut merged = AggregateTable::new(spec)?;
                for Partial { keys, states, rows } in cut.iter().chain([&last]) {
                    merged.merge(keys, states, *rows)?;
                }
                Partial::of(merged)?
            }
        };
        self.settled.push((number, partial));
        Ok(self.settled.last().map(|(_, partial)| partial))
    }
}

fn slice_column() -> Field {
    Field::new("slice", DataType::Int64, false)
}

impl SlicingWindows {
    /// Keys, the number of the slice, partial states.
    pub(in crate::operator) fn state_schema(spec: &AggregateSpec) -> Result<SchemaRef> {
        spec.state_schema(&[slice_column()])
    }

    pub(super) fn take_snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.snapshot = number;
        let schema = Self::state_schema(&self.spec)?;
        let from = merged_from(number);
        let mut new = Vec::new();
        let mut rows = 0;
        for (&slice, state) in &mut self.slices {
            if let Some(partial) = state.cut(&self.spec, self.exact, from, number)? {
                rows += partial.rows as u64;
                new.push(partial_rows(partial, slice, &schema)?);
            }
        }
        self.list_parts();
        self.parts.remove(&number);
        let known = self.parts.iter();
        let known = known.map(|(&id, &rows)| StatePart { id, rows, new: None, dead: None });
        let mut parts: Vec<_> = known.collect();
        if rows > 0 {
            parts.push(StatePart { id: number, rows, new: Some(new), dead: None });
            self.parts.insert(number, rows);
        }
        Ok(StateSnapshot { parts })
    }

    /// Forgets the parts that no slice has rows of.
    fn list_parts(&mut self) {
        let settled = self.slices.values().flat_map(|slice| &slice.settled);
        let used: std::collections::HashSet<u64> = settled.map(|(number, _)| *number).collect();
        self.parts.retain(|number, _| used.contains(number));
    }

    pub(super) fn take_parts(&mut self, number: u64, parts: Vec<RestoredPart>) -> Result<()> {
        self.snapshot = number;
        let needed = self.grid.slices_of(self.unfired).start;
        for part in parts {
            self.parts.insert(part.id, part.rows() as u64);
            for batch in part.batches {
                self.take_batch(part.id, &batch, needed)?;
            }
        }
        self.forget_replaced();
        self.list_parts();
        Ok(())
    }

    /// Takes the rows of a batch, which are in runs of one slice.
    fn take_batch(&mut self, part: u64, batch: &RecordBatch, needed: i128) -> Result<()> {
        let own = self.spec.key_schema.fields().len();
        let slices = batch.column(own).as_primitive::<Int64Type>().values().clone();
        let mut from = 0;
        while let Some(&slice) = slices.get(from) {
            let run = slices[from..].iter().take_while(|&&other| other == slice).count();
            if i128::from(slice) >= needed {
                let (keys, _, states) = self.spec.split_state(&batch.slice(from, run), 1)?;
                let entry = self.slices.entry(slice.into()).or_default();
                entry.settled.push((part, Partial { keys, states, rows: run }));
            }
            from += run;
        }
        Ok(())
    }
}

fn partial_rows(partial: &Partial, slice: i128, schema: &SchemaRef) -> Result<RecordBatch> {
    // Slices that hold rows are numbered within 64 bits.
    let number = Int64Array::from_value(slice as i64, partial.rows);
    let columns = partial.keys.iter().cloned().chain([Arc::new(number) as ArrayRef]);
    let columns = columns.chain(partial.states.iter().flatten().cloned()).collect();
    new_batch(schema, columns, partial.rows)
}
