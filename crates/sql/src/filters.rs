//! DataFusion's rule that pushes filters down, made safe for filters by the time of a row.
//!
//! `row_time()` reads no column, so the rule takes a filter by it for one that may run anywhere. Below a window a row has another time
//! than the window's result has: such a filter stays where it is, above everything that makes rows anew.

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::LogicalPlan,
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule, push_down_filter::PushDownFilter},
};
use postrider_plan::RowTime;

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
        match &plan {
            LogicalPlan::Filter(filter)
                if RowTime::is_in(&filter.predicate) && !keeps_times(&filter.input) =>
            {
                Ok(Transformed::no(plan))
            }
            _ => self.0.rewrite(plan, config),
        }
    }
}

/// Whether each row of a node is one row of its input, at the same time.
const fn keeps_times(plan: &LogicalPlan) -> bool {
    matches!(
        plan,
        LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
    )
}
