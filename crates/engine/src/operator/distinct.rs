//! DISTINCT aggregates of floats whose result does not depend on the order in which a hash set gives its values.
//!
//! `sum(DISTINCT x)` and its like keep their values in a hash set and add them up in its order, which depends on a seed of the
//! process and on what was inserted when. The last bits of a float sum depend on that order, so a replay in another process could
//! give other rows than the log has. Here the values are sorted before they are added up.

use std::{mem::size_of_val, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, ListArray},
    compute::sort,
    datatypes::{DataType, Field, FieldRef, Schema},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err},
    logical_expr::{Accumulator, function::AccumulatorArgs},
    physical_expr::aggregate::AggregateFunctionExpr,
};

/// The aggregates that add up distinct values.
const ADDING: [&str; 4] = ["sum", "avg", "var", "var_pop"];

/// Whether the result of an aggregate depends on the order of a hash set, unless it is a [`SortedDistinct`].
pub(super) fn depends_on_order(function: &AggregateFunctionExpr) -> Result<bool> {
    Ok(function.is_distinct()
        && ADDING.contains(&function.fun().name())
        && distinct_value(&function.state_fields()?)
            .is_some_and(|value| value.data_type().is_floating()))
}

/// The values in the state of a DISTINCT aggregate.
fn distinct_value(state: &[FieldRef]) -> Option<&FieldRef> {
    match state {
        [list] => match list.data_type() {
            DataType::List(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// DataFusion's set of distinct values, and its aggregate without DISTINCT over them in their order.
#[derive(Debug)]
pub(super) struct SortedDistinct {
    set: Box<dyn Accumulator>,
    function: Arc<AggregateFunctionExpr>,
}

impl SortedDistinct {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>) -> Result<Self> {
        Ok(Self { set: function.create_accumulator()?, function })
    }

    /// The values in order, as one list. By IEEE 754's total order, so that no two that differ in a bit are equal.
    fn sorted(&mut self) -> Result<ListArray> {
        match self.set.state()?.as_slice() {
            [ScalarValue::List(list)] => {
                let (DataType::List(field), [_, _]) = (list.data_type(), list.value_offsets())
                else {
                    return Err(self.other_state());
                };
                let values = sort(&list.value(0), None)?;
                Ok(ListArray::try_new(Arc::clone(field), list.offsets().clone(), values, None)?)
            }
            _ => Err(self.other_state()),
        }
    }

    fn other_state(&self) -> datafusion::common::DataFusionError {
        exec_datafusion_err!("the state of {} is not one list of values", self.function.name())
    }

    /// The same aggregate without DISTINCT, over the values of the set.
    fn adding(&self) -> Result<Box<dyn Accumulator>> {
        let state = self.function.state_fields()?;
        let value = distinct_value(&state).ok_or_else(|| self.other_state())?;
        self.function.fun().accumulator(AccumulatorArgs {
            return_field: self.function.field(),
            schema: &Schema::empty(),
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.function.name(),
            is_distinct: false,
            exprs: &self.function.expressions(),
            expr_fields: &[Arc::new(Field::new("value", value.data_type().clone(), true))],
        })
    }
}

impl Accumulator for SortedDistinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.set.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.set.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::List(Arc::new(self.sorted()?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut adding = self.adding()?;
        adding.update_batch(&[self.sorted()?.value(0)])?;
        adding.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.set.size()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Float64Array},
        datatypes::{DataType, Field, Schema},
    };
    use datafusion::{
        common::ScalarValue,
        functions_aggregate::{
            average::avg_udaf,
            count::count_udaf,
            sum::sum_udaf,
            variance::{var_pop_udaf, var_samp_udaf},
        },
        logical_expr::{Accumulator, AggregateUDF},
        physical_expr::{
            aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
            expressions::col,
        },
    };

    use super::{SortedDistinct, depends_on_order};

    fn distinct(function: Arc<AggregateUDF>, of: DataType) -> Arc<AggregateFunctionExpr> {
        let rows = Arc::new(Schema::new(vec![Field::new("x", of, true)]));
        let builder = AggregateExprBuilder::new(function, vec![col("x", &rows).unwrap()]);
        Arc::new(builder.schema(rows).alias("a").distinct().build().unwrap())
    }

    /// Values whose sum depends on their order, each twice, and nulls.
    fn values(turn: usize) -> Float64Array {
        let value = |n: usize| {
            (!n.is_multiple_of(13)).then_some((n % 100) as f64 * 0.1 + 1e9 / (n % 100 + 1) as f64)
        };
        let mut values: Vec<_> = (0..200).map(value).collect();
        values.rotate_left(turn * 37 % 200);
        if turn % 2 == 1 {
            values.reverse();
        }
        values.into()
    }

    fn bits(value: &ScalarValue) -> u64 {
        match value {
            ScalarValue::Float64(Some(value)) => value.to_bits(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_order_of_the_values_and_the_seed_of_the_set_change_no_bit() {
        for function in [sum_udaf(), avg_udaf(), var_samp_udaf(), var_pop_udaf()] {
            let function = distinct(function, DataType::Float64);
            assert!(depends_on_order(&function).unwrap(), "{function:?}");
            let make = || SortedDistinct::new(Arc::clone(&function)).unwrap();
            let mut once = make();
            once.update_batch(&[Arc::new(values(0)) as ArrayRef]).unwrap();
            let (state, result) = (once.state().unwrap(), bits(&once.evaluate().unwrap()));
            for turn in 1..20 {
                // Row by row, and by way of a checkpoint in the middle.
                let (mut before, mut after, all) = (make(), make(), values(turn));
                for row in 0..100 {
                    before.update_batch(&[Arc::new(all.slice(row, 1))]).unwrap();
                }
                after.update_batch(&[Arc::new(all.slice(100, 100))]).unwrap();
                let state_of_before = before.state().unwrap()[0].to_array().unwrap();
                after.merge_batch(&[state_of_before]).unwrap();
                assert_eq!(after.state().unwrap(), state, "turn {turn}");
                assert_eq!(bits(&after.evaluate().unwrap()), result, "turn {turn}");
            }
        }
    }

    #[test]
    fn results_are_those_of_each_value_once() {
        let once = |function: Arc<AggregateUDF>, values: Vec<Option<f64>>| {
            let mut distinct = SortedDistinct::new(distinct(function, DataType::Float64)).unwrap();
            distinct.update_batch(&[Arc::new(Float64Array::from(values)) as ArrayRef]).unwrap();
            distinct.evaluate().unwrap()
        };
        let twice = vec![Some(1.0), None, Some(3.0), Some(1.0), Some(8.0), Some(3.0)];
        assert_eq!(once(sum_udaf(), twice.clone()), ScalarValue::Float64(Some(12.0)));
        assert_eq!(once(avg_udaf(), twice.clone()), ScalarValue::Float64(Some(4.0)));
        assert_eq!(once(var_samp_udaf(), twice.clone()), ScalarValue::Float64(Some(13.0)));
        assert_eq!(once(sum_udaf(), vec![None]), ScalarValue::Float64(None));
    }

    #[test]
    fn what_no_order_changes_is_left_to_datafusion() {
        for (function, of) in [(sum_udaf(), DataType::Int64), (count_udaf(), DataType::Float64)] {
            assert!(!depends_on_order(&distinct(function, of)).unwrap());
        }
    }
}
