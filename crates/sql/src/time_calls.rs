//! Where `row_time()` may stand: only the engine knows the times, so its rows must come from tables that have some, on a way that the
//! engine runs.

use std::ops::Range;

use datafusion::logical_expr::LogicalPlan;
use postrider_core::Diagnostic;
use postrider_plan::{IntervalJoin, Over, RowTime, StreamTable, UpdatingJoin, WindowAggregate};

use crate::{checks::Input, codes, text::SourceText, walk};

/// Checks the expressions of one node.
pub(crate) fn check(
    node: &LogicalPlan,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    if !node.expressions().iter().any(RowTime::is_in) {
        return None;
    }
    if is_join(node) {
        return Some(of_a_join(source, within));
    }
    let place = || place(source, within);
    let runs = runs_on_engine(node) || input == Input::Stream && is_node::<Over>(node);
    if !runs {
        return Some(
            Diagnostic::error(codes::ROW_TIME_PLACE, "row_time() can't be computed here")
                .at(place())
                .hint("name it where the table is read: FROM (SELECT *, row_time() AS time FROM events)"),
        );
    }
    let timeless = node.inputs().into_iter().find_map(|below| timeless(below, input))?;
    let (code, message, hint) = match timeless {
        Timeless::Table(name) => (
            codes::NO_EVENT_TIME,
            format!("`{name}` has no event time, so row_time() of its rows is unknown"),
            "add to its columns: WATERMARK FOR column AS column - INTERVAL '5 seconds'",
        ),
        Timeless::Rows => (
            codes::ROW_TIME_PLACE,
            "the rows here are made by the query, so they have no row_time()".to_owned(),
            "name it where the table is read: FROM (SELECT *, row_time() AS time FROM events)",
        ),
    };
    Some(Diagnostic::error(code, message).at(place()).hint(hint))
}

/// Finds a condition of a join that reads a time, before any rule takes it for one about the pair.
pub(crate) fn check_joins(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let mut found = false;
    walk::nodes(plan, |node| {
        found |= is_join(node) && node.expressions().iter().any(RowTime::is_in);
    });
    found.then(|| of_a_join(source, within))
}

/// A condition of a join reads a time.
pub(crate) fn of_a_join(source: &SourceText<'_>, within: &Range<usize>) -> Diagnostic {
    let message = "row_time() in the condition of a join could be either side's";
    Diagnostic::error(codes::ROW_TIME_PLACE, message)
        .at(place(source, within))
        .hint("name it where a side is read: FROM (SELECT *, row_time() AS time FROM events)")
}

fn place(source: &SourceText<'_>, within: &Range<usize>) -> Range<usize> {
    source.find_name(RowTime::NAME, within).unwrap_or_else(|| within.clone())
}

/// What makes rows without a time.
enum Timeless {
    Table(String),
    Rows,
}

fn timeless(plan: &LogicalPlan, input: Input) -> Option<Timeless> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = scan.source.downcast_ref::<StreamTable>();
            let timed = table.is_some_and(|table| table.0.watermark.is_some());
            (!timed).then(|| Timeless::Table(scan.table_name.table().to_owned()))
        }
        // The time of a result is its window's; its input is checked on its own.
        plan if is_window(plan) => None,
        plan if plan.inputs().is_empty() => Some(Timeless::Rows),
        plan if input == Input::Bounded && !runs_on_engine(plan) => Some(Timeless::Rows),
        plan => plan.inputs().into_iter().find_map(|below| timeless(below, input)),
    }
}

/// Whether `postrider query` has the engine run a node.
fn runs_on_engine(plan: &LogicalPlan) -> bool {
    is_window(plan)
        || matches!(
            plan,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::Union(_)
        )
}

fn is_window(plan: &LogicalPlan) -> bool {
    is_node::<WindowAggregate>(plan)
}

fn is_join(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(_))
        || is_node::<IntervalJoin>(plan)
        || is_node::<UpdatingJoin>(plan)
}

fn is_node<N: 'static>(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().is::<N>(),
        _ => false,
    }
}
