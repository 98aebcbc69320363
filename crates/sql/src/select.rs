//! One query from syntax tree to analyzed plan.

use std::ops::Range;

use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan},
    sql::planner::SqlToRel,
};
use postrider_core::Diagnostic;
use sqlparser::ast::{Query, Statement};

use crate::{
    blame,
    catalog::Catalog,
    checks::{self, Extent, Input},
    codes, depth,
    emission::Settings,
    errors, growth, lower, optimize,
    parse::lower_first,
    suggest,
    text::SourceText,
    unnest,
    window_calls::{self, Endless},
};

/// An analyzed query whose windows are not lowered yet.
#[derive(Debug)]
pub(crate) struct Analyzed {
    pub(crate) plan: LogicalPlan,
    pub(crate) extent: Extent,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Plans a query as far as its types are known.
pub(crate) fn analyze(
    catalog: &Catalog,
    source: &SourceText<'_>,
    query: &Query,
    input: Input,
    within: &Range<usize>,
) -> std::result::Result<Analyzed, Vec<Diagnostic>> {
    let checked = checks::query(catalog, source, query, input);
    if !checked.errors.is_empty() {
        let placed = |error: Diagnostic| match error.span {
            Some(_) => error,
            None => error.at(within.clone()),
        };
        return Err(checked.errors.into_iter().map(placed).collect());
    }
    let mut expanded = query.clone();
    window_calls::expand_aliases(&mut expanded);
    let plan = match plan(catalog, &expanded) {
        Ok((plan, notes)) => {
            let warnings = notes.iter().map(|note| warning(note, source, within)).collect();
            (plan, warnings)
        }
        Err(error) => return Err(explain(catalog, source, query, &error, within)),
    };
    let (plan, warnings) = plan;
    if !checked.endless.is_empty() {
        check_ends(&plan, &checked.endless, source, within)?;
    }
    if let Some(error) = growth::check(&plan, source, within) {
        return Err(vec![error]);
    }
    Ok(Analyzed { plan, extent: checked.extent, warnings })
}

/// Every aggregate over a window table must group by its window, perhaps by columns of it that went through others.
fn check_ends(
    plan: &LogicalPlan,
    suspects: &[Endless],
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> std::result::Result<(), Vec<Diagnostic>> {
    let found = lower::endless(plan.clone());
    let Some(found) = found.map_err(|error| errors::explain(&error, source, within))? else {
        return Ok(());
    };
    let computes = found.aggr_expr.first().and_then(|expr| match expr {
        Expr::AggregateFunction(call) => Some(call.func.name().to_owned()),
        _ => None,
    });
    let same = suspects.iter().find(|suspect| suspect.aggregate == computes);
    let error = same.map(|suspect| suspect.error.clone());
    let place = |error: Diagnostic| match error.span {
        Some(_) => error,
        None => error.at(within.clone()),
    };
    Err(error.map(place).into_iter().collect())
}

/// Lowers and optimizes what [`analyze`] made, and checks that it can run.
pub(crate) fn finish(
    plan: LogicalPlan,
    input: Input,
    source: &SourceText<'_>,
    within: &Range<usize>,
    settings: Settings,
) -> std::result::Result<LogicalPlan, Vec<Diagnostic>> {
    if let Some(error) = depth::check(&plan, within) {
        return Err(vec![error]);
    }
    let plan = optimize::finish(plan, input, source, within, settings)
        .map_err(|error| errors::explain(&error, source, within))??;
    let found = lower::check(&plan, input, source, within);
    if found.is_empty() { Ok(plan) } else { Err(found) }
}

type Notes = Vec<datafusion::common::Diagnostic>;

fn plan(catalog: &Catalog, query: &Query) -> Result<(LogicalPlan, Notes)> {
    let planner = SqlToRel::new(catalog);
    let mut query = query.clone();
    unnest::nest(&mut query);
    let plan = planner.sql_statement_to_plan(Statement::Query(Box::new(query)))?;
    let notes = planner.take_warnings();
    Ok((optimize::analyze(catalog, plan)?, notes))
}

fn explain(
    catalog: &Catalog,
    source: &SourceText<'_>,
    query: &Query,
    error: &DataFusionError,
    within: &Range<usize>,
) -> Vec<Diagnostic> {
    let mut explained = errors::explain(error, source, within);
    let wanted = errors::root_message(error);
    let fails = |query: &Query| {
        let mut query = query.clone();
        window_calls::expand_aliases(&mut query);
        plan(catalog, &query).is_err_and(|error| errors::root_message(&error) == wanted)
    };
    if let [only] = explained.as_mut_slice()
        && only.code == codes::BAD_EXPRESSION
    {
        // The planner's place of an operator is one of its columns at best.
        let place = only.span.as_ref().map_or_else(|| within.clone(), |span| span.range.clone());
        let is_vague = place == *within || errors::is_operation(&wanted);
        if let Some(range) = is_vague.then(|| blame::find(source, query, &fails)).flatten() {
            *only = only.clone().at(range);
        }
        if let Some(name) = errors::missing_field(&wanted) {
            let names = catalog.field_names();
            let names = names.iter().map(String::as_str);
            *only = only.clone().hint(suggest::hint(name, "fields of STRUCTs", names));
        }
    }
    explained
}

fn warning(
    note: &datafusion::common::Diagnostic,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Diagnostic {
    let range = note.span.map_or_else(
        || within.clone(),
        |span| {
            source.offset(span.start.line, span.start.column)
                ..source.offset(span.end.line, span.end.column)
        },
    );
    // `Comparison with NULL using `=` always evaluates to NULL`
    let operator = note.message.split('`').nth(1);
    let message = operator.map_or_else(
        || lower_first(&note.message),
        |operator| format!("`{operator}` with NULL is never true"),
    );
    Diagnostic::warning(codes::SUSPICIOUS, message).at(range).hint("write IS NULL or IS NOT NULL")
}
