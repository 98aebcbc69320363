use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use datafusion::{
    functions_aggregate::count::count_udaf,
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
    physical_expr::{
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::col,
    },
};
use proptest::{collection::vec, option, prelude::*};

use super::DistinctCount;

fn counting(of: DataType) -> AggregateFunctionExpr {
    let rows = Arc::new(Schema::new(vec![Field::new("x", of, true)]));
    let builder = AggregateExprBuilder::new(count_udaf(), vec![col("x", &rows).unwrap()]);
    builder.schema(rows).alias("a").distinct().build().unwrap()
}

fn texts() -> DistinctCount {
    DistinctCount::of(&counting(DataType::Utf8)).unwrap().unwrap()
}

/// What DataFusion counts, a group at a time.
struct Oracle(Vec<Box<dyn Accumulator>>);

impl Oracle {
    fn new(groups: usize) -> Self {
        let function = counting(DataType::Utf8);
        Self((0..groups).map(|_| function.create_accumulator().unwrap()).collect())
    }

    fn add(&mut self, groups: &[usize], values: &StringArray, passes: &BooleanArray) {
        for (row, &group) in groups.iter().enumerate() {
            if passes.is_valid(row) && passes.value(row) {
                let value: ArrayRef = Arc::new(values.slice(row, 1));
                self.0[group].update_batch(&[value]).unwrap();
            }
        }
    }

    fn counts(&mut self) -> Vec<i64> {
        let count = |group: &mut Box<dyn Accumulator>| {
            let value = group.evaluate().unwrap().to_array().unwrap();
            value.as_primitive::<Int64Type>().value(0)
        };
        self.0.iter_mut().map(count).collect()
    }
}

fn numbers(array: &ArrayRef) -> Vec<i64> {
    array.as_primitive::<Int64Type>().values().to_vec()
}

/// A row: its group, its value (a few texts that repeat, or NULL), and whether a filter passes it.
type Row = (usize, Option<u8>, Option<bool>);

fn rows(groups: usize) -> impl Strategy<Value = Vec<Row>> {
    vec((0..groups, option::weighted(0.9, 0..30_u8), option::weighted(0.8, any::<bool>())), 0..200)
}

/// Some groups, batches of rows, each perhaps with a checkpoint behind it, and how many groups leave first.
fn runs() -> impl Strategy<Value = (usize, Vec<(Vec<Row>, bool)>, usize)> {
    (1..20_usize).prop_flat_map(|groups| {
        (Just(groups), vec((rows(groups), any::<bool>()), 1..6), 0..=groups)
    })
}

fn text(n: u8) -> String {
    if n == 0 { String::new() } else { format!("a longer text {n}") }
}

proptest! {
    #[test]
    fn counts_are_those_of_datafusion_by_way_of_states_and_of_groups_that_leave((groups, batches, first) in runs()) {
        let (mut count, mut oracle) = (texts(), Oracle::new(groups));
        for (rows, checkpoint) in batches {
            let to: Vec<_> = rows.iter().map(|row| row.0).collect();
            let values: StringArray = rows.iter().map(|row| row.1.map(text)).collect();
            let passes: BooleanArray = rows.iter().map(|row| row.2).collect();
            oracle.add(&to, &values, &passes);
            count.update_batch(&[Arc::new(values)], &to, Some(&passes), groups).unwrap();
            if checkpoint {
                let state = count.state(EmitTo::All).unwrap();
                count = texts();
                count.merge_batch(&state, &(0..groups).collect::<Vec<_>>(), groups).unwrap();
            }
        }
        let wanted = oracle.counts();
        prop_assert_eq!(numbers(&count.evaluate(EmitTo::First(first)).unwrap()), &wanted[..first]);
        let state = count.state(EmitTo::All).unwrap();
        let lists = state[0].as_list::<i32>();
        let lengths: Vec<_> = lists.iter().map(|list| list.unwrap().len() as i64).collect();
        prop_assert_eq!(lengths, &wanted[first..]);
    }
}

#[test]
fn a_state_of_datafusion_is_read_and_merged() {
    let mut datafusion = counting(DataType::Utf8).create_accumulator().unwrap();
    let some: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]));
    datafusion.update_batch(&[Arc::clone(&some)]).unwrap();
    let state = datafusion.state().unwrap()[0].to_array().unwrap();
    let mut count = texts();
    count.update_batch(&[Arc::new(StringArray::from(vec!["b", "c"]))], &[1, 0], None, 2).unwrap();
    count.merge_batch(&[state], &[1], 2).unwrap();
    assert_eq!(numbers(&count.evaluate(EmitTo::All).unwrap()), [1, 2]);
}

#[test]
fn the_memory_of_many_groups_is_told() {
    let mut count = texts();
    let before = count.size();
    let groups: Vec<_> = (0..10_000).collect();
    let values: ArrayRef =
        Arc::new(groups.iter().map(|n| Some(format!("value {n}"))).collect::<StringArray>());
    count.update_batch(&[values], &groups, None, groups.len()).unwrap();
    assert!(count.size() > before + 10_000 * 20, "{} bytes", count.size());
}

#[test]
fn days_are_counted_here_and_floats_left_to_datafusion() {
    let mut days = DistinctCount::of(&counting(DataType::Date32)).unwrap().unwrap();
    let values: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), Some(1), None, Some(2)]));
    days.update_batch(&[values], &[0, 0, 0, 0], None, 1).unwrap();
    assert_eq!(numbers(&days.evaluate(EmitTo::All).unwrap()), [2]);
    assert!(DistinctCount::of(&counting(DataType::Float64)).unwrap().is_none());
}
