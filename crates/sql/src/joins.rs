//! Joins of streams: to [`IntervalJoin`] nodes where they say how far apart in time their rows may be, to [`UpdatingJoin`] nodes where they
//! don't.
//!
//! A join says so by comparing event times (`b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 hour'`), or by joining equal windows, whose rows
//! are no time apart. Either kind needs something that is equal.

mod bounds;

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::{
        Column, JoinType, NullEquality, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, Extension, Join, LogicalPlan, Operator,
        utils::{conjunction, split_conjunction_owned},
    },
};
use postrider_core::Diagnostic;
use postrider_plan::{IntervalJoin, TimeBounds, UpdatingJoin};
use sqlparser::keywords::Keyword;

use self::bounds::{Apart, Rest};
use crate::{
    codes, filters,
    interval::{self, NotALength},
    row_time, table_joins,
    text::SourceText,
    time_calls, walk,
};

/// Whether a plan brings relations together.
pub(crate) fn has_joins(plan: &LogicalPlan) -> bool {
    let mut found = false;
    walk::nodes(plan, |node| {
        found |= matches!(node, LogicalPlan::Join(_)) || has_subquery(node);
    });
    found
}

fn has_subquery(node: &LogicalPlan) -> bool {
    let is_subquery = |expr: &Expr| {
        matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_))
    };
    let exprs = node.expressions();
    exprs.iter().any(|expr| expr.exists(|part| Ok(is_subquery(part))).unwrap_or(false))
}

/// Replaces each join. What can't run is left, and said.
pub(crate) fn lower(
    plan: LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Result<(LogicalPlan, Vec<Diagnostic>)> {
    let mut errors = Vec::new();
    let plan = plan.transform_up(|node| match node {
        // A subquery's WHERE has become the condition.
        LogicalPlan::Join(join) if reads_moment(&join) => {
            let node = LogicalPlan::Join(join);
            errors.push(time_calls::of_a_join(&node, source, within));
            Ok(Transformed::no(node))
        }
        LogicalPlan::Join(join) => {
            let place = place(&join, source, within);
            if let Some(error) = table_joins::not_by_subquery(&join, &place) {
                errors.push(error);
                return Ok(Transformed::no(LogicalPlan::Join(join)));
            }
            match on_stream(&join) {
                Ok(node) => Ok(Transformed::yes(LogicalPlan::Extension(node?))),
                Err(why) => {
                    errors.push(explain(&join, &why, source, within));
                    Ok(Transformed::no(LogicalPlan::Join(join)))
                }
            }
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok((plan.data, errors))
}

fn reads_moment(join: &Join) -> bool {
    let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
    keys.chain(&join.filter).any(filters::reads_moment)
}

/// Why a join can't run on streams.
enum Why {
    /// A kind that streams don't have, in words.
    Kind(&'static str, &'static str),
    /// Nothing says how far apart its rows may be in one direction or both.
    Unbounded { before: bool, after: bool },
    /// No pair is ever within the bounds.
    Never,
    /// Nothing is equal.
    NoKey,
}

/// The join as a stream has it.
fn on_stream(join: &Join) -> std::result::Result<Result<Extension>, Why> {
    check_kind(join)?;
    if join.null_equality == NullEquality::NullEqualsNothing {
        match bounded(join) {
            Err(Why::Unbounded { .. }) if is_comparable(join) => {}
            Err(why @ Why::Unbounded { .. }) if !join.on.is_empty() => return Err(why),
            Err(Why::Unbounded { .. }) => return Err(Why::NoKey),
            bounded => {
                return bounded.map(|node| node.map(|node| Extension { node: Arc::new(node) }));
            }
        }
    }
    let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
    let (on, filter) = (join.on.clone(), join.filter.clone());
    let node = UpdatingJoin::try_new(left, right, join.join_type, on, join.null_equality, filter);
    Ok(node.map(|node| Extension { node: Arc::new(node) }))
}

/// Whether rows can be found by the keys of a join. Windows can't: they are only equal where they bound it.
fn is_comparable(join: &Join) -> bool {
    let is_plain = |(left, _): &(Expr, Expr)| {
        left.get_type(join.left.schema()).is_ok_and(|data_type| !data_type.is_nested())
    };
    !join.on.is_empty() && join.on.iter().all(is_plain)
}

/// The join with its bounds.
fn bounded(join: &Join) -> std::result::Result<Result<IntervalJoin>, Why> {
    let mut apart = Apart::default();
    let mut on = Vec::new();
    for (left, right) in &join.on {
        let equal = BinaryExpr::new(Box::new(left.clone()), Operator::Eq, Box::new(right.clone()));
        match apart.learn(&Expr::BinaryExpr(equal), &join.left, &join.right) {
            Rest::Nothing => {}
            Rest::Equal(starts) => on.push(*starts),
            Rest::Whole => on.push((left.clone(), right.clone())),
        }
    }
    let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let mut others = Vec::new();
    for condition in conditions {
        match apart.learn(&condition, &join.left, &join.right) {
            Rest::Nothing => {}
            Rest::Equal(starts) => on.push(*starts),
            Rest::Whole => others.push(condition),
        }
    }
    let (Some(from_ns), Some(to_ns)) = (apart.from_ns, apart.to_ns) else {
        return Err(Why::Unbounded {
            before: apart.from_ns.is_none(),
            after: apart.to_ns.is_none(),
        });
    };
    let bounds = TimeBounds { from_ns, to_ns };
    if bounds.is_empty() {
        return Err(Why::Never);
    }
    if on.is_empty() && from_ns != to_ns {
        return Err(Why::NoKey);
    }
    let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
    Ok(IntervalJoin::try_new(left, right, join.join_type, on, bounds, conjunction(others)))
}

fn check_kind(join: &Join) -> std::result::Result<(), Why> {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftSemi, Right};
    if join.null_aware {
        return Err(Why::Kind(
            "NOT IN (SELECT ..)",
            "write NOT EXISTS (SELECT .. WHERE ..): with NOT IN, one NULL would hide every row",
        ));
    }
    if !matches!(join.join_type, Inner | Left | Right | Full | LeftSemi | LeftAnti) {
        return Err(Why::Kind(
            "EXISTS outside of WHERE",
            "filter with WHERE EXISTS (..) or WHERE NOT EXISTS (..), joined to other conditions by AND",
        ));
    }
    Ok(())
}

fn explain(join: &Join, why: &Why, source: &SourceText<'_>, within: &Range<usize>) -> Diagnostic {
    let place = place(join, source, within);
    match why {
        Why::Kind(what, hint) => {
            Diagnostic::error(codes::NOT_ON_STREAMS, format!("{what} can't run on a stream"))
                .at(place)
                .hint(*hint)
        }
        Why::Never => Diagnostic::error(
            codes::UNBOUNDED_JOIN,
            "no two rows can ever meet: the times of this join contradict each other",
        )
        .at(place)
        .hint("let the lower bound be at most the upper one"),
        Why::NoKey => Diagnostic::error(
            codes::UNBOUNDED_JOIN,
            "this join compares every row with every other one",
        )
        .at(place)
        .hint("say what is equal: ON a.user_id = b.user_id AND .."),
        Why::Unbounded { before, after } => {
            let (left, right) =
                (row_time::column_name(&join.left, "a"), row_time::column_name(&join.right, "b"));
            let rows = match (before, after) {
                (true, true) => "how far apart in time its rows may be".to_owned(),
                (true, false) => format!("how far `{right}` may be before `{left}`"),
                _ => format!("how far `{right}` may be after `{left}`"),
            };
            Diagnostic::error(
                codes::UNBOUNDED_JOIN,
                format!("this join would wait for ever: it does not say {rows}"),
            )
            .at(place)
            .hint(format!(
                "add to its condition: AND {right} BETWEEN {left} AND {left} + INTERVAL '1 hour'; event times are compared \
                 as they come from the tables, or from windows"
            ))
        }
    }
}

/// How an unbounded join would say how far apart in time its rows may be.
pub(crate) fn make_bounded(join: &UpdatingJoin) -> String {
    if has_months(join.filter.as_ref()) {
        return "a month has no fixed length: write it in days, such as INTERVAL '30 days'"
            .to_owned();
    }
    let (left, right) =
        (row_time::column_name(&join.left, "a"), row_time::column_name(&join.right, "b"));
    format!("AND {right} BETWEEN {left} AND {left} + INTERVAL '1 hour'")
}

/// What an unbounded join is called.
pub(crate) const fn name(join: &UpdatingJoin) -> &'static str {
    match join.kind {
        JoinType::Left => "LEFT JOIN",
        JoinType::Right => "RIGHT JOIN",
        JoinType::Full => "FULL JOIN",
        JoinType::LeftSemi => "EXISTS",
        JoinType::LeftAnti => "NOT EXISTS",
        _ => "JOIN",
    }
}

/// The condition of an unbounded join.
pub(crate) fn place_of(
    join: &UpdatingJoin,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Range<usize> {
    conditions(&join.on, join.filter.as_ref(), join.kind, source, within)
}

/// Whether a condition has an interval that no number of nanoseconds is.
fn has_months(filter: Option<&Expr>) -> bool {
    let mut found = false;
    if let Some(filter) = filter {
        walk::parts(filter, |part| {
            let months = |value| interval::scalar_ns(value) == Err(NotALength::Months);
            found |= matches!(part, Expr::Literal(value, _) if months(value));
        });
    }
    found
}

/// The condition of a join, its JOIN or its EXISTS.
pub(crate) fn place(join: &Join, source: &SourceText<'_>, within: &Range<usize>) -> Range<usize> {
    conditions(&join.on, join.filter.as_ref(), join.join_type, source, within)
}

fn conditions(
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
    kind: JoinType,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Range<usize> {
    let conditions = on.iter().flat_map(|(left, right)| [left, right]).chain(filter);
    let mut columns: Vec<&Column> = Vec::new();
    for condition in conditions {
        columns.extend(condition.column_refs());
    }
    let spans = columns.iter().flat_map(|column| column.spans.iter()).map(|span| {
        source.offset(span.start.line, span.start.column)
            ..source.offset(span.end.line, span.end.column)
    });
    let inside = |range: &Range<usize>| within.start <= range.start && range.end <= within.end;
    let spans: Vec<_> = spans.filter(inside).collect();
    let (start, end) =
        (spans.iter().map(|range| range.start).min(), spans.iter().map(|range| range.end).max());
    match (start, end) {
        (Some(start), Some(end)) => start..end,
        _ if matches!(
            kind,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        ) =>
        {
            source
                .keyword_after(Keyword::JOIN, within.start)
                .filter(inside)
                .unwrap_or_else(|| within.clone())
        }
        _ => source.only_call(Keyword::EXISTS, within).unwrap_or_else(|| within.clone()),
    }
}
