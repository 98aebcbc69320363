//! Rows of a window table function that no aggregate takes as they are: each once for each of its windows.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Aggregate, Expr, Extension, LogicalPlan, Projection},
};
use postrider_plan::{Window, WindowRows};

use crate::{
    functions::WindowColumn,
    limits::MAX_COPIES_OF_A_ROW,
    walk,
    window_origin::{self, Part, Source},
};

/// Puts the rows of window table functions into their windows, where the time of a row decides about them.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Projection(step) => match step.expr.iter().find_map(window_of) {
            Some(window) if is_few(window) => put(step, window).map(Transformed::yes),
            _ => Ok(Transformed::no(LogicalPlan::Projection(step))),
        },
        node => Ok(Transformed::no(node)),
    })
    .map(|transformed| transformed.data)
}

/// The window of the first column of one in an expression.
fn window_of(expr: &Expr) -> Option<Window> {
    let mut found = None;
    walk::parts(expr, |part| {
        if let Expr::ScalarFunction(call) = part
            && let Some(column) = call.func.inner().downcast_ref::<WindowColumn>()
        {
            found = Some(column.window);
        }
    });
    found
}

/// Whether a row is in few windows, and alone decides in which.
const fn is_few(window: Window) -> bool {
    match window {
        Window::Tumble { .. } | Window::Calendar { zone: Some(_), .. } => true,
        Window::Hop { slide_ns: short, size_ns, .. }
        | Window::Cumulate { step_ns: short, size_ns, .. } => size_ns / short < MAX_COPIES_OF_A_ROW,
        Window::Session { .. } | Window::Calendar { zone: None, .. } | Window::Given { .. } => {
            false
        }
    }
}

fn put(step: Projection, window: Window) -> Result<LogicalPlan> {
    let Projection { expr, input, schema, .. } = step;
    let node = WindowRows::try_new(input, window)?;
    let [start, end, time] = node.columns();
    let exprs = expr.into_iter().map(|expr| {
        let computed = expr.transform(|part| {
            let column = match &part {
                Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<WindowColumn>(),
                _ => None,
            };
            let column = match column.map(|column| column.part) {
                Some(Part::Start) => &start,
                Some(Part::End) => &end,
                Some(Part::Time) => &time,
                Some(Part::Whole) | None => return Ok(Transformed::no(part)),
            };
            Ok(Transformed::yes(Expr::Column(column.clone())))
        });
        computed.map(|computed| computed.data)
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let node = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    let columns = Projection::try_new_with_schema(exprs, Arc::new(node), schema)?;
    Ok(LogicalPlan::Projection(columns))
}

/// Whether something between a window table function and an aggregate by its windows reads them: it needs to know the windows of
/// each row then.
pub(crate) fn are_read(aggregate: &Aggregate) -> bool {
    let input = aggregate.input.as_ref();
    let keys = aggregate.group_expr.iter();
    let keys = keys.filter(|key| window_origin::of_expr(input, key).is_none());
    keys.chain(&aggregate.aggr_expr).any(|expr| reads(input, expr)) || is_read(input)
}

fn is_read(plan: &LogicalPlan) -> bool {
    let passed = |input: &LogicalPlan, expr: &Expr| {
        matches!(plan, LogicalPlan::Projection(_)) && window_origin::of_expr(input, expr).is_some()
    };
    let exprs = plan.expressions();
    plan.inputs().into_iter().any(|input| {
        exprs.iter().any(|expr| !passed(input, expr) && reads(input, expr)) || is_read(input)
    })
}

/// Whether an expression over a plan reads a column of a window table function.
fn reads(plan: &LogicalPlan, expr: &Expr) -> bool {
    expr.column_refs().into_iter().any(|column| {
        let origin = window_origin::of_expr(plan, &Expr::Column(column.clone()));
        origin.is_some_and(|origin| matches!(origin.of, Source::Table(..)))
    })
}
