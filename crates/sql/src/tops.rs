//! The first rows of each key, `row_number() OVER (PARTITION BY k ORDER BY x) <= n` in any order, to [`UpdatingTop`] nodes.
//!
//! In the order of the event time, the oldest first, a row keeps its number: that is OVER. In any other order a row that comes may push
//! another one out, so the result is a changelog, and it needs a limit.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        Column, DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_window::expr_fn::row_number,
    logical_expr::{
        BinaryExpr, Distinct, DistinctOn, Expr, ExprFunctionExt, Extension, Filter, LogicalPlan,
        LogicalPlanBuilder, Operator, Projection, Window, col,
        expr::WindowFunction,
        lit,
        utils::{conjunction, split_conjunction_owned},
    },
};
use postrider_plan::{Over, Ranking, UpdatingTop, is_updating};

use crate::{
    row_time::{self, Traced},
    window_origin::{self, Source},
};

/// The name of the number in `DISTINCT ON`.
const NUMBER: &str = "__number";

/// Replaces each `DISTINCT ON (..) .. ORDER BY` by the first row of each key.
pub(crate) fn number_distinct(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(distinct)) => numbered(distinct).map(Transformed::yes),
        node => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

fn numbered(distinct: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
    // SQL has the order begin with the keys.
    let order = sort_expr.unwrap_or_default().into_iter().skip(on_expr.len()).collect();
    let number = row_number().partition_by(on_expr).order_by(order).build()?.alias(NUMBER);
    let rows = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
        .window(vec![number])?
        .filter(col(NUMBER).eq(lit(1_u64)))?
        .build()?;
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(
        select_expr,
        Arc::new(rows),
        schema,
    )?))
}

/// Replaces numbers of which only the first are wanted. Others are left.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_down(|node| match node {
        LogicalPlan::Projection(projection) => {
            let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            };
            let Some(rows) = first_rows(filter, Some(&projection.expr))? else {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            };
            let Projection { expr, schema, .. } = projection;
            let node = Projection::try_new_with_schema(expr, Arc::new(rows), schema)?;
            Ok(Transformed::yes(LogicalPlan::Projection(node)))
        }
        LogicalPlan::Filter(filter) => Ok(match first_rows(&filter, None)? {
            Some(rows) => Transformed::new(rows, true, TreeNodeRecursion::Continue),
            None => Transformed::no(LogicalPlan::Filter(filter)),
        }),
        node => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// The rows that a filter leaves of a numbered input, if it asks for the first ones only. Without `used`, every column is.
fn first_rows(filter: &Filter, used: Option<&[Expr]>) -> Result<Option<LogicalPlan>> {
    let (picked, window) = match filter.input.as_ref() {
        LogicalPlan::Projection(node) if node.expr.iter().all(|e| matches!(e, Expr::Column(_))) => {
            (Some(node), node.input.as_ref())
        }
        node => (None, node),
    };
    let LogicalPlan::Window(window) = window else { return Ok(None) };
    let Some(call) = call(window) else { return Ok(None) };
    // Who is above asks for columns by their names, whether or not others are there.
    let (used, picked) = match (used, picked) {
        (None, Some(picked)) => (Some(picked.expr.as_slice()), Some(picked)),
        (used, _) => (used, None),
    };
    let (input, width) = (&window.input, window.input.schema().fields().len());
    let is_number = |column: &Column| window.schema.maybe_index_of_column(column) == Some(width);
    let (limits, others): (Vec<_>, Vec<_>) = split_conjunction_owned(filter.predicate.clone())
        .into_iter()
        .map(|part| (limit(&part, &is_number), part))
        .partition(|(limit, _)| limit.is_some());
    let Some(least) = limits.iter().filter_map(|(limit, _)| *limit).min().filter(|n| *n > 0) else {
        return Ok(None);
    };
    // Of `= 3` the third is left of the first three.
    let exact = limits.into_iter().map(|(_, part)| part).filter(|part| is_exact(part, least));
    let rest: Vec<Expr> = others.into_iter().map(|(_, part)| part).chain(exact).collect();
    let reads = |expr: &Expr| expr.column_refs().into_iter().any(is_number);
    let numbered = used.is_none_or(|used| used.iter().any(reads)) || rest.iter().any(reads);
    let columns = window.schema.iter().take(width + usize::from(numbered));
    let columns = columns.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
    let node = UpdatingTop {
        input: Arc::clone(input),
        partition_by: call.params.partition_by.clone(),
        order_by: call.params.order_by.clone(),
        limit: least,
        numbered,
        ttl_ns: None,
        schema: Arc::new(DFSchema::new_with_metadata(columns.collect(), HashMap::new())?),
    };
    let rows = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    let rows = match conjunction(rest) {
        Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(rows))?),
        None => rows,
    };
    let Some(Projection { expr, schema, .. }) = picked else { return Ok(Some(rows)) };
    let (expr, schema) = (expr.clone(), Arc::clone(schema));
    Projection::try_new_with_schema(expr, Arc::new(rows), schema)
        .map(|rows| Some(LogicalPlan::Projection(rows)))
}

/// The only call of a window, if it numbers rows in an order in which numbers change.
fn call(window: &Window) -> Option<&WindowFunction> {
    let [only] = window.window_expr.as_slice() else { return None };
    let call = Over::call(only)?;
    let plain = call.params.filter.is_none() && !call.params.distinct;
    if Ranking::named(call.fun.name()) != Some(Ranking::RowNumber) || !plain {
        return None;
    }
    let input = &window.input;
    let first = call.params.order_by.first()?;
    let by_time = first.asc && matches!(row_time::trace(&first.expr, input), Some(Traced::Time(_)));
    // Which session a row is in may still change.
    let in_session = |key: &Expr| {
        let origin = window_origin::of_expr(input, key);
        origin.is_some_and(|origin| matches!(origin.of, Source::Table(..)))
    };
    let stays = by_time && !is_updating(input);
    (!stays && !call.params.partition_by.iter().any(in_session)).then_some(call)
}

/// The greatest number that a condition lets through.
fn limit(part: &Expr, is_number: &impl Fn(&Column) -> bool) -> Option<u64> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let (Expr::Column(column), Expr::Literal(ScalarValue::UInt64(Some(value)), _)) =
        (left.as_ref(), right.as_ref())
    else {
        return None;
    };
    if !is_number(column) {
        return None;
    }
    match op {
        Operator::Lt => value.checked_sub(1),
        Operator::LtEq | Operator::Eq => Some(*value),
        _ => None,
    }
}

/// Whether a condition asks for one number, and that is not the only one left.
fn is_exact(part: &Expr, limit: u64) -> bool {
    matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. })) && limit > 1
}
