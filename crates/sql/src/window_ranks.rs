//! `ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY ..)`: the ranks of rows within the window that they are a
//! result of, or were put into.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{DFSchema, DFSchemaRef},
    logical_expr::{
        Expr, Extension, LogicalPlan, Window, WindowFunctionDefinition, expr::WindowFunction,
    },
};
use postrider_plan::{Ranking, WindowRank};

use crate::{
    window_groups,
    window_origin::{self, Origin, Source},
};

/// The same as ranks within a window, each over the rows that the one before numbered; as it was if it is something else.
pub(crate) fn lower(window: Window) -> LogicalPlan {
    ranks(&window).unwrap_or(LogicalPlan::Window(window))
}

fn ranks(window: &Window) -> Option<LogicalPlan> {
    let mut plan = Arc::clone(&window.input);
    for expr in &window.window_expr {
        let width = plan.schema().fields().len() + 1;
        plan = Arc::new(rank(plan, function(expr)?, first_columns(window, width)?)?);
    }
    Some(Arc::unwrap_or_clone(plan))
}

fn first_columns(window: &Window, count: usize) -> Option<DFSchemaRef> {
    let columns = window.schema.iter().take(count);
    let columns = columns.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
    DFSchema::new_with_metadata(columns.collect(), HashMap::new()).ok().map(Arc::new)
}

fn rank(
    input: Arc<LogicalPlan>,
    function: &WindowFunction,
    schema: DFSchemaRef,
) -> Option<LogicalPlan> {
    let ranking = ranking(function)?;
    let keys = &function.params.partition_by;
    let origins = origins(&input, keys);
    let reaches = origins.iter().flatten().map(|origin| match origin.of {
        Source::Result(reach) => Some(reach),
        Source::Table(..) => None,
    });
    let reach_ns = reaches.collect::<Option<Vec<_>>>()?.into_iter().max()?;
    if !window_groups::is_whole(&origins) {
        return None;
    }
    let others = keys.iter().zip(&origins).filter(|(_, origin)| origin.is_none());
    let node = WindowRank {
        ranking,
        start: window_groups::start(keys, &origins).ok()?,
        reach_ns,
        partition_by: others.map(|(key, _)| key.clone()).collect(),
        input,
        order_by: function.params.order_by.clone(),
        limit: None,
        schema,
    };
    Some(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

fn origins(below: &LogicalPlan, keys: &[Expr]) -> Vec<Option<Origin>> {
    keys.iter().map(|key| window_origin::of_expr(below, key)).collect()
}

fn function(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => function(&alias.expr),
        Expr::WindowFunction(function) => Some(function),
        _ => None,
    }
}

fn ranking(function: &WindowFunction) -> Option<Ranking> {
    let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else { return None };
    let plain = function.params.filter.is_none() && !function.params.distinct;
    Ranking::named(udf.name()).filter(|_| plain)
}
