//! Filters over a join with a table: those of the left rows alone may go below it.

use std::sync::Arc;

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{
        Expr, Extension, Filter, LogicalPlan,
        utils::{conjunction, split_conjunction_owned},
    },
};
use postrider_plan::{RowTime, TableJoin};

use super::{condition::reads_only, of};

/// Moves the conditions on left rows below a join: whom a row meets depends on the row alone. A condition on the table's rows
/// stays, since without a version the one before it would be met.
pub(crate) fn move_below(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let Some(join) = of(&filter.input) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let parts = split_conjunction_owned(filter.predicate.clone());
    let (left, others): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|part| is_of_left(part, join));
    let Some(left) = conjunction(left) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let below = LogicalPlan::Filter(Filter::try_new(left, Arc::clone(&join.left))?);
    let join = TableJoin::try_new(
        Arc::new(below),
        Arc::clone(&join.right),
        join.lookup,
        join.kind,
        join.on.clone(),
        join.filter.clone(),
    )?;
    let join = LogicalPlan::Extension(Extension { node: Arc::new(join) });
    Ok(Transformed::yes(match conjunction(others) {
        Some(others) => LogicalPlan::Filter(Filter::try_new(others, Arc::new(join))?),
        None => join,
    }))
}

fn is_of_left(condition: &Expr, join: &TableJoin) -> bool {
    let reads = !condition.column_refs().is_empty();
    reads && reads_only(condition, &join.left) && !RowTime::is_in(condition)
}
