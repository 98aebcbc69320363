//! Window functions over streams to [`Over`] nodes: rows are taken in the order of event time.

use std::ops::{ControlFlow, Range};

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{Expr, Extension, LogicalPlan, Window, expr::WindowFunction},
};
use postrider_core::Diagnostic;
use postrider_plan::{Endless, Memory, Over, Ranking, WindowRows, is_updating};
use sqlparser::ast::{
    Expr as SqlExpr, NamedWindowDefinition, NamedWindowExpr, Select, WindowType,
    visit_expressions_mut,
};

use crate::{
    catalog::fold,
    changelog, codes,
    limits::PARTITION_BYTES,
    lower,
    row_time::{self, Traced},
    text::SourceText,
    walk,
    window_origin::{self, Source},
};

/// Puts the windows that a SELECT names into its QUALIFY. DataFusion does so in the columns of the SELECT only, and takes an
/// aggregate over a name for one of a group.
pub(crate) fn name_windows(select: &mut Select) {
    let (Some(qualify), windows) = (&mut select.qualify, &select.named_window) else { return };
    let ControlFlow::Continue(()) = visit_expressions_mut(qualify, |expr| {
        if let SqlExpr::Function(call) = expr
            && let Some(WindowType::NamedWindow(name)) = &call.over
        {
            let meant = windows.iter().find_map(|NamedWindowDefinition(known, window)| {
                let NamedWindowExpr::WindowSpec(spec) = window else { return None };
                (fold(known) == fold(name)).then(|| WindowType::WindowSpec(spec.clone()))
            });
            call.over = meant.or_else(|| call.over.take());
        }
        ControlFlow::<std::convert::Infallible>::Continue(())
    });
}

/// Replaces window functions. What can't run on a stream is left, and said.
pub(crate) fn lower(
    plan: LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Result<(LogicalPlan, Vec<Diagnostic>)> {
    let mut errors = Vec::new();
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) => {
            let found = refuse(&window, source, within);
            if !found.is_empty() {
                errors.extend(found);
                return Ok(Transformed::no(LogicalPlan::Window(window)));
            }
            let Window { input, window_expr, .. } = window;
            let node = Extension { node: std::sync::Arc::new(Over::try_new(input, window_expr)?) };
            Ok(Transformed::yes(LogicalPlan::Extension(node)))
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok((plan.data, errors))
}

fn refuse(window: &Window, source: &SourceText<'_>, within: &Range<usize>) -> Vec<Diagnostic> {
    if is_updating(&window.input) {
        return vec![changelog::not_final("OVER", &window.input, source, within)];
    }
    let tables = lower::clocks(&window.input);
    if let Some(table) = tables.iter().find(|table| table.watermark.is_none()) {
        return vec![lower::no_event_time(table, table.range.clone(), "have no order in time")];
    }
    let calls: Vec<_> = window.window_expr.iter().filter_map(Over::call).collect();
    if let Some(error) = calls.iter().find_map(|call| order(call, &window.input, source, within)) {
        return vec![error];
    }
    let endless = calls.into_iter().filter_map(|call| {
        let Endless { what, hint } = Memory::of(call).err()?;
        let error = Diagnostic::error(codes::ENDLESS_OVER, what);
        Some(error.at(place(call, source, within)).hint(hint))
    });
    endless.collect()
}

/// What is wrong with the order of a call.
fn order(
    call: &WindowFunction,
    input: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let first = call.params.order_by.first();
    let is_time = |expr| matches!(row_time::trace(expr, input), Some(Traced::Time(_)));
    let (message, place) = match first {
        Some(first) if first.asc && is_time(&first.expr) => return None,
        Some(first) => (
            "rows of a stream can only be taken in the order of their event time, the oldest first",
            columns(&first.expr, source, within)
                .map(|range| source.item(range.start))
                .unwrap_or_else(|| place(call, source, within)),
        ),
        None => (
            "without ORDER BY, OVER looks at the whole partition, which never ends on a stream",
            place(call, source, within),
        ),
    };
    let keys = call.params.partition_by.iter();
    let windows: Vec<_> = keys.filter_map(|key| window_origin::of_expr(input, key)).collect();
    if windows.iter().any(|window| matches!(window.of, Source::Table(..))) {
        let message =
            "the rows of a session can't be ranked: which one it is, is known only when it is over";
        return Some(
            Diagnostic::error(codes::WINDOW_PLACE, message)
                .at(self::place(call, source, within))
                .hint("GROUP BY window_start, window_end, and rank the results"),
        );
    }
    let hint = if !windows.is_empty() {
        "within a window, ROW_NUMBER, RANK and DENSE_RANK may follow any order, if nothing else is in the same OVER: PARTITION BY window_start, window_end"
            .to_owned()
    } else {
        let time = if are_in_windows(input) {
            "window_time".to_owned()
        } else {
            row_time::column_name(input, "")
        };
        let also = if Ranking::named(call.fun.name()).is_some() {
            "; in any other order keep the first rows of each key only: QUALIFY row_number() OVER (..) <= 3"
        } else {
            ""
        };
        format!("begin with the event time: ORDER BY {time}, .. ; of a window it is its .end{also}")
    };
    Some(Diagnostic::error(codes::ORDER_OF_TIME, message).at(place).hint(hint))
}

/// Whether rows were put into windows, so that their time is the last of that.
fn are_in_windows(plan: &LogicalPlan) -> bool {
    let mut found = false;
    walk::nodes(plan, |node| {
        found |= matches!(node, LogicalPlan::Extension(extension) if extension.node.as_any().is::<WindowRows>());
    });
    found
}

/// The columns of an expression in the text.
fn columns(expr: &Expr, source: &SourceText<'_>, within: &Range<usize>) -> Option<Range<usize>> {
    let refs = expr.column_refs();
    let spans = refs.iter().flat_map(|column| column.spans.iter()).map(|span| {
        source.offset(span.start.line, span.start.column)
            ..source.offset(span.end.line, span.end.column)
    });
    let inside = spans.filter(|range| within.start <= range.start && range.end <= within.end);
    inside.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
}

/// A call with its OVER; of several of the same function, the one around its columns. One that is not `within` the statement
/// stands in a view that it reads.
pub(crate) fn place(
    call: &WindowFunction,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Range<usize> {
    let expr = Expr::WindowFunction(Box::new(call.clone()));
    let everything = source.everything();
    let here = columns(&expr, source, within);
    let elsewhere = here.is_none().then(|| columns(&expr, source, &everything)).flatten();
    let searched = if elsewhere.is_some() { &everything } else { within };
    let inside = here.or(elsewhere);
    let names = source.find_names(call.fun.name(), searched);
    // DISTINCT ON is none that is written.
    if names.is_empty() {
        return within.clone();
    }
    let calls: Vec<_> = names.iter().filter_map(|name| source.with_over(name)).collect();
    let around = calls.iter().find(|range| {
        inside.as_ref().is_some_and(|part| range.start <= part.start && part.end <= range.end)
    });
    around.or_else(|| calls.first()).cloned().or(inside).unwrap_or_else(|| within.clone())
}

/// A warning for each set of window functions that keeps something of every key as long as the pipeline runs.
pub(crate) fn kept_for_ever(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    walk::nodes(plan, |node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(over) = extension.node.as_any().downcast_ref::<Over>()
        {
            warnings.extend(warn(over, source, within));
        }
    });
    warnings
}

fn warn(over: &Over, source: &SourceText<'_>, within: &Range<usize>) -> Option<Diagnostic> {
    let lasting = |call: &&WindowFunction| Memory::of(call).is_ok_and(Memory::for_ever);
    let calls: Vec<_> = over.calls().filter(lasting).collect();
    let first = calls.first()?;
    // One partition is as large as it is.
    if over.partition_exprs.is_empty() {
        return None;
    }
    let mut functions: Vec<_> = calls.iter().map(|call| format!("`{}`", call.fun.name())).collect();
    functions.dedup();
    let keys: Vec<_> = over.partition_exprs.iter().map(key_name).collect();
    let bytes = bytes_per_key(over);
    Some(
        Diagnostic::warning(
            codes::KEPT_FOR_EVER,
            format!(
                "every {} is remembered for ever, for {}: about {bytes} bytes each",
                keys.join(", "),
                functions.join(", "),
            ),
        )
        .at(place(first, source, within))
        .hint(format!(
            "a million of them take {} MB; an aggregate over a RANGE of time lets them go",
            bytes.saturating_mul(1_000_000) >> 20
        )),
    )
}

fn key_name(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => format!("`{}`", column.name),
        other => format!("`{}`", other.human_display()),
    }
}

/// What a key costs: itself, a partial state for each aggregate, and the rows that are kept.
fn bytes_per_key(over: &Over) -> u64 {
    let input = over.input.schema();
    let row = lower::bytes_of_row(input);
    let key = lower::bytes_of_key(&over.partition_exprs, input);
    let (mut first, mut last, mut states) = (0, 0, 0_u64);
    for memory in over.calls().filter_map(|call| Memory::of(call).ok()) {
        match memory {
            Memory::Count | Memory::Running { .. } => states += 1,
            Memory::Rows(rows) => {
                first = rows.first.max(first);
                last = rows.last.max(last);
            }
        }
    }
    let rows = u64::try_from(first.saturating_add(last)).unwrap_or(u64::MAX);
    let states = if states > 0 { (states + 1) * 16 + key } else { 0 };
    PARTITION_BYTES + key + states + rows.saturating_mul(row + key + 48)
}
