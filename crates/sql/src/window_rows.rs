//! Rows of a window table function that no aggregate takes as they are: each once for each of its windows.

use std::sync::Arc;

use datafusion::{
    common::{
        DataFusionError, Diagnostic, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Aggregate, Expr, Extension, LogicalPlan, Projection},
};
use postrider_plan::{Window, WindowRows};

use crate::{
    functions::WindowColumn,
    limits::MAX_COPIES_OF_A_ROW,
    walk, window_groups,
    window_origin::{self, Part, Source},
};

/// Puts the rows of window table functions into their windows, but for those that an aggregate by these windows takes: that one
/// does it itself, and with far less work.
///
/// # Errors
/// A row is in too many windows for a copy in each.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    put_all(plan, false)
}

fn put_all(plan: LogicalPlan, is_aggregated: bool) -> Result<LogicalPlan> {
    let below = match &plan {
        LogicalPlan::Aggregate(aggregate) => takes_windows(aggregate),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_) => is_aggregated,
        _ => false,
    };
    let plan = plan.map_children(|input| put_all(input, below).map(Transformed::yes))?.data;
    let plan = plan.map_subqueries(|query| put_all(query, false).map(Transformed::yes))?.data;
    match plan {
        LogicalPlan::Projection(step) if !is_aggregated => {
            match step.expr.iter().find_map(window_of) {
                Some(window) if is_known_by_row(window) => put(step, window),
                _ => Ok(LogicalPlan::Projection(step)),
            }
        }
        plan => Ok(plan),
    }
}

/// Whether an aggregate is one by the windows of a table function, and nothing else reads them.
fn takes_windows(aggregate: &Aggregate) -> bool {
    let origins = window_groups::origins(aggregate);
    window_groups::of_table(&origins) && window_groups::is_whole(&origins) && !are_read(aggregate)
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

/// Whether the time of a row decides in which windows it is.
const fn is_known_by_row(window: Window) -> bool {
    !matches!(
        window,
        Window::Session { .. } | Window::Calendar { zone: None, .. } | Window::Given { .. }
    )
}

/// A batch of rows is so many times as large once they are in their windows.
fn check_copies(window: Window) -> Result<()> {
    let (name, short, size) = match window {
        Window::Hop { slide_ns, size_ns, .. } => ("hop", slide_ns, size_ns),
        Window::Cumulate { step_ns, size_ns, .. } => ("cumulate", step_ns, size_ns),
        _ => return Ok(()),
    };
    let copies = size.unsigned_abs().div_ceil(short.unsigned_abs());
    if copies <= MAX_COPIES_OF_A_ROW {
        return Ok(());
    }
    let message = format!(
        "each row of `{name}` would leave {copies} times, once for each of its windows, over the limit of {MAX_COPIES_OF_A_ROW}"
    );
    let help = "GROUP BY window_start, window_end, or take a longer slide or step";
    let noted = Diagnostic::new_error(&message, None).with_help(help, None);
    Err(DataFusionError::Plan(message).with_diagnostic(noted))
}

fn put(step: Projection, window: Window) -> Result<LogicalPlan> {
    check_copies(window)?;
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
fn are_read(aggregate: &Aggregate) -> bool {
    let input = aggregate.input.as_ref();
    let keys = aggregate.group_expr.iter();
    let keys = keys.filter(|key| window_origin::of_expr(input, key).is_none());
    keys.chain(&aggregate.aggr_expr).any(|expr| reads(input, expr)) || is_read(input)
}

/// The same of the steps from `plan` down to where the windows come from.
fn is_read(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Projection(step) = plan
        && step.expr.iter().any(|expr| window_of(expr).is_some())
    {
        return false;
    }
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
