//! Walks over planned trees whose steps can't fail.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan},
};

/// Each node of a plan, subqueries included.
pub(crate) fn nodes(plan: &LogicalPlan, mut step: impl FnMut(&LogicalPlan)) {
    let walked = plan.apply_with_subqueries(|node| {
        step(node);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "no step fails");
}

/// What an expression is directly made of.
pub(crate) fn children(expr: &Expr, mut step: impl FnMut(&Expr)) {
    let walked = expr.apply_children(|part| {
        step(part);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "no step fails");
}

/// Each part of an expression, itself first.
pub(crate) fn parts(expr: &Expr, mut step: impl FnMut(&Expr)) {
    let walked = expr.apply(|part| {
        step(part);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "no step fails");
}
