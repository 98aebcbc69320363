//! Settled slices: partial states that take no more rows, how snapshots cut them, and how they come back.
//!
//! Snapshot `n` settles what its slices took since the one before, and merges it with what earlier ones settled, as
//! [`merged_from`] says. It only says so: hash tables become rows and rows are merged when somebody needs them, which is mostly
//! the task that writes the checkpoint.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, SchemaRef},
};
use datafusion::common::Result;

use super::SlicingWindows;
use crate::{
    chain::new_batch,
    operator::{
        Deferred, RestoredPart, StatePart, StateSnapshot,
        aggregate::{AggregateSpec, AggregateTable, States},
        merged_from,
        state::column_bytes,
    },
};

/// Partial states of one slice, one row a key.
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

/// A partial state of one slice that takes no more rows.
pub(super) struct Settled {
    partial: Deferred<Partial>,
    /// The bytes of what it is made of.
    before: usize,
}

impl Settled {
    fn done(partial: Partial) -> Self {
        Self { partial: Deferred::done(partial), before: 0 }
    }

    fn of(table: AggregateTable) -> Self {
        Self { before: table.memory(), partial: Deferred::new(|| Partial::of(table)) }
    }

    /// Of several, oldest first.
    fn merged(spec: AggregateSpec, all: Vec<Arc<Self>>) -> Self {
        let before = all.iter().map(|settled| settled.memory()).sum();
        let merge = move || {
            let mut merged = AggregateTable::new(&spec)?;
            for settled in all {
                settled.merge_into(&mut merged)?;
            }
            Partial::of(merged)
        };
        Self { before, partial: Deferred::new(merge) }
    }

    pub(super) fn merge_into(&self, table: &mut AggregateTable) -> Result<()> {
        let Partial { keys, states, rows } = self.partial.get()?;
        table.merge(keys, states, *rows)
    }

    fn memory(&self) -> usize {
        self.partial.ready().map_or(self.before, Partial::memory)
    }
}

/// The state of one slice.
#[derive(Default)]
pub(super) struct Slice {
    /// Takes new rows.
    pub(super) open: Option<AggregateTable>,
    /// Settled since the newest snapshot, because a window read them.
    recent: Vec<Arc<Settled>>,
    /// Settled by the snapshots of these numbers, ascending.
    settled: Vec<(u64, Arc<Settled>)>,
}

impl Slice {
    /// A slice of what was settled since the newest snapshot.
    pub(super) fn of(partial: Partial) -> Self {
        Self { recent: vec![Arc::new(Settled::done(partial))], ..Self::default() }
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
    pub(super) fn settle(&mut self) {
        if let Some(table) = self.open.take() {
            self.recent.push(Arc::new(Settled::of(table)));
        }
    }

    /// What is settled, oldest first.
    pub(super) fn all_settled(&self) -> impl Iterator<Item = &Settled> {
        self.settled.iter().map(|(_, settled)| settled).chain(&self.recent).map(AsRef::as_ref)
    }

    pub(super) fn memory(&self) -> usize {
        self.open.as_ref().map_or(0, AggregateTable::memory)
            + self.all_settled().map(Settled::memory).sum::<usize>()
    }

    /// Settles all that came behind snapshot `from` into one state, as of snapshot `number`.
    fn cut(
        &mut self,
        spec: &AggregateSpec,
        exact: bool,
        from: u64,
        number: u64,
    ) -> Option<Arc<Settled>> {
        self.settle();
        let keep = self.settled.partition_point(|(settled, _)| *settled <= from);
        let mut cut: Vec<_> = self.settled.drain(keep..).map(|(_, settled)| settled).collect();
        cut.append(&mut self.recent);
        let settled = match &cut[..] {
            [] => return None,
            [only] if exact => Arc::clone(only),
            _ => Arc::new(Settled::merged(spec.clone(), cut)),
        };
        self.settled.push((number, Arc::clone(&settled)));
        Some(settled)
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
        self.finish_newest()?;
        self.snapshot = number;
        let from = merged_from(number);
        let cut = self.slices.iter_mut().filter_map(|(&slice, state)| {
            Some((slice, state.cut(&self.spec, self.exact, from, number)?))
        });
        let cut: Vec<_> = cut.collect();
        let mut parts = self.list_parts();
        if let Some(part) = parts.iter_mut().find(|part| part.id == number) {
            let schema = Self::state_schema(&self.spec)?;
            let rows = move || {
                let rows = cut
                    .into_iter()
                    .map(|(slice, settled)| partial_rows(settled.partial.get()?, slice, &schema));
                rows.collect()
            };
            part.new = Some(Deferred::new(rows));
        }
        Ok(StateSnapshot { parts })
    }

    /// Does what the snapshot before left to do, so that there is never more of it than one snapshot leaves. Mostly nothing:
    /// another snapshot is taken once the one before is written. Only a replay comes sooner.
    fn finish_newest(&self) -> Result<()> {
        let mut newest = self.slices.values().filter_map(|slice| slice.settled.last());
        newest.try_for_each(|(_, settled)| settled.partial.get().map(|_| ()))
    }

    /// The parts that a slice has rows of, ascending by id.
    fn list_parts(&self) -> Vec<StatePart> {
        let settled = self.slices.values().flat_map(|slice| &slice.settled);
        let used: BTreeSet<u64> = settled.map(|(number, _)| *number).collect();
        used.into_iter().map(|id| StatePart { id, new: None, dead: None }).collect()
    }

    pub(super) fn take_parts(&mut self, number: u64, parts: Vec<RestoredPart>) -> Result<()> {
        self.snapshot = number;
        let needed = self.grid.slices_of(self.unfired).start;
        for part in parts {
            for batch in part.batches {
                self.take_batch(part.id, &batch, needed)?;
            }
        }
        self.forget_replaced();
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
                let partial = Partial { keys, states, rows: run };
                entry.settled.push((part, Arc::new(Settled::done(partial))));
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
