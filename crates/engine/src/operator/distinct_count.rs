//! `count(DISTINCT x)` of many groups in one hash table.
//!
//! DataFusion counts the distinct texts of a group in a hash set of the group: an allocation a group and a virtual call a batch
//! and group, also when a window merges its slices. Here one table numbers the pairs of group and value, and a group is
//! a counter. Its partial state is DataFusion's, a list of values a group, so state that either wrote is read by both.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt32Array},
    buffer::OffsetBuffer,
    compute::{and, filter, is_not_null, prep_null_mask_filter, take},
    datatypes::{DataType, Field, FieldRef, Schema, UInt32Type},
};
use datafusion::{
    common::{Result, exec_datafusion_err},
    logical_expr::{EmitTo, GroupsAccumulator},
    physical_expr::aggregate::AggregateFunctionExpr,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

/// Counts the distinct values of each group; NULL is none.
pub(super) struct DistinctCount {
    /// The values in a state, and their type.
    value: FieldRef,
    /// Pairs of group and value, numbered in the order in which they came.
    pairs: Box<dyn GroupValues>,
    /// Distinct values by group.
    counts: Vec<i64>,
    /// The numbers of the pairs of a batch; kept for its memory.
    numbers: Vec<usize>,
}

impl DistinctCount {
    /// One, if `function` counts distinct values of a type whose equal values have equal bytes.
    pub(super) fn of(function: &AggregateFunctionExpr) -> Result<Option<Self>> {
        if function.fun().name() != "count" || !function.is_distinct() {
            return Ok(None);
        }
        let state = function.state_fields()?;
        match state.iter().map(|field| field.data_type()).collect::<Vec<_>>()[..] {
            [DataType::List(value)] if is_counted_here(value.data_type()) => {
                Ok(Some(Self::counting(Arc::clone(value))?))
            }
            _ => Ok(None),
        }
    }

    fn counting(value: FieldRef) -> Result<Self> {
        let pairs = Self::no_pairs(value.data_type())?;
        Ok(Self { value, pairs, counts: Vec::new(), numbers: Vec::new() })
    }

    fn no_pairs(value: &DataType) -> Result<Box<dyn GroupValues>> {
        let group = Field::new("group", DataType::UInt32, false);
        let schema = Schema::new(vec![group, Field::new("value", value.clone(), false)]);
        new_group_values(Arc::new(schema), &GroupOrdering::None)
    }

    /// Adds values that are not NULL, each with its group.
    fn add(&mut self, groups: &UInt32Array, values: ArrayRef, group_count: usize) -> Result<()> {
        self.counts.resize(group_count.max(self.counts.len()), 0);
        let known = self.pairs.len();
        let columns = [Arc::new(groups.clone()) as ArrayRef, values];
        self.pairs.intern(&columns, &mut self.numbers)?;
        let mut counted = vec![false; self.pairs.len() - known];
        for (&number, &group) in self.numbers.iter().zip(groups.values()) {
            if number >= known && !std::mem::replace(&mut counted[number - known], true) {
                self.counts[group as usize] += 1;
            }
        }
        Ok(())
    }

    /// Adds those of the wanted rows that are not NULL.
    fn add_present(
        &mut self,
        groups: &UInt32Array,
        values: &ArrayRef,
        wanted: Option<BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let present = if values.null_count() > 0 { Some(is_not_null(values)?) } else { None };
        let kept = match (wanted, present) {
            (None, None) => return self.add(groups, Arc::clone(values), group_count),
            (Some(kept), None) | (None, Some(kept)) => kept,
            (Some(wanted), Some(present)) => and(&wanted, &present)?,
        };
        let groups = filter(groups, &kept)?.as_primitive::<UInt32Type>().clone();
        self.add(&groups, filter(values, &kept)?, group_count)
    }

    /// The counts of the groups that are emitted; the others stay.
    fn take_counts(&mut self, emit_to: EmitTo) -> Vec<i64> {
        emit_to.take_needed(&mut self.counts)
    }

    /// Takes the pairs of the groups that are emitted; those of the others stay, under their new numbers.
    fn take_pairs(&mut self, emit_to: EmitTo) -> Result<(UInt32Array, ArrayRef)> {
        let columns = self.pairs.emit(EmitTo::All)?;
        let [groups, values] = &columns[..] else {
            return Err(exec_datafusion_err!("a table of pairs has {} columns", columns.len()));
        };
        let groups = groups.as_primitive::<UInt32Type>();
        let EmitTo::First(count) = emit_to else { return Ok((groups.clone(), Arc::clone(values))) };
        let goes = |group| (group as usize) < count;
        let out: BooleanArray = groups.values().iter().map(|&group| Some(goes(group))).collect();
        let stays: BooleanArray = groups.values().iter().map(|&group| Some(!goes(group))).collect();
        let moved = filter(groups, &stays)?;
        let moved: UInt32Array =
            moved.as_primitive::<UInt32Type>().unary(|group| group - count as u32);
        self.pairs = Self::no_pairs(self.value.data_type())?;
        self.pairs.intern(&[Arc::new(moved), filter(values, &stays)?], &mut self.numbers)?;
        Ok((filter(groups, &out)?.as_primitive::<UInt32Type>().clone(), filter(values, &out)?))
    }
}

/// Types that DataFusion compares by their bytes. Floats are left to it: it has its own idea of equal ones.
const fn is_counted_here(value: &DataType) -> bool {
    matches!(
        value,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::Date32
            | DataType::Timestamp(_, _)
            | DataType::Decimal128(_, _)
    )
}

/// Numbers of groups as a column; there are fewer groups in a table than 32 bits count.
fn group_column(groups: impl Iterator<Item = usize>) -> Result<UInt32Array> {
    let groups: Result<Vec<u32>, _> = groups.map(u32::try_from).collect();
    Ok(UInt32Array::from(groups.map_err(|_| exec_datafusion_err!("more than 2^32 groups"))?))
}

/// Where the list of each group begins and ends.
fn offsets(counts: &[i64]) -> Result<Vec<i32>> {
    let mut offsets = vec![0];
    let mut end = 0_i64;
    for count in counts {
        end += count;
        let offset = i32::try_from(end);
        offsets
            .push(offset.map_err(|_| {
                exec_datafusion_err!("more than 2^31 distinct values in one state")
            })?);
    }
    Ok(offsets)
}

impl GroupsAccumulator for DistinctCount {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let [values] = values else {
            return Err(exec_datafusion_err!("count(DISTINCT ..) takes one argument"));
        };
        let groups = group_column(group_indices.iter().copied())?;
        // A filter that is NULL passes nothing.
        let passed = opt_filter.map(|passed| match passed.null_count() {
            0 => passed.clone(),
            _ => prep_null_mask_filter(passed),
        });
        self.add_present(&groups, values, passed, total_num_groups)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let [lists] = values else {
            return Err(exec_datafusion_err!("the state of count(DISTINCT ..) is one column"));
        };
        let lists = lists.as_list::<i32>();
        let offsets = lists.value_offsets();
        let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        let groups = group_indices.iter().zip(lengths);
        let groups =
            group_column(groups.flat_map(|(&group, length)| std::iter::repeat_n(group, length)))?;
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { return Ok(()) };
        // DataFusion's lists may hold a NULL, which it does not count.
        let values = lists.values().slice(first as usize, (last - first) as usize);
        self.add_present(&groups, &values, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match emit_to {
            EmitTo::All => self.pairs = Self::no_pairs(self.value.data_type())?,
            EmitTo::First(_) => drop(self.take_pairs(emit_to)?),
        }
        Ok(Arc::new(Int64Array::from(self.take_counts(emit_to))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (groups, values) = self.take_pairs(emit_to)?;
        let counts = self.take_counts(emit_to);
        let offsets = offsets(&counts)?;
        // Pairs by group, in each group in the order in which they came: a counting sort.
        let mut next = offsets.to_vec();
        let mut order = vec![0_u32; groups.len()];
        for (pair, &group) in (0_u32..).zip(groups.values()) {
            let place = &mut next[group as usize];
            order[*place as usize] = pair;
            *place += 1;
        }
        let values = take(&values, &UInt32Array::from(order), None)?;
        let offsets = OffsetBuffer::new(offsets.into());
        Ok(vec![Arc::new(ListArray::try_new(Arc::clone(&self.value), offsets, values, None)?)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |values| values.len());
        let mut each = Self::counting(Arc::clone(&self.value))?;
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.pairs.size()
            + self.counts.capacity() * size_of::<i64>()
            + self.numbers.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests;
