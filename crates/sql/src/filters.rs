//! DataFusion's rule that pushes filters down, made safe for filters by the time of a row.
//!
//! `row_time()` and `now()` read no column, so the rule takes a filter by them for one that may run anywhere. Below a window a row has another
//! time than the window's result has, and passes in another epoch: such a filter stays where it is, above everything that makes rows anew.

use std::sync::Arc;

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{
        Expr, Filter, LogicalPlan,
        utils::{conjunction, split_conjunction_owned},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule, push_down_filter::PushDownFilter},
};
use postrider_plan::{EpochClock, RowTime};

use crate::table_joins;

/// `PushDownFilter` that keeps the times.
#[derive(Debug, Default)]
pub(crate) struct PushFilters(PushDownFilter);

impl OptimizerRule for PushFilters {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter)
                if reads_moment(&filter.predicate) && !keeps_times(&filter.input) =>
            {
                split(filter)
            }
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(reads_moment) => {
                Ok(Transformed::no(LogicalPlan::Join(join)))
            }
            LogicalPlan::Filter(filter) if table_joins::of(&filter.input).is_some() => {
                table_joins::filters::move_below(filter)
            }
            plan => self.0.rewrite(plan, config),
        }
    }
}

/// Whether an expression depends on when its row passes, or happened.
pub(crate) fn reads_moment(expr: &Expr) -> bool {
    RowTime::is_in(expr) || EpochClock::is_in(expr)
}

/// Conditions by the time stay where they are, above the others, which may go.
fn split(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let parts = split_conjunction_owned(filter.predicate.clone());
    let (timed, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(reads_moment);
    let (Some(timed), Some(others)) = (conjunction(timed), conjunction(others)) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let below = LogicalPlan::Filter(Filter::try_new(others, filter.input)?);
    let above = Filter::try_new(timed, Arc::new(below))?;
    Ok(Transformed::yes(LogicalPlan::Filter(above)))
}

/// Whether each row of a node is made of one row of its input, at the same time. What lies under a filter counts: the rule merges filters.
fn keeps_times(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => keeps_times(&filter.input),
        LogicalPlan::Projection(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_) => true,
        _ => false,
    }
}
