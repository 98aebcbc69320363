//! DataFusion's rule that puts projections together, made safe for two that look alike.
//!
//! Of `SELECT a + 1 AS a FROM (SELECT a + 1 AS a FROM ..)` the rule drops one (DataFusion 55, `merge_consecutive_projections`:
//! "if the previous projection is same as the current projection we can directly remove the current projection"). That holds
//! for columns, not for what is computed anew under a name that it reads. Such a column gets a second alias that no other
//! has, so that no projection above is equal; it vanishes where projections are put together.

use std::sync::Arc;

use datafusion::{
    common::{Column, Result, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan, Projection, expr::Alias},
    optimizer::{
        ApplyOrder, OptimizerConfig, OptimizerRule, optimize_projections::OptimizeProjections,
    },
};

/// How the second aliases start. No column of a program has such a name but to confuse its reader.
const MARK: &str = "step ";

/// `OptimizeProjections` that keeps every step.
#[derive(Debug, Default)]
pub(crate) struct MergeProjections(OptimizeProjections);

impl OptimizerRule for MergeProjections {
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
        self.0.rewrite(mark(plan)?, config)
    }
}

/// Gives each column that is computed anew an alias of its own. The same plan gets the same ones.
fn mark(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut marks = 0_usize;
    let marked = plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Projection(step) if step.expr.iter().any(|expr| renews(expr, &step)) => {
            marks += 1;
            let exprs = step.expr.iter().map(|expr| {
                if renews(expr, &step) { marked(expr.clone(), marks) } else { expr.clone() }
            });
            let step = Projection::try_new_with_schema(
                exprs.collect(),
                Arc::clone(&step.input),
                Arc::clone(&step.schema),
            )?;
            Ok(Transformed::yes(LogicalPlan::Projection(step)))
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok(marked.data)
}

/// Whether an expression of a step gets a name that some expression of the step reads.
fn renews(expr: &Expr, step: &Projection) -> bool {
    let Expr::Alias(Alias { expr: computed, relation: None, name, .. }) = expr else {
        return false;
    };
    if matches!(**computed, Expr::Column(_)) {
        return false;
    }
    let column = Column::new_unqualified(name);
    step.expr.iter().any(|expr| expr.column_refs().contains(&column))
}

fn marked(expr: Expr, mark: usize) -> Expr {
    match expr {
        Expr::Alias(mut outer) => {
            let inner = match *outer.expr {
                Expr::Alias(inner) if inner.name.starts_with(MARK) => *inner.expr,
                inner => inner,
            };
            outer.expr = Box::new(inner.alias(format!("{MARK}{mark}")));
            Expr::Alias(outer)
        }
        other => other,
    }
}
