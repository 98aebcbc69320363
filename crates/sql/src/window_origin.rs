//! Where columns of a window come from: which part of which window a column of a plan is.

use datafusion::{
    common::{Column, ScalarValue},
    logical_expr::{Expr, LogicalPlan, Operator},
};
use postrider_plan::{
    Over, StreamTable, TableJoin, Window, WindowAggregate, WindowRank, WindowRows,
};

use crate::{functions::WindowColumn, table_joins, unnest};

/// What of a window a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// The struct of start and end.
    Whole,
    /// The first time in it.
    Start,
    /// The first time behind it.
    End,
    /// The last time in it: that of its results.
    Time,
}

impl Part {
    /// The column of a window table function.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "window",
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }
}

/// What a column of a window is, and of which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) part: Part,
    pub(crate) of: Source,
}

/// Where a window comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A window table function that nothing was aggregated by yet, and the columns that it partitions by.
    Table(Window, Vec<Expr>),
    /// A windowed aggregate, or rows that were put into their windows: their time is the last of that. There may be rows as
    /// long before that as it says.
    Result(i64),
}

/// What of a window an expression over a plan is, if it is that.
pub(crate) fn of_expr(plan: &LogicalPlan, expr: &Expr) -> Option<Origin> {
    match expr {
        Expr::Alias(alias) => of_expr(plan, &alias.expr),
        Expr::Column(column) => of_column(plan, index_of(plan, column)?),
        Expr::ScalarFunction(call) => {
            if let Some(column) = call.func.inner().downcast_ref::<WindowColumn>() {
                let of = Source::Table(column.window, call.args.clone());
                return Some(Origin { part: column.part, of });
            }
            let [base, Expr::Literal(field, _)] = call.args.as_slice() else { return None };
            let Origin { part: Part::Whole, of } = of_expr(plan, base)? else { return None };
            let part = match (call.name(), field.try_as_str().flatten()?) {
                ("get_field", "start") => Part::Start,
                ("get_field", "end") => Part::End,
                _ => return None,
            };
            Some(Origin { part, of })
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Minus => {
            let Origin { part: Part::End, of } = of_expr(plan, &binary.left)? else { return None };
            is_one_ns(&binary.right).then_some(Origin { part: Part::Time, of })
        }
        _ => None,
    }
}

fn of_column(plan: &LogicalPlan, index: usize) -> Option<Origin> {
    if index >= plan.schema().fields().len() {
        return None;
    }
    match plan {
        LogicalPlan::Projection(node) => of_expr(&node.input, node.expr.get(index)?),
        LogicalPlan::SubqueryAlias(node) => of_column(&node.input, index),
        LogicalPlan::Filter(node) => of_column(&node.input, index),
        LogicalPlan::Unnest(node) => of_column(&node.input, unnest::repeated(node, index)?),
        LogicalPlan::Union(node) => {
            let mut origins = node.inputs.iter().map(|input| of_column(input, index));
            let first = origins.next()??;
            origins.try_fold(first, |one, other| united(one, &other?))
        }
        LogicalPlan::Window(node) => of_column(&node.input, index),
        LogicalPlan::Join(node) if table_joins::will_be(node) => of_column(&node.left, index),
        LogicalPlan::Extension(extension) => {
            if let Some(node) = extension.node.as_any().downcast_ref::<Over>() {
                return of_column(&node.input, index);
            }
            if let Some(node) = extension.node.as_any().downcast_ref::<WindowRank>() {
                return of_column(&node.input, index);
            }
            if let Some(node) = extension.node.as_any().downcast_ref::<TableJoin>() {
                return of_column(&node.left, index);
            }
            if let Some(node) = extension.node.as_any().downcast_ref::<WindowRows>() {
                let parts = [Part::Start, Part::End, Part::Time];
                let part = *parts.get(index.checked_sub(node.width())?)?;
                return Some(Origin { part, of: Source::Result(node.window.reach_ns()?) });
            }
            let node = extension.node.as_any().downcast_ref::<WindowAggregate>()?;
            let whole = Origin { part: Part::Whole, of: Source::Result(1) };
            (index == node.window_index).then_some(whole)
        }
        _ => None,
    }
}

/// What a column of a union is whose inputs have these: results of windows may be united, whatever windows they are of.
fn united(one: Origin, other: &Origin) -> Option<Origin> {
    match (&one.of, &other.of) {
        (Source::Result(reach), Source::Result(further)) if one.part == other.part => {
            Some(Origin { part: one.part, of: Source::Result(*reach.max(further)) })
        }
        _ => (one == *other).then_some(one),
    }
}

/// What a column of a plan is, in terms of the rows that a window table function takes.
pub(crate) fn before_window(plan: &LogicalPlan, expr: &Expr) -> Option<Expr> {
    match (plan, expr) {
        (_, Expr::Alias(alias)) => before_window(plan, &alias.expr),
        (LogicalPlan::Projection(node), Expr::Column(column)) => {
            let computed = node.expr.get(index_of(plan, column)?)?;
            let makes_windows = node.expr.iter().any(is_window_column);
            if makes_windows {
                Some(computed.clone().unalias_nested().data)
            } else {
                before_window(&node.input, computed)
            }
        }
        (LogicalPlan::SubqueryAlias(node), Expr::Column(column)) => {
            let below = node.input.schema().columns().into_iter().nth(index_of(plan, column)?)?;
            before_window(&node.input, &Expr::Column(below))
        }
        (LogicalPlan::Filter(node), Expr::Column(_)) => before_window(&node.input, expr),
        (LogicalPlan::Unnest(node), Expr::Column(column)) => {
            unnest::repeated(node, index_of(plan, column)?)?;
            before_window(&node.input, expr)
        }
        _ => None,
    }
}

/// Whether an expression is a column of a window table function.
pub(crate) fn is_window_column(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_window_column(&alias.expr),
        Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<WindowColumn>().is_some(),
        _ => false,
    }
}

/// Whether a column of a plan that is not lowered yet is the event time of its rows.
pub(crate) fn is_event_time(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = scan.source.downcast_ref::<StreamTable>();
            let watermark = table.and_then(|StreamTable(table)| table.watermark.as_ref());
            watermark.is_some_and(|w| w.column == *scan.projected_schema.field(index).name())
        }
        LogicalPlan::Projection(node) => match node.expr.get(index) {
            Some(expr) => is_time_expr(&node.input, expr),
            None => false,
        },
        LogicalPlan::SubqueryAlias(node) => is_event_time(&node.input, index),
        LogicalPlan::Filter(node) => is_event_time(&node.input, index),
        LogicalPlan::Unnest(node) => {
            unnest::repeated(node, index).is_some_and(|at| is_event_time(&node.input, at))
        }
        LogicalPlan::Window(node) => {
            index < node.input.schema().fields().len() && is_event_time(&node.input, index)
        }
        LogicalPlan::Join(node) if table_joins::will_be(node) => {
            index < node.left.schema().fields().len() && is_event_time(&node.left, index)
        }
        LogicalPlan::Union(node) => node.inputs.iter().all(|input| is_event_time(input, index)),
        LogicalPlan::Aggregate(node) => {
            let origin = node.group_expr.get(index).and_then(|key| of_expr(&node.input, key));
            origin.is_some_and(|origin| origin.part == Part::Time)
        }
        _ => false,
    }
}

fn is_time_expr(plan: &LogicalPlan, expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_time_expr(plan, &alias.expr),
        Expr::Column(column) => index_of(plan, column).is_some_and(|at| is_event_time(plan, at)),
        _ => false,
    }
}

fn is_one_ns(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(length)), _)
        if (length.months, length.days, length.nanoseconds) == (0, 0, 1))
}

fn index_of(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}
