//! Which expressions of a plan are its rows' event time, give or take a constant.
//!
//! The engine carries a time beside each row; no column *is* that time, only `row_time()` reads it. But a column that was the event time of a table still
//! equals it behind filters, projections and window functions; behind a window of fixed size its start and its end do, less a constant.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, JoinType, ScalarValue, TableReference},
    logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Operator},
};
use postrider_plan::{
    IntervalJoin, LateRows, Over, RowTime, StreamTable, Table, TableJoin, Window, WindowAggregate,
    WindowRank, WindowRows,
};

use crate::{interval, lower, types::UTC, unnest, walk};

/// What an expression is to the time of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traced {
    /// The row's time and so many nanoseconds.
    Time(i64),
    /// The window that the row is the result of.
    Window(Known),
}

/// What is known of a window whose end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its length, and so its start.
    Length(i64),
    /// Which windows there are: each end is that of one, so windows of the same that end together are the same.
    Of(Window),
    /// Nothing: there may be others with that end.
    Nothing,
}

/// What `expr`, over the columns of `plan`, is to the time of its row; `None` if that is not fixed.
pub(crate) fn trace(expr: &Expr, plan: &LogicalPlan) -> Option<Traced> {
    match expr {
        Expr::Alias(alias) => trace(&alias.expr, plan),
        Expr::Cast(cast) if is_same_time(expr, &cast.expr, plan) => trace(&cast.expr, plan),
        Expr::Column(column) => trace_column(column, plan),
        // Which side of a join it means is nobody's guess: those who join refuse it.
        Expr::ScalarFunction(call) if call.name() == RowTime::NAME => Some(Traced::Time(0)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = match op {
                Operator::Plus if literal_ns(left).is_some() => (right, left),
                Operator::Plus | Operator::Minus => (left, right),
                _ => return None,
            };
            let (Traced::Time(offset), Some(by)) = (trace(left, plan)?, literal_ns(right)) else {
                return None;
            };
            let by = if *op == Operator::Minus { by.checked_neg()? } else { by };
            offset.checked_add(by).map(Traced::Time)
        }
        Expr::ScalarFunction(call) if call.name() == "get_field" => {
            let [base, Expr::Literal(ScalarValue::Utf8(Some(field)), _)] = call.args.as_slice()
            else {
                return None;
            };
            match (trace(base, plan)?, field.as_str()) {
                // A result has the last instant of its window for its time.
                (Traced::Window(_), "end") => Some(Traced::Time(1)),
                (Traced::Window(Known::Length(size)), "start") => {
                    1_i64.checked_sub(size).map(Traced::Time)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// How the event time of a relation would be written; `otherwise` names the relation if nothing else does.
pub(crate) fn column_name(relation: &LogicalPlan, otherwise: &str) -> String {
    let tables = lower::clocks(relation);
    let time = |table: &Arc<Table>| Some(table.watermark.as_ref()?.column.clone());
    let mut column = tables.first().and_then(time).unwrap_or_else(|| "ts".to_owned());
    walk::nodes(relation, |node| {
        if matches!(node, LogicalPlan::Extension(node) if node.node.as_any().is::<LateRows>()) {
            LateRows::NAMES[0].clone_into(&mut column);
        }
    });
    let names =
        relation.schema().iter().filter_map(|(relation, _)| relation.map(TableReference::table));
    // The planner's own names for subqueries mean nothing to anyone.
    let mut names = names.filter(|name| !name.starts_with("__"));
    let table = tables.first().map(|table| table.name.as_str());
    match names.next().or(table).unwrap_or(otherwise) {
        "" => column,
        name => format!("{name}.{column}"),
    }
}

fn is_same_time(cast: &Expr, inner: &Expr, plan: &LogicalPlan) -> bool {
    use datafusion::logical_expr::ExprSchemable;
    let of = |expr: &Expr| expr.get_type(plan.schema()).ok();
    match (of(cast), of(inner)) {
        (Some(DataType::Timestamp(to, zone)), Some(DataType::Timestamp(from, other))) => {
            // A time without zone is taken as one on the clocks of the other's.
            let at = |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|zone| zone == UTC);
            to == from && (zone == other || other.is_some() || at(&zone))
        }
        (to, from) => to.is_some() && to == from,
    }
}

/// The nanoseconds of an interval literal.
pub(crate) fn literal_ns(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) if value.data_type().is_temporal_length() => {
            interval::scalar_ns(value).ok()
        }
        Expr::Alias(alias) => literal_ns(&alias.expr),
        Expr::Cast(cast) => literal_ns(&cast.expr),
        Expr::Negative(inner) => literal_ns(inner)?.checked_neg(),
        _ => None,
    }
}

/// Whether values of a type are lengths of time.
trait TemporalLength {
    fn is_temporal_length(&self) -> bool;
}

impl TemporalLength for DataType {
    fn is_temporal_length(&self) -> bool {
        matches!(self, Self::Interval(_) | Self::Duration(_))
    }
}

fn trace_column(column: &Column, plan: &LogicalPlan) -> Option<Traced> {
    let index = plan.schema().maybe_index_of_column(column)?;
    trace_index(index, plan)
}

fn trace_index(index: usize, plan: &LogicalPlan) -> Option<Traced> {
    match plan {
        LogicalPlan::Projection(node) => trace(node.expr.get(index)?, &node.input),
        LogicalPlan::SubqueryAlias(node) => trace_index(index, &node.input),
        LogicalPlan::Filter(node) => trace_index(index, &node.input),
        LogicalPlan::Unnest(node) => trace_index(unnest::repeated(node, index)?, &node.input),
        LogicalPlan::Union(node) => {
            let mut inputs = node.inputs.iter().map(|input| trace_index(index, input));
            let first = inputs.next()??;
            inputs.all(|other| other == Some(first)).then_some(first)
        }
        LogicalPlan::TableScan(scan) => {
            let StreamTable(table) = scan.source.downcast_ref::<StreamTable>()?;
            let name = scan.projected_schema.field(index).name();
            (table.watermark.as_ref()?.column == *name).then_some(Traced::Time(0))
        }
        LogicalPlan::Window(node) => trace_own(index, &node.input),
        // A distinct row has the time of one of those it stands for; in a column that is their time they are equal.
        LogicalPlan::Distinct(Distinct::All(input)) => trace_index(index, input),
        LogicalPlan::Aggregate(node) if node.aggr_expr.is_empty() => {
            trace(node.group_expr.get(index)?, &node.input)
        }
        LogicalPlan::Extension(node) => {
            let node = node.node.as_any();
            if let Some(node) = node.downcast_ref::<Over>() {
                return trace_own(index, &node.input);
            }
            if let Some(node) = node.downcast_ref::<WindowAggregate>() {
                return window(node, index);
            }
            if let Some(node) = node.downcast_ref::<WindowRank>() {
                return trace_own(index, &node.input);
            }
            if let Some(node) = node.downcast_ref::<WindowRows>() {
                return in_window(node, index);
            }
            if let Some(node) = node.downcast_ref::<LateRows>() {
                return (index == node.width()).then_some(Traced::Time(-1));
            }
            if let Some(node) = node.downcast_ref::<TableJoin>() {
                return trace_own(index, &node.left);
            }
            joined(node.downcast_ref::<IntervalJoin>()?, index)
        }
        _ => None,
    }
}

/// A row keeps its time beside what window functions or a table say of it; what they say is no time.
fn trace_own(index: usize, input: &LogicalPlan) -> Option<Traced> {
    (index < input.schema().fields().len()).then(|| trace_index(index, input))?
}

fn window(node: &WindowAggregate, index: usize) -> Option<Traced> {
    if index != node.window_index {
        return None;
    }
    let known = match (node.window, node.window_exprs.as_slice()) {
        // Its results have the time of its rows.
        (Window::Given { .. }, [start]) => match trace(start, &node.input) {
            Some(Traced::Time(offset)) => Known::Length(1_i64.checked_sub(offset)?),
            _ => Known::Nothing,
        },
        (window, _) => known(window),
    };
    Some(Traced::Window(known))
}

const fn known(window: Window) -> Known {
    match window {
        Window::Tumble { size_ns, .. } | Window::Hop { size_ns, .. } => Known::Length(size_ns),
        Window::Cumulate { .. } | Window::Calendar { zone: Some(_), .. } => Known::Of(window),
        Window::Calendar { zone: None, .. } | Window::Session { .. } | Window::Given { .. } => {
            Known::Nothing
        }
    }
}

/// From there on, rows have the last time of their window.
fn in_window(node: &WindowRows, index: usize) -> Option<Traced> {
    match (index.checked_sub(node.width())?, known(node.window)) {
        (0, Known::Length(size)) => 1_i64.checked_sub(size).map(Traced::Time),
        (1, _) => Some(Traced::Time(1)),
        (2, _) => Some(Traced::Time(0)),
        _ => None,
    }
}

/// A pair has the time of its later row, which is known if the bounds say who that is. A row that was absent a partner has
/// the time at which that became certain.
fn joined(node: &IntervalJoin, index: usize) -> Option<Traced> {
    let left_columns = node.left.schema().fields().len();
    let (left_is_later, right_is_later) = (node.bounds.to_ns <= 0, node.bounds.from_ns >= 0);
    match node.kind {
        JoinType::Inner if index >= left_columns && right_is_later => {
            trace_index(index - left_columns, &node.right)
        }
        JoinType::Inner | JoinType::LeftSemi if index < left_columns && left_is_later => {
            trace_index(index, &node.left)
        }
        JoinType::LeftAnti => match trace_index(index, &node.left)? {
            Traced::Time(offset) => {
                let later = node.bounds.to_ns.checked_add(1)?;
                offset.checked_sub(later).map(Traced::Time)
            }
            Traced::Window(_) => None,
        },
        _ => None,
    }
}
