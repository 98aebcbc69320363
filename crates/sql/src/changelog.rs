//! Aggregates of all rows so far to [`UpdatingAggregate`] nodes, and who takes rows that change.
//!
//! The rows of such an aggregate are a changelog. Filters, projections, unions and further aggregates take one; what waits for time
//! (windows, OVER, joins within a time) and what acts once (email) take final rows only.

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Distinct, Expr, Extension, LogicalPlan, LogicalPlanBuilder, expr::AggregateFunction,
    },
};
use postrider_core::{Diagnostic, Format};
use postrider_plan::{
    EpochClock, IntervalJoin, Over, RowTime, Table, TableJoin, UpdatingAggregate, WindowAggregate,
    WindowRank, is_updating,
};

use crate::{codes, lower, text::SourceText, walk};

/// How long a group is remembered after its last row unless `SET updating_ttl` says otherwise: Arroyo's default.
pub(crate) const DEFAULT_TTL_NS: i64 = 86_400_000_000_000;

/// The alias around a view whose time to live is not that of the queries.
const TTL_ALIAS: &str = "__ttl_";

/// A view's plan that keeps its own time to live wherever it is put.
pub(crate) fn with_ttl(plan: LogicalPlan, ttl_ns: Option<i64>) -> Result<LogicalPlan> {
    let alias = format!("{TTL_ALIAS}{}", ttl_ns.unwrap_or(0));
    LogicalPlanBuilder::from(plan).alias(alias)?.build()
}

/// The time to live of what is under a node.
pub(crate) fn ttl_under(node: &LogicalPlan, around: Option<i64>) -> Option<i64> {
    let LogicalPlan::SubqueryAlias(alias) = node else { return around };
    let own = alias.alias.table().strip_prefix(TTL_ALIAS).and_then(|ns| ns.parse().ok());
    own.map_or(around, |ns: i64| Some(ns).filter(|ns| *ns > 0))
}

/// Replaces aggregates and DISTINCT, and says which node is given a changelog that takes none.
pub(crate) fn lower(
    plan: LogicalPlan,
    ttl_ns: Option<i64>,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Result<(LogicalPlan, Vec<Diagnostic>)> {
    let plan = replace(plan, ttl_ns)?;
    let mut errors = Vec::new();
    walk::nodes(&plan, |node| errors.extend(refuse(node, source, within)));
    Ok((plan, errors))
}

fn replace(plan: LogicalPlan, ttl_ns: Option<i64>) -> Result<LogicalPlan> {
    let ttl_ns = ttl_under(&plan, ttl_ns);
    let below = |child| replace(child, ttl_ns).map(Transformed::yes);
    let node = plan.map_children(below)?.data;
    let aggregate = match node {
        LogicalPlan::Aggregate(node) => UpdatingAggregate {
            input: node.input,
            group_exprs: node.group_expr,
            aggr_exprs: node.aggr_expr,
            ttl_ns,
            schema: node.schema,
        },
        LogicalPlan::Distinct(Distinct::All(input)) => UpdatingAggregate {
            group_exprs: input.schema().columns().into_iter().map(Expr::Column).collect(),
            aggr_exprs: Vec::new(),
            ttl_ns,
            schema: Arc::clone(input.schema()),
            input,
        },
        node => return Ok(node),
    };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(aggregate) }))
}

/// What is wrong with a node over a changelog.
fn refuse(
    node: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let input = node.inputs().into_iter().find(|input| is_updating(input))?;
    if node.expressions().iter().any(RowTime::is_in) {
        return Some(not_final("row_time()", input, source, within));
    }
    // A row that is taken back later would be another one then.
    if node.expressions().iter().any(EpochClock::is_in) {
        return Some(not_final("now()", input, source, within));
    }
    let LogicalPlan::Extension(extension) = node else { return None };
    let node = extension.node.as_any();
    let what = if node.is::<WindowAggregate>() || node.is::<WindowRank>() {
        "a window"
    } else if node.is::<Over>() {
        "OVER"
    } else if node.is::<IntervalJoin>() {
        "a join within a time"
    } else if node.is::<TableJoin>() {
        "a table that is looked up"
    } else {
        return None;
    };
    Some(not_final(what, input, source, within))
}

/// The finding that something takes final rows, and is given others.
pub(crate) fn not_final(
    what: &str,
    input: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Diagnostic {
    let cause = Cause::of(input);
    let message = format!("{what} takes final rows, but {} may still change", cause.rows());
    Diagnostic::error(codes::ENDLESS, message)
        .at(cause.place(source, within).unwrap_or_else(|| within.clone()))
        .hint(cause.make_final())
}

/// What a table says to the rows of a plan: that they must be final, or how changes are to be written.
pub(crate) fn check_sink(
    table: &Table,
    plan: &LogicalPlan,
    place: &Range<usize>,
) -> Option<Diagnostic> {
    if !is_updating(plan) {
        return None;
    }
    let (name, cause) = (&table.name, Cause::of(plan));
    if table.is_email() {
        let message = format!(
            "`{name}` sends each row once, but {} may still change: they would never be final",
            cause.rows()
        );
        return Some(
            Diagnostic::error(codes::ENDLESS, message).at(place.clone()).hint(cause.make_final()),
        );
    }
    if table.common.format == Format::DebeziumJson || table.connector == "blackhole" {
        return None;
    }
    Some(
        Diagnostic::error(
            codes::NO_CHANGELOG,
            format!("`{name}` does not say how changes are written, but {} change", cause.rows()),
        )
        .at(place.clone())
        .hint(format!(
            "add format = 'debezium_json' to its WITH (..), or write final rows: {}",
            cause.make_final()
        )),
    )
}

/// The aggregate that rows change by: its first function, if it has one, and its groups. Or a table whose records are changes.
struct Cause {
    function: Option<AggregateFunction>,
    keys: Vec<String>,
    table: Option<String>,
}

impl Cause {
    /// The lowest node that makes a changelog.
    fn of(plan: &LogicalPlan) -> Self {
        if let Some(input) = plan.inputs().into_iter().find(|input| is_updating(input)) {
            return Self::of(input);
        }
        if let LogicalPlan::TableScan(scan) = plan {
            let table = Some(scan.table_name.table().to_owned());
            return Self { function: None, keys: Vec::new(), table };
        }
        let (keys, aggregates): (&[Expr], &[Expr]) = match plan {
            LogicalPlan::Aggregate(node) => (&node.group_expr, &node.aggr_expr),
            LogicalPlan::Extension(node) => node
                .node
                .as_any()
                .downcast_ref::<UpdatingAggregate>()
                .map_or((&[], &[]), |node| (&node.group_exprs, &node.aggr_exprs)),
            _ => (&[], &[]),
        };
        let keys = keys.iter().map(|key| match key {
            Expr::Column(column) => column.name.clone(),
            other => other.human_display().to_string(),
        });
        let function = aggregates.first().and_then(call).cloned();
        Self { function, keys: keys.collect(), table: None }
    }

    fn rows(&self) -> String {
        if let Some(table) = &self.table {
            return format!("rows of `{table}`, a table of changes,");
        }
        self.function.as_ref().map_or_else(
            || "results of GROUP BY without a window".to_owned(),
            |call| format!("results of `{}` without a window", call.func.name()),
        )
    }

    fn make_final(&self) -> String {
        if let Some(table) = &self.table {
            return format!(
                "read the rows of `{table}` as they are made: a table of events, in format 'json'"
            );
        }
        let keys: String = self.keys.iter().map(|key| format!("{key}, ")).collect();
        format!(
            "group by a window: GROUP BY {keys}tumble(INTERVAL '1 hour'); or act on the row that crosses a line, with \
             sum(..) OVER (PARTITION BY .. ORDER BY ts) and QUALIFY row_number() OVER (PARTITION BY .. ORDER BY ts) = 1"
        )
    }

    fn place(&self, source: &SourceText<'_>, within: &Range<usize>) -> Option<Range<usize>> {
        if let Some(table) = &self.table {
            return source.find_name(table, within);
        }
        source.find_name(self.function.as_ref()?.func.name(), within)
    }
}

fn call(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::AggregateFunction(call) => Some(call),
        _ => None,
    }
}

/// A warning for each aggregate that remembers its groups for ever.
pub(crate) fn remembered(plan: &LogicalPlan, within: &Range<usize>) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    walk::nodes(plan, |node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(aggregate) = extension.node.as_any().downcast_ref::<UpdatingAggregate>()
        {
            warnings.extend(endless_groups(aggregate));
        }
    });
    warnings.into_iter().map(|warning: Diagnostic| warning.at(within.clone())).collect()
}

fn endless_groups(node: &UpdatingAggregate) -> Option<Diagnostic> {
    // One group is as large as it is.
    if node.ttl_ns.is_some() || node.group_exprs.is_empty() {
        return None;
    }
    let input = node.input.schema();
    let keys: Vec<_> =
        node.group_exprs.iter().map(|key| format!("`{}`", key.human_display())).collect();
    let bytes = lower::bytes_of_key(&node.group_exprs, input)
        .saturating_add(16 * (1 + node.aggr_exprs.len() as u64));
    Some(
        Diagnostic::warning(
            codes::KEPT_FOR_EVER,
            format!("every {} is remembered for ever: about {bytes} bytes each", keys.join(", ")),
        )
        .hint(format!(
            "a million of them take {} MB; SET updating_ttl = INTERVAL '30 days' lets them go",
            bytes.saturating_mul(1_000_000) >> 20
        )),
    )
}
