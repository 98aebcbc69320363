//! Which relations only grow, and which are changelogs.

use datafusion::logical_expr::{Extension, LogicalPlan};

use crate::{StreamTable, UpdatingAggregate, UpdatingJoin, UpdatingTop, WindowAggregate};

/// Whether rows of a relation are ever taken back. Such a relation is a changelog: its rows come with a kind, one of Flink's
/// four (`+I` inserted, `-U` and `+U` the old and the new row of an update, `-D` deleted).
///
/// Aggregates change with each row of their group, those of windows only if they are emitted early or corrected, joins that wait for ever
/// with each partner, the first rows of a key with those that come before them, and a table may be read as changes. Every other node
/// passes on what it is given, or is planned over rows that stay only.
pub fn is_updating(plan: &LogicalPlan) -> bool {
    let inputs = || plan.inputs().into_iter().any(is_updating);
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = scan.source.downcast_ref::<StreamTable>();
            table.is_some_and(|StreamTable(table)| table.holds_changes())
        }
        LogicalPlan::Aggregate(node) => !node.aggr_expr.is_empty() || inputs(),
        LogicalPlan::Extension(Extension { node }) => {
            let node = node.as_any();
            if let Some(join) = node.downcast_ref::<UpdatingJoin>() {
                return join.is_updating();
            }
            if node.is::<UpdatingTop>() {
                return true;
            }
            let aggregate = node.downcast_ref::<UpdatingAggregate>();
            let window = node.downcast_ref::<WindowAggregate>();
            aggregate.is_some_and(|aggregate| !aggregate.aggr_exprs.is_empty())
                || window.is_some_and(|window| !window.emission.is_final())
                || inputs()
        }
        _ => inputs(),
    }
}
