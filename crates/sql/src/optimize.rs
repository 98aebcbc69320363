//! Which of DataFusion's rules run.

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{LogicalPlan, cast, expr_rewriter::NamePreserver, planner::ContextProvider},
    optimizer::{
        Optimizer, OptimizerContext, OptimizerRule,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_cross_join::EliminateCrossJoin,
        eliminate_duplicated_expr::EliminateDuplicatedExpr,
        eliminate_outer_join::EliminateOuterJoin,
        extract_equijoin_predicate::ExtractEquijoinPredicate, optimize_unions::OptimizeUnions,
        simplify_expressions::SimplifyExpressions,
    },
};

use postrider_core::Diagnostic;
use postrider_plan::{EpochClock, RowTime};

use crate::{
    catalog::Catalog,
    changelog,
    checks::Input,
    emission::{self, Settings},
    filters::PushFilters,
    joins, lower, over,
    projections::MergeProjections,
    table_joins,
    text::SourceText,
    time_calls, tops, window_rows,
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
pub(crate) fn finish(
    plan: LogicalPlan,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
    settings: Settings,
) -> Result<std::result::Result<LogicalPlan, Vec<Diagnostic>>> {
    let plan = if input == Input::Stream { tops::number_distinct(plan)? } else { plan };
    // First: a row is in its windows whether or not anybody reads which those are.
    let plan = if input == Input::Bounded { asked_once(plan)? } else { plan };
    let in_windows = window_rows::lower(plan)?;
    let pruned = run(vec![Arc::new(MergeProjections::default())], in_windows)?;
    let lowered = lower::windows(pruned, input)?;
    if input == Input::Bounded {
        if let Some(error) = table_joins::refuse_bounded(&lowered, within) {
            return Ok(Err(vec![error]));
        }
        return run(bounded_rules(), lowered).map(Ok);
    }
    let (lowered, errors) = emission::set_emission(lowered, settings, source, within)?;
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    let (lowered, errors) = table_joins::lower(lowered, source, within)?;
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    let joined = if joins::has_joins(&lowered) {
        if let Some(error) = time_calls::check_joins(&lowered, source, within) {
            return Ok(Err(vec![error]));
        }
        let (joined, errors) = joins::lower(run(join_rules(), lowered)?, source, within)?;
        if !errors.is_empty() {
            return Ok(Err(errors));
        }
        joined
    } else {
        lowered
    };
    // Last: DataFusion's rules know which filters may go below its own node, and which of its columns nobody reads.
    let plan = tops::lower(run(stream_rules(), joined)?)?;
    let (plan, errors) = over::lower(plan, source, within)?;
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    let (plan, errors) = changelog::lower(plan, settings, source, within)?;
    Ok(if errors.is_empty() { Ok(plan) } else { Err(errors) })
}

/// A bounded query runs once, so its clock is that of its start, as DataFusion reads it.
fn asked_once(plan: LogicalPlan) -> Result<LogicalPlan> {
    let now = cast(datafusion::functions::datetime::expr_fn::now(), RowTime::data_type());
    let plan = plan.transform_down_with_subqueries(|node| {
        if !node.expressions().iter().any(EpochClock::is_in) {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let replaced = EpochClock::replace(expr, &now)?;
            Ok(Transformed::yes(name.restore(replaced)))
        })
    })?;
    Ok(plan.data)
}

/// Rules that bring joins into one form: subqueries in WHERE become semi and anti joins, conditions go where they hold, equal
/// keys are told from the rest.
fn join_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushFilters::default()),
        Arc::new(ExtractEquijoinPredicate::new()),
    ]
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
