//! What only the plan says: which joins are by time, and which functions look back.

use std::ops::Range;

use datafusion::{
    common::JoinType,
    logical_expr::{Expr, LogicalPlan},
};
use postrider_plan::{
    IntervalJoin, Lookup, Over, TableJoin, TimeBounds, UpdatingJoin, Window, WindowAggregate,
    WindowRank, WindowRows,
};
use sqlparser::keywords::Keyword;

use super::Findings;
use crate::{lower, over, walk};

/// Looks at the plan of the query at `range`.
pub(super) fn check(plan: &LogicalPlan, range: &Range<usize>, findings: &mut Findings<'_, '_>) {
    walk::nodes(plan, |node| {
        let LogicalPlan::Extension(extension) = node else { return };
        let node = extension.node.as_any();
        if let Some(join) = node.downcast_ref::<IntervalJoin>() {
            check_join(join, range, findings);
        } else if let Some(join) = node.downcast_ref::<TableJoin>() {
            check_lookup(join, range, findings);
        } else if let Some(join) = node.downcast_ref::<UpdatingJoin>() {
            check_unbounded(join, range, findings);
        } else if let Some(over) = node.downcast_ref::<Over>() {
            check_over(over, range, findings);
        } else if let Some(rank) = node.downcast_ref::<WindowRank>()
            && window_of(&rank.input).is_some_and(is_session)
        {
            let over = findings.source.find_name("over", range);
            findings.refused(
                over.unwrap_or_else(|| range.clone()),
                "Arroyo ranks no results of sessions",
                "take the best of each session by an aggregate, such as max or first_value",
            );
        }
    });
}

fn check_join(join: &IntervalJoin, range: &Range<usize>, findings: &mut Findings<'_, '_>) {
    // EXISTS and IN are found where they stand.
    if matches!(join.kind, JoinType::LeftSemi | JoinType::LeftAnti) {
        return;
    }
    let place = place(&join.on, join.filter.as_ref(), range, findings);
    let windows = (window_of(&join.left), window_of(&join.right));
    let at_once = join.bounds == TimeBounds { from_ns: 0, to_ns: 0 };
    match windows {
        (Some(left), Some(right)) if at_once && left == right && !is_session(left) => {}
        (Some(_), Some(_)) if at_once => findings.refused(
            place,
            "Arroyo joins results of equal tumbling or hopping windows only",
            "group both sides by the same tumble or hop",
        ),
        (None, None) if join.kind == JoinType::Inner => findings.differs(
            place,
            "on Arroyo this join keeps each row for `updating_ttl`, not for as long as a partner may come",
            "SET updating_ttl to that time or more; a row that is later still finds no partner",
        ),
        (None, None) => findings.refused(
            place,
            format!("Arroyo has {} JOIN of equal windows only, not within a time", kind(join.kind)),
            "unite both streams by UNION ALL in a session by key, and compare their times in HAVING",
        ),
        _ => findings.refused(
            place,
            "Arroyo joins no results of windows with rows that are in none, or in others",
            "group both sides by the same tumble or hop",
        ),
    }
}

/// Without a window Arroyo joins what only grows with what only grows.
fn check_unbounded(join: &UpdatingJoin, range: &Range<usize>, findings: &mut Findings<'_, '_>) {
    if matches!(join.kind, JoinType::LeftSemi | JoinType::LeftAnti) || !join.is_updating() {
        return;
    }
    let place = place(&join.on, join.filter.as_ref(), range, findings);
    findings.refused(
        place,
        "without a window Arroyo has JOIN of rows that stay only",
        "join first and aggregate then; for LEFT JOIN group both sides by the same tumble or hop",
    );
}

/// Versions are found where they are asked for.
fn check_lookup(join: &TableJoin, range: &Range<usize>, findings: &mut Findings<'_, '_>) {
    let tables = lower::tables(&join.right);
    if let (Lookup::Last, Some(table)) = (join.lookup, tables.first())
        && table.connector != "redis"
    {
        let place = findings.source.find_name(&table.name, range);
        findings.refused(
            place.unwrap_or_else(|| range.clone()),
            format!(
                "Arroyo looks up tables of connector = 'redis' only, and `{}` is none",
                table.name
            ),
            "keep its rows in Redis, and declare it with CREATE TEMPORARY TABLE",
        );
    }
}

const fn kind(kind: JoinType) -> &'static str {
    match kind {
        JoinType::Left => "LEFT",
        JoinType::Right => "RIGHT",
        JoinType::Full => "FULL",
        _ => "this",
    }
}

fn check_over(node: &Over, range: &Range<usize>, findings: &mut Findings<'_, '_>) {
    let Some(call) = node.calls().next() else { return };
    let place = over::place(call, findings.source, range);
    findings.refused(
        place,
        "Arroyo has OVER within a tumbling or hopping window only: it does not look back along a stream",
        "GROUP BY a window, and rank its results by ROW_NUMBER() OVER (PARTITION BY window, ..)",
    );
}

/// The window that the rows of a plan are results of, unless they were joined since.
fn window_of(plan: &LogicalPlan) -> Option<Window> {
    if let LogicalPlan::Extension(extension) = plan {
        let node = extension.node.as_any();
        if let Some(node) = node.downcast_ref::<WindowAggregate>() {
            return Some(node.window);
        }
        if let Some(node) = node.downcast_ref::<WindowRows>() {
            return Some(node.window);
        }
        if let Some(node) = node.downcast_ref::<WindowRank>() {
            return window_of(&node.input);
        }
        return None;
    }
    let inputs = plan.inputs();
    let mut windows = inputs.iter().map(|input| window_of(input));
    let first = windows.next()??;
    windows.all(|window| window == Some(first)).then_some(first)
}

const fn is_session(window: Window) -> bool {
    matches!(window, Window::Session { .. })
}

/// The JOIN in the text: the last one before its condition.
fn place(
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
    range: &Range<usize>,
    findings: &Findings<'_, '_>,
) -> Range<usize> {
    let source = findings.source;
    let sides = on.iter().flat_map(|(left, right)| [left, right]).chain(filter);
    let refs = sides.flat_map(|expr| expr.column_refs());
    let starts = refs.flat_map(|column| column.spans.iter().map(|span| span.start));
    let condition = starts.map(|at| source.offset(at.line, at.column)).min();
    let named = condition.and_then(|at| source.keyword_before(Keyword::JOIN, at));
    // A plan may have lost the places of its columns.
    let first = || source.keyword_after(Keyword::JOIN, range.start);
    named.or_else(|| first().filter(|word| word.end <= range.end)).unwrap_or_else(|| range.clone())
}
