//! Aggregates of all rows so far to [`UpdatingAggregate`] nodes, who takes rows that change, and how long they are remembered.
//!
//! The rows of such an aggregate are a changelog. Filters, projections, unions and further aggregates take one; what waits for time
//! (windows, OVER, joins within a time) and what acts once (email) take final rows only.

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Distinct, Expr, Extension, LogicalPlan, expr::AggregateFunction},
};
use postrider_core::{Diagnostic, Format};
use postrider_plan::{
    EpochClock, IntervalJoin, Over, RowTime, Table, TableJoin, UpdatingAggregate, UpdatingJoin,
    UpdatingTop, WindowAggregate, WindowRank, is_updating,
};

use crate::{
    codes,
    emission::{AT_THE_END, Settings},
    joins, lower,
    text::SourceText,
    walk,
};

/// How long a group is remembered after its last row unless `SET updating_ttl` says otherwise: Arroyo's default.
pub(crate) const DEFAULT_TTL_NS: i64 = 86_400_000_000_000;

/// What a join knows of a row besides its columns.
const JOINED_ROW_BYTES: u64 = 112;

/// What is known of one of the first rows of a key besides its columns.
const KEPT_ROW_BYTES: u64 = 48;

/// Replaces aggregates and DISTINCT, and says which node is given a changelog that takes none.
pub(crate) fn lower(
    plan: LogicalPlan,
    settings: Settings,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Result<(LogicalPlan, Vec<Diagnostic>)> {
    let plan = replace(plan, settings)?;
    let mut errors = Vec::new();
    walk::nodes(&plan, |node| errors.extend(refuse(node, source, within)));
    Ok((plan, errors))
}

fn replace(plan: LogicalPlan, settings: Settings) -> Result<LogicalPlan> {
    let settings = settings.under(&plan);
    let Settings { ttl_ns, .. } = settings;
    let below = |child| replace(child, settings).map(Transformed::yes);
    let node = plan.map_children(below)?.data;
    let aggregate = match node {
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            return Ok(LogicalPlan::Extension(if let Some(join) = node.downcast_ref() {
                Extension { node: Arc::new(UpdatingJoin { ttl_ns, ..UpdatingJoin::clone(join) }) }
            } else if let Some(top) = node.downcast_ref() {
                Extension { node: Arc::new(UpdatingTop { ttl_ns, ..UpdatingTop::clone(top) }) }
            } else {
                extension
            }));
        }
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

/// What rows change by.
enum Cause {
    /// An aggregate: its first function, if it has one, and its groups.
    Aggregate {
        function: Option<AggregateFunction>,
        keys: Vec<String>,
    },
    /// A window whose results leave early or are corrected: its first function, if it has one.
    Window(Option<AggregateFunction>),
    Join(UpdatingJoin),
    /// The first rows of a key.
    Top,
    /// A table whose records are changes.
    Table(String),
}

impl Cause {
    /// The lowest node that makes a changelog.
    fn of(plan: &LogicalPlan) -> Self {
        if let Some(input) = plan.inputs().into_iter().find(|input| is_updating(input)) {
            return Self::of(input);
        }
        if let LogicalPlan::Extension(node) = plan
            && let Some(node) = node.node.as_any().downcast_ref::<WindowAggregate>()
        {
            let function = node.aggr_exprs.first().and_then(call).cloned();
            return Self::Window(function);
        }
        if let LogicalPlan::TableScan(scan) = plan {
            return Self::Table(scan.table_name.table().to_owned());
        }
        if let LogicalPlan::Extension(extension) = plan
            && let Some(join) = extension.node.as_any().downcast_ref::<UpdatingJoin>()
        {
            return Self::Join(join.clone());
        }
        if let LogicalPlan::Extension(extension) = plan
            && extension.node.as_any().is::<UpdatingTop>()
        {
            return Self::Top;
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
        Self::Aggregate { function, keys: keys.collect() }
    }

    fn rows(&self) -> String {
        match self {
            Self::Aggregate { function: Some(call), .. } => {
                format!("results of `{}` without a window", call.func.name())
            }
            Self::Aggregate { .. } => "results of GROUP BY without a window".to_owned(),
            Self::Window(_) => "results of a window that leave early or are corrected".to_owned(),
            Self::Table(table) => format!("rows of `{table}`, a table of changes,"),
            Self::Join(join) => {
                format!("results of {} without a bound of time", joins::name(join))
            }
            Self::Top => "the first rows of `row_number`".to_owned(),
        }
    }

    fn make_final(&self) -> String {
        match self {
            Self::Aggregate { keys, .. } => {
                let keys: String = keys.iter().map(|key| format!("{key}, ")).collect();
                format!(
                    "group by a window: GROUP BY {keys}tumble(INTERVAL '1 hour'); or act on the row that crosses a line, with \
                     sum(..) OVER (PARTITION BY .. ORDER BY ts) and QUALIFY row_number() OVER (PARTITION BY .. ORDER BY ts) = 1"
                )
            }
            Self::Window(_) => {
                format!("in front of the statement with the window, {AT_THE_END}")
            }
            Self::Table(table) => format!(
                "read the rows of `{table}` as they are made: a table of events, in format 'json'"
            ),
            Self::Join(join) => format!(
                "a bound of time makes it certain that nobody comes any more: {}",
                joins::make_bounded(join)
            ),
            Self::Top => "in the order of time the first row stays: ORDER BY ts; in any other order rank within a window: \
                          PARTITION BY window_start, window_end"
                .to_owned(),
        }
    }

    fn place(&self, source: &SourceText<'_>, within: &Range<usize>) -> Option<Range<usize>> {
        match self {
            Self::Aggregate { function, .. } | Self::Window(function) => {
                source.find_name(function.as_ref()?.func.name(), within)
            }
            Self::Table(table) => source.find_name(table, within),
            Self::Join(join) => Some(joins::place_of(join, source, within)),
            Self::Top => source.find_name("row_number", within),
        }
    }
}

fn call(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::AggregateFunction(call) => Some(call),
        _ => None,
    }
}

/// A warning for each aggregate and join that remembers for ever, and for each join for which nobody said how long it does. `said` are the
/// times to live that the program sets.
pub(crate) fn remembered(
    plan: &LogicalPlan,
    said: &[Option<i64>],
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    let mut warnings: Vec<Diagnostic> = Vec::new();
    walk::nodes(plan, |node| {
        let LogicalPlan::Extension(extension) = node else { return };
        let node = extension.node.as_any();
        if let Some(aggregate) = node.downcast_ref::<UpdatingAggregate>() {
            warnings.extend(endless_groups(aggregate).map(|warning| warning.at(within.clone())));
        }
        if let Some(top) = node.downcast_ref::<UpdatingTop>() {
            warnings.extend(endless_keys(top).map(|warning| warning.at(within.clone())));
        }
        if let Some(join) = node.downcast_ref::<UpdatingJoin>() {
            let place = joins::place_of(join, source, within);
            warnings.extend(join_memory(join, said).map(|warning| warning.at(place)));
        }
    });
    warnings.dedup();
    warnings
}

fn join_memory(join: &UpdatingJoin, said: &[Option<i64>]) -> Option<Diagnostic> {
    let bounded = joins::make_bounded(join);
    if join.ttl_ns.is_none() {
        let bytes = lower::bytes_of_row(join.left.schema())
            .max(lower::bytes_of_row(join.right.schema()))
            .saturating_add(JOINED_ROW_BYTES);
        let message = format!(
            "this join remembers every row of both sides for ever: about {bytes} bytes each"
        );
        return Some(Diagnostic::warning(codes::KEPT_FOR_EVER, message).hint(format!(
            "a million of them take {} MB; SET updating_ttl = INTERVAL '30 days' lets them go, and so does a bound of time: {bounded}",
            bytes.saturating_mul(1_000_000) >> 20
        )));
    }
    if join.ttl_ns != Some(DEFAULT_TTL_NS) || said.contains(&join.ttl_ns) {
        return None;
    }
    let message =
        "this join remembers each row for one day: a partner that comes later does not meet it";
    Some(Diagnostic::warning(codes::JOIN_OF_A_DAY, message).hint(format!(
        "say how long: SET updating_ttl = INTERVAL '30 days'; or how far apart in time its rows may be: {bounded}"
    )))
}

fn endless_keys(node: &UpdatingTop) -> Option<Diagnostic> {
    if node.ttl_ns.is_some() || node.partition_by.is_empty() {
        return None;
    }
    let input = node.input.schema();
    let keys: Vec<_> =
        node.partition_by.iter().map(|key| format!("`{}`", key.human_display())).collect();
    let rows = if is_updating(&node.input) { "all rows" } else { "the first rows" };
    let bytes = lower::bytes_of_row(input)
        .saturating_add(lower::bytes_of_key(&node.partition_by, input))
        .saturating_add(KEPT_ROW_BYTES);
    let message = format!(
        "{rows} of every {} are remembered for ever: about {bytes} bytes each",
        keys.join(", ")
    );
    Some(Diagnostic::warning(codes::KEPT_FOR_EVER, message).hint(format!(
        "a million of them take {} MB; SET updating_ttl = INTERVAL '30 days' lets them go",
        bytes.saturating_mul(1_000_000) >> 20
    )))
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
