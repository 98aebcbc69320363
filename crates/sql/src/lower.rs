//! Window calls to [`WindowAggregate`] nodes.

use std::{ops::Range, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Fields},
    common::{DFSchema, Result, plan_err, tree_node::Transformed},
    logical_expr::{
        Aggregate, Expr, ExprSchemable, Extension, LogicalPlan, Unnest, expr::ScalarFunction,
    },
};
use postrider_core::Diagnostic;
use postrider_plan::{Column, Emission, LateRows, StreamTable, Table, Window, WindowAggregate};

use crate::{
    checks::Input,
    codes,
    errors::type_name,
    functions::is_window,
    limits::ASSUMED_LENGTH,
    table_joins,
    text::SourceText,
    time_calls, unnest, walk, window_groups,
    window_origin::is_window_column,
    window_ranks,
    window_spec::{self, Arg},
};

/// Replaces each aggregate over a window.
pub(crate) fn windows(plan: LogicalPlan, input: Input) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => lower(aggregate, input),
        // Over all rows there are, DataFusion ranks.
        LogicalPlan::Window(window) if input == Input::Stream => {
            Ok(Transformed::yes(window_ranks::lower(window)))
        }
        node => Ok(Transformed::no(node)),
    })
    .map(|transformed| transformed.data)
}

fn lower(aggregate: Aggregate, input: Input) -> Result<Transformed<LogicalPlan>> {
    let found = aggregate.group_expr.iter().position(|expr| call(expr).is_some());
    let Some(window_index) = found else {
        return window_groups::lower(aggregate, input).map(Transformed::yes);
    };
    let mut group_exprs = aggregate.group_expr;
    let grouped = group_exprs.remove(window_index);
    let Some(called) = call(&grouped) else {
        return plan_err!("the window vanished from GROUP BY");
    };
    let window = window(called)?;
    if group_exprs.iter().any(|expr| call(expr).is_some()) {
        return plan_err!("a GROUP BY has at most one window");
    }
    let node = WindowAggregate {
        emission: Emission::default(),
        window_exprs: of_row(window, called, &aggregate.input)?,
        input: aggregate.input,
        window,
        window_index,
        group_exprs,
        aggr_exprs: aggregate.aggr_expr,
        schema: aggregate.schema,
    };
    Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

fn call(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::ScalarFunction(function) if is_window(function.name()) => Some(function),
        _ => None,
    }
}

fn window(call: &ScalarFunction) -> Result<Window> {
    let args = call.args.iter().enumerate().map(|(position, arg)| Arg::planned(position, arg));
    window_spec::window(call.name(), &args.collect::<Vec<_>>())
        .or_else(|problem| plan_err!("{}", problem.message))
}

/// What a window needs of a row besides its time.
fn of_row(window: Window, call: &ScalarFunction, input: &LogicalPlan) -> Result<Vec<Expr>> {
    let (Window::Calendar { zone: None, .. }, Some(zone)) = (window, call.args.last()) else {
        return Ok(Vec::new());
    };
    match zone.get_type(input.schema())? {
        DataType::Utf8 => Ok(vec![zone.clone()]),
        other => plan_err!("the time zone of `{}` is TEXT, not {}", call.name(), type_name(&other)),
    }
}

/// The first aggregate that takes rows of a window table function and groups by none of its columns, so that it has no end.
pub(crate) fn endless(plan: LogicalPlan) -> Result<Option<Aggregate>> {
    let mut found = None;
    walk::nodes(&windows(plan, Input::Stream)?, |node| {
        if let (LogicalPlan::Aggregate(aggregate), None) = (node, &found)
            && gives_windows(&aggregate.input)
        {
            found = Some(aggregate.clone());
        }
    });
    Ok(found)
}

/// Whether rows of a window table function come out of a plan that nothing has aggregated yet.
fn gives_windows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(step) if step.expr.iter().any(is_window_column) => true,
        LogicalPlan::Aggregate(_) | LogicalPlan::Extension(_) => false,
        plan => plan.inputs().into_iter().any(gives_windows),
    }
}

/// Every table that a plan reads, subqueries included.
pub(crate) fn tables(plan: &LogicalPlan) -> Vec<Arc<Table>> {
    let mut tables: Vec<Arc<Table>> = Vec::new();
    walk::nodes(plan, |node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(StreamTable(table)) = scan.source.downcast_ref::<StreamTable>()
            && !tables.iter().any(|known| known.name == table.name)
        {
            tables.push(Arc::clone(table));
        }
    });
    tables
}

/// The tables whose event times are those of a plan's rows: not those that are only looked up.
pub(crate) fn clocks(plan: &LogicalPlan) -> Vec<Arc<Table>> {
    let inputs = table_joins::of(plan).map_or_else(|| plan.inputs(), |join| vec![&join.left]);
    if inputs.is_empty() {
        return tables(plan);
    }
    let mut found: Vec<Arc<Table>> = Vec::new();
    for table in inputs.into_iter().flat_map(clocks) {
        if !found.iter().any(|known| known.name == table.name) {
            found.push(table);
        }
    }
    found
}

const WINDOW_COLUMN: &str =
    "GROUP BY window_start, window_end; filter windows with HAVING, or around a subquery";

/// Refuses what the syntax tree did not show: windows left over, windows over tables without event
/// time, and on streams every node that the engine doesn't run.
pub(crate) fn check(
    plan: &LogicalPlan,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    walk::nodes(plan, |node| {
        for name in node.expressions().iter().filter_map(window_inside) {
            let (message, hint) = if is_window(&name) {
                let hint = "name it in GROUP BY, and use its .start and .end in SELECT";
                (format!("`{name}` belongs into GROUP BY"), hint)
            } else {
                (format!("`{name}` is not known before GROUP BY here"), WINDOW_COLUMN)
            };
            errors.push(
                Diagnostic::error(codes::WINDOW_PLACE, message)
                    .at(source.find_name(&name, within).unwrap_or_else(|| within.clone()))
                    .hint(hint),
            );
        }
        errors.extend(time_calls::check(node, input, source, within));
        match node {
            LogicalPlan::Extension(extension)
                if input == Input::Bounded && extension.node.as_any().is::<LateRows>() =>
            {
                errors.push(
                    Diagnostic::error(codes::LATE_ROWS, "a query that runs once has no watermark, so no row is late")
                        .at(source.find_name("late_rows", within).unwrap_or_else(|| within.clone()))
                        .hint("have a pipeline write them to a table: INSERT INTO late SELECT .. FROM late_rows(..)"),
                );
            }
            LogicalPlan::Extension(extension) => {
                if let Some(node) = extension.node.as_any().downcast_ref::<WindowAggregate>() {
                    errors.extend(without_time(node, input, source, within));
                }
            }
            LogicalPlan::Unnest(node) if input == Input::Stream => {
                errors.extend(not_unnested(node, source, within));
            }
            LogicalPlan::TableScan(_) if input == Input::Bounded => {
                errors.extend(holds_changes(node, source, within));
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::Union(_) => {}
            node if input == Input::Stream => errors.push(
                Diagnostic::error(
                    codes::NOT_ON_STREAMS,
                    format!("{} on a stream is not supported yet", words(node)),
                )
                .at(within.clone())
                .hint("a pipeline filters, projects, unites, joins, aggregates and looks back with OVER"),
            ),
            _ => {}
        }
    });
    errors.dedup();
    errors
}

/// What of an unnesting streams don't do.
fn not_unnested(
    node: &Unnest,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let (what, hint) = unnest::refused(node)?;
    let place = source.find_name(unnest::NAME, within).unwrap_or_else(|| within.clone());
    let message = format!("{what} on a stream is not supported yet");
    Some(Diagnostic::error(codes::NOT_ON_STREAMS, message).at(place).hint(hint))
}

/// A query over all rows there are would have to put changes together first.
fn holds_changes(
    scan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let tables = tables(scan);
    let table = tables.iter().find(|table| table.holds_changes())?;
    let message = format!("`{}` holds changes, which a single query can't read yet", table.name);
    let place = source.find_name(&table.name, within).unwrap_or_else(|| within.clone());
    Some(
        Diagnostic::error(codes::BAD_CHANGES, message)
            .at(place)
            .hint("read it in a pipeline, and run that: postrider run"),
    )
}

/// The tables of a window whose rows have no time to fall into it by.
fn without_time(
    node: &WindowAggregate,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    let place = |table: &Table| match input {
        Input::Stream => table.range.clone(),
        // Its declaration is in another text.
        Input::Bounded => source.find_name(&table.name, within).unwrap_or_else(|| within.clone()),
    };
    let tables = clocks(&node.input);
    let timeless = tables.iter().filter(|table| table.watermark.is_none());
    timeless.map(|table| no_event_time(table, place(table), "fall in no window")).collect()
}

fn words(node: &LogicalPlan) -> String {
    let text = node.display().to_string();
    text.split([':', ' ']).next().unwrap_or_default().to_lowercase()
}

fn window_inside(expr: &Expr) -> Option<String> {
    let mut found = None;
    walk::parts(expr, |part| {
        if let Expr::ScalarFunction(function) = part
            && (is_window(function.name()) || is_window_column(part))
        {
            found = Some(function.name().to_owned());
        }
    });
    found
}

pub(crate) fn no_event_time(table: &Table, place: Range<usize>, misses: &str) -> Diagnostic {
    let times = |column: &&Column| matches!(column.data_type, DataType::Timestamp(_, _));
    let column =
        table.columns.iter().find(times).map_or("event_time", |column| column.name.as_str());
    Diagnostic::error(
        codes::NO_EVENT_TIME,
        format!("`{}` has no event time, so its rows {misses}", table.name),
    )
    .at(place)
    .hint(format!("add to its columns: WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'"))
}

/// About how many bytes the values of some expressions take.
pub(crate) fn bytes_of_key(exprs: &[Expr], schema: &DFSchema) -> u64 {
    let types = exprs.iter().map(|expr| expr.get_type(schema));
    types.map(|of| of.map_or(ASSUMED_LENGTH, |of| width(&of))).sum()
}

/// About how many bytes a row takes.
pub(crate) fn bytes_of_row(schema: &DFSchema) -> u64 {
    widths(schema.fields())
}

fn widths(fields: &Fields) -> u64 {
    fields.iter().map(|field| width(field.data_type())).sum()
}

fn width(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Struct(fields) => widths(fields),
        other => other.primitive_width().map_or(ASSUMED_LENGTH, |width| width as u64),
    }
}
