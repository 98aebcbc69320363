//! `ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY ..)`: the ranks of rows within the window that they are a
//! result of.

use std::sync::Arc;

use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, Window, WindowFunctionDefinition, expr::WindowFunction,
};
use postrider_plan::{Ranking, WindowRank};

use crate::{
    window_groups,
    window_origin::{self, Origin, Source},
};

/// The same as a rank within a window; `None` if it is something else.
pub(crate) fn lower(window: &Window) -> Option<LogicalPlan> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let function = function(expr)?;
    let ranking = ranking(function)?;
    let below = &window.input;
    let keys = &function.params.partition_by;
    let origins: Vec<Option<Origin>> =
        keys.iter().map(|key| window_origin::of_expr(below, key)).collect();
    let same = |origin: &Origin| origin.of == Source::Result;
    if !window_groups::is_whole(&origins) || !origins.iter().flatten().all(same) {
        return None;
    }
    let others = keys.iter().zip(&origins).filter(|(_, origin)| origin.is_none());
    let node = WindowRank {
        input: Arc::clone(below),
        ranking,
        start: window_groups::start(keys, &origins).ok()?,
        partition_by: others.map(|(key, _)| key.clone()).collect(),
        order_by: function.params.order_by.clone(),
        schema: Arc::clone(&window.schema),
    };
    Some(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
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
