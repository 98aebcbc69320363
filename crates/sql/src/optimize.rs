//! Which of DataFusion's rules run.

use std::sync::Arc;

use datafusion::{
    common::Result,
    logical_expr::{LogicalPlan, planner::ContextProvider},
    optimizer::{
        Optimizer, OptimizerContext, OptimizerRule,
        eliminate_duplicated_expr::EliminateDuplicatedExpr, optimize_unions::OptimizeUnions,
        simplify_expressions::SimplifyExpressions,
    },
};

use crate::{
    catalog::Catalog, checks::Input, filters::PushFilters, lower, projections::MergeProjections,
};

/// Resolves types.
pub(crate) fn analyze(catalog: &Catalog, plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzer = catalog.functions.analyzer(&plan);
    analyzer.execute_and_check(plan, catalog.options(), |_, _| {})
}

/// Lowers windows and optimizes.
///
/// Projections are optimized once before lowering, while an aggregate that nobody uses can still
/// be dropped; the lowered node keeps its columns.
pub(crate) fn finish(plan: LogicalPlan, input: Input) -> Result<LogicalPlan> {
    let pruned = run(vec![Arc::new(MergeProjections::default())], plan)?;
    let lowered = lower::windows(pruned)?;
    match input {
        Input::Stream => run(stream_rules(), lowered),
        Input::Bounded => run(bounded_rules(), lowered),
    }
}

/// Rules that hold on a stream: none of them adds a join, sort or limit, replaces an input by an
/// empty one, or moves a filter into a scan, where it could not be seen by the engine.
fn stream_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(PushFilters::default()),
        Arc::new(MergeProjections::default()),
    ]
}

/// All rules of DataFusion.
fn bounded_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let ours: [Arc<dyn OptimizerRule + Send + Sync>; 2] =
        [Arc::new(MergeProjections::default()), Arc::new(PushFilters::default())];
    let replaced = |rule: Arc<dyn OptimizerRule + Send + Sync>| {
        ours.iter().find(|ours| ours.name() == rule.name()).cloned().unwrap_or(rule)
    };
    Optimizer::new().rules.into_iter().map(replaced).collect()
}

/// Runs rules until nothing changes. No start time is given: `now()` must not become a constant.
fn run(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>, plan: LogicalPlan) -> Result<LogicalPlan> {
    let context =
        OptimizerContext::new().without_query_execution_start_time().with_skip_failing_rules(false);
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}
