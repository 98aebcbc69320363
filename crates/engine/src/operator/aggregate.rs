//! Hash aggregation over DataFusion's group tables and accumulators, shared by all windows.
//!
//! Rows arrive as `[keys.., arguments.., filters..]`: the chain in front of the exchange computed
//! every expression already, so an operator only looks columns up.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray, TimestampNanosecondArray},
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};
use datafusion::{
    common::{Result, exec_datafusion_err},
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
    physical_expr::aggregate::AggregateFunctionExpr,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;
use postrider_core::Batch;

use super::{
    distinct::{SortedDistinct, depends_on_order},
    distinct_count::DistinctCount,
};
use crate::chain::new_batch;

/// One aggregate function and where its inputs stand in the incoming rows.
#[derive(Debug, Clone)]
pub(crate) struct AggregateCall {
    pub(crate) function: Arc<AggregateFunctionExpr>,
    pub(crate) arguments: Vec<usize>,
    pub(crate) filter: Option<usize>,
}

/// What a windowed aggregate computes.
#[derive(Debug, Clone)]
pub(crate) struct AggregateSpec {
    /// The key columns of incoming rows, which come first.
    pub(crate) key_schema: SchemaRef,
    /// The aggregates in output order.
    pub(crate) calls: Arc<[AggregateCall]>,
    /// Where the window struct stands among the keys in the output.
    pub(crate) window_index: usize,
    /// Keys with the window struct, then aggregates.
    pub(crate) output_schema: SchemaRef,
}

impl AggregateSpec {
    /// The columns of a state row: the key, the operator's own, then the partial states of each aggregate.
    pub(crate) fn state_schema(&self, own: &[Field]) -> Result<SchemaRef> {
        let mut fields: Vec<Field> =
            self.key_schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(own.iter().cloned());
        for call in self.calls.iter() {
            let states = call.function.state_fields()?;
            fields.extend(states.iter().map(|field| field.as_ref().clone().with_nullable(true)));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Takes the columns of state rows apart: keys, the operator's own, partial states.
    pub(crate) fn split_state(
        &self,
        rows: &RecordBatch,
        own: usize,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>, States)> {
        let mut columns = rows.columns().iter().cloned();
        let keys = columns.by_ref().take(self.key_schema.fields().len()).collect();
        let own = columns.by_ref().take(own).collect();
        let mut states = Vec::with_capacity(self.calls.len());
        for call in self.calls.iter() {
            let width = call.function.state_fields()?.len();
            states.push(columns.by_ref().take(width).collect());
        }
        Ok((keys, own, states))
    }

    /// Whether merging a partial state into an empty accumulator gives that state bit by bit, for every aggregate. The
    /// Welford family computes `mean * n / n`, which may round.
    pub(crate) fn merges_exactly(&self) -> bool {
        const EXACT: [&str; 12] = [
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "first_value",
            "last_value",
            "array_agg",
            "bool_and",
            "bool_or",
            "approx_distinct",
            "string_agg",
        ];
        self.calls.iter().all(|call| EXACT.contains(&call.function.fun().name()))
    }

    /// The key columns of a batch.
    pub(crate) fn keys<'a>(&self, batch: &'a Batch) -> &'a [ArrayRef] {
        &batch.rows.columns()[..self.key_schema.fields().len()]
    }

    /// One accumulator for each call.
    pub(crate) fn accumulators(&self) -> Result<Vec<Box<dyn GroupsAccumulator>>> {
        self.calls
            .iter()
            .map(|call| {
                if let Some(count) = DistinctCount::of(&call.function)? {
                    return Ok(Box::new(count) as _);
                }
                if call.function.groups_accumulator_supported() {
                    return call.function.create_groups_accumulator();
                }
                let function = Arc::clone(&call.function);
                if depends_on_order(&function)? {
                    let make = move || {
                        let sorted = SortedDistinct::new(Arc::clone(&function))?;
                        Ok(Box::new(sorted) as Box<dyn Accumulator>)
                    };
                    return Ok(Box::new(GroupsAccumulatorAdapter::new(make)) as _);
                }
                let adapter = GroupsAccumulatorAdapter::new(move || function.create_accumulator());
                Ok(Box::new(adapter) as Box<dyn GroupsAccumulator>)
            })
            .collect()
    }

    /// Feeds rows to accumulators: row `i` goes to group `groups[i]`.
    pub(crate) fn update(
        &self,
        accumulators: &mut [Box<dyn GroupsAccumulator>],
        rows: &RecordBatch,
        groups: &[usize],
        group_count: usize,
    ) -> Result<()> {
        for (call, accumulator) in self.calls.iter().zip(accumulators) {
            let arguments: Vec<_> =
                call.arguments.iter().map(|&column| Arc::clone(rows.column(column))).collect();
            let filter: Option<&BooleanArray> =
                call.filter.map(|column| rows.column(column).as_boolean());
            accumulator.update_batch(&arguments, groups, filter, group_count)?;
        }
        Ok(())
    }

    /// The output rows of finished groups. `starts` and `ends` are the window of each row.
    pub(crate) fn output(
        &self,
        mut keys: Vec<ArrayRef>,
        values: Vec<ArrayRef>,
        starts: TimestampNanosecondArray,
        ends: TimestampNanosecondArray,
    ) -> Result<Batch> {
        let times = ends.unary(|end| end - 1);
        let rows = times.len();
        let window =
            StructArray::try_new(window_fields(), vec![Arc::new(starts), Arc::new(ends)], None)?;
        keys.insert(self.window_index, Arc::new(window));
        keys.extend(values);
        Ok(Batch { rows: new_batch(&self.output_schema, keys, rows)?, times })
    }
}

/// The fields of a window struct.
pub(crate) fn window_fields() -> Fields {
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    Fields::from(vec![
        Field::new("start", nanoseconds.clone(), false),
        Field::new("end", nanoseconds, false),
    ])
}

/// The arrays that hold the partial state of some groups: for each call, its state columns.
pub(crate) type States = Vec<Vec<ArrayRef>>;

/// Numbers the distinct keys of rows.
enum Groups {
    /// No key columns: everything is one group.
    Single {
        seen: bool,
    },
    Keyed(Box<dyn GroupValues>),
}

/// One hash table with its accumulators.
pub(crate) struct AggregateTable {
    groups: Groups,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    indices: Vec<usize>,
}

impl AggregateTable {
    pub(crate) fn new(spec: &AggregateSpec) -> Result<Self> {
        let groups = if spec.key_schema.fields().is_empty() {
            Groups::Single { seen: false }
        } else {
            let schema = Arc::new(Schema::new(spec.key_schema.fields().clone()));
            Groups::Keyed(new_group_values(schema, &GroupOrdering::None)?)
        };
        Ok(Self { groups, accumulators: spec.accumulators()?, indices: Vec::new() })
    }

    /// The group of each row that was added or looked up last.
    pub(crate) fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Looks up the groups of rows, and adds those that are new.
    pub(crate) fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        match &mut self.groups {
            Groups::Single { seen } => {
                *seen |= rows > 0;
                self.indices.clear();
                self.indices.resize(rows, 0);
                Ok(())
            }
            Groups::Keyed(values) => values.intern(keys, &mut self.indices),
        }
    }

    /// Bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let groups = match &self.groups {
            Groups::Single { .. } => 0,
            Groups::Keyed(values) => values.size(),
        };
        groups + self.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }

    fn len(&self) -> usize {
        match &self.groups {
            Groups::Single { seen } => usize::from(*seen),
            Groups::Keyed(values) => values.len(),
        }
    }

    /// Adds rows.
    pub(crate) fn update(&mut self, spec: &AggregateSpec, rows: &RecordBatch) -> Result<()> {
        let keys = spec.key_schema.fields().len();
        self.update_by(spec, &rows.columns()[..keys], rows)
    }

    /// Adds rows whose keys are not among their columns.
    pub(crate) fn update_by(
        &mut self,
        spec: &AggregateSpec,
        keys: &[ArrayRef],
        rows: &RecordBatch,
    ) -> Result<()> {
        self.intern(keys, rows.num_rows())?;
        let groups = self.len();
        spec.update(&mut self.accumulators, rows, &self.indices, groups)
    }

    /// Adds partial states of groups, as [`into_states`](Self::into_states) gave them.
    pub(crate) fn merge(&mut self, keys: &[ArrayRef], states: &States, rows: usize) -> Result<()> {
        self.intern(keys, rows)?;
        let groups = self.len();
        for (accumulator, state) in self.accumulators.iter_mut().zip(states) {
            accumulator.merge_batch(state, &self.indices, groups)?;
        }
        Ok(())
    }

    /// Ends the table: its keys alone.
    pub(crate) fn into_keys(mut self) -> Result<Vec<ArrayRef>> {
        self.take_keys()
    }

    fn take_keys(&mut self) -> Result<Vec<ArrayRef>> {
        match &mut self.groups {
            Groups::Single { .. } => Ok(Vec::new()),
            Groups::Keyed(values) => values.emit(EmitTo::All),
        }
    }

    /// Ends the table: its keys, its final values, and how many groups there are.
    pub(crate) fn evaluate(mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>, usize)> {
        let rows = self.len();
        let keys = self.take_keys()?;
        let values = self
            .accumulators
            .iter_mut()
            .map(|accumulator| accumulator.evaluate(EmitTo::All))
            .collect::<Result<Vec<_>>>()?;
        if values.iter().chain(&keys).any(|column| column.len() != rows) {
            return Err(exec_datafusion_err!("an aggregate lost groups"));
        }
        Ok((keys, values, rows))
    }

    /// Ends the table: its keys, its partial states, and how many groups there are.
    pub(crate) fn into_states(mut self) -> Result<(Vec<ArrayRef>, States, usize)> {
        let rows = self.len();
        let keys = self.take_keys()?;
        let states = self
            .accumulators
            .iter_mut()
            .map(|accumulator| accumulator.state(EmitTo::All))
            .collect::<Result<Vec<_>>>()?;
        Ok((keys, states, rows))
    }
}
