//! Where `row_time()` and `now()` may stand: only the engine knows the times and the clock, so both stand in steps that it runs, and rows
//! whose time is asked for must come from tables that have some.

use std::ops::Range;

use datafusion::logical_expr::{LogicalPlan, ScalarUDFImpl};
use postrider_core::Diagnostic;
use postrider_plan::{
    EpochClock, IntervalJoin, Over, RowTime, StreamTable, TableJoin, UpdatingAggregate,
    UpdatingJoin, WindowAggregate,
};

use crate::{checks::Input, codes, filters::reads_moment, table_joins, text::SourceText, walk};

/// Checks the expressions of one node.
pub(crate) fn check(
    node: &LogicalPlan,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    if is_join(node) && node.expressions().iter().any(reads_moment) {
        return Some(of_a_join(node, source, within));
    }
    if let Some(error) = check_clock(node, input, source, within) {
        return Some(error);
    }
    if !node.expressions().iter().any(RowTime::is_in) {
        return None;
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
    let timeless = timeless_below(node, input)?;
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

/// Bounded queries have no such calls any more.
fn check_clock(
    node: &LogicalPlan,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let runs = runs_on_engine(node) || is_node::<Over>(node) || is_node::<UpdatingAggregate>(node);
    if runs || input == Input::Bounded || !node.expressions().iter().any(EpochClock::is_in) {
        return None;
    }
    Some(
        Diagnostic::error(codes::CLOCK_PLACE, "the clock is not known here")
            .at(clock_place(source, within))
            .hint("name it where the table is read: FROM (SELECT *, now() AS seen FROM events)"),
    )
}

/// Finds a condition of a join that reads a time or the clock, before any rule takes it for one about the pair.
pub(crate) fn check_joins(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let mut found = None;
    walk::nodes(plan, |node| {
        if found.is_none() && is_join(node) && node.expressions().iter().any(reads_moment) {
            found = Some(of_a_join(node, source, within));
        }
    });
    found
}

/// A condition of a join reads a time, or the clock.
pub(crate) fn of_a_join(
    join: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Diagnostic {
    if !join.expressions().iter().any(RowTime::is_in) {
        let message =
            "now() in the condition of a join could be when either side's row came, or both had";
        return Diagnostic::error(codes::CLOCK_PLACE, message)
            .at(clock_place(source, within))
            .hint("put it into a WHERE around the join, or name it where a side is read: FROM (SELECT *, now() AS seen FROM events)");
    }
    let message = "row_time() in the condition of a join could be either side's";
    Diagnostic::error(codes::ROW_TIME_PLACE, message)
        .at(place(source, within))
        .hint("name it where a side is read: FROM (SELECT *, row_time() AS time FROM events)")
}

fn place(source: &SourceText<'_>, within: &Range<usize>) -> Range<usize> {
    source.find_name(RowTime::NAME, within).unwrap_or_else(|| within.clone())
}

fn clock_place(source: &SourceText<'_>, within: &Range<usize>) -> Range<usize> {
    let mut names: Vec<String> = Vec::new();
    for clock in EpochClock::all() {
        names.push(clock.name().to_owned());
        names.extend_from_slice(clock.aliases());
    }
    let mut places = names.iter().filter_map(|name| source.find_name(name, within));
    places.next().unwrap_or_else(|| within.clone())
}

/// What makes rows without a time.
enum Timeless {
    Table(String),
    Rows,
}

/// The first input whose rows have no time; what is only looked up needs none.
fn timeless_below(node: &LogicalPlan, input: Input) -> Option<Timeless> {
    match table_joins::of(node) {
        Some(join) => timeless(&join.left, input),
        None => node.inputs().into_iter().find_map(|below| timeless(below, input)),
    }
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
        plan => timeless_below(plan, input),
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
        || is_node::<TableJoin>(plan)
        || is_node::<UpdatingJoin>(plan)
}

fn is_node<N: 'static>(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().is::<N>(),
        _ => false,
    }
}
