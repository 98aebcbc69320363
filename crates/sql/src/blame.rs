//! Finds the expression behind a type error, which the planner reports without a place: the
//! statement is planned again with one expression at a time until the same error comes back.

use std::ops::Range;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select, SelectItem,
    SetExpr, Spanned, Value,
};

use crate::text::SourceText;

/// The smallest part of the outermost SELECT that still fails in the same way.
///
/// `fails` plans a query and tells whether it fails with the error in question.
pub(crate) fn find(
    source: &SourceText<'_>,
    query: &Query,
    fails: &dyn Fn(&Query) -> bool,
) -> Option<Range<usize>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let rebuilt = |change: &dyn Fn(&mut Select)| {
        let mut select = select.as_ref().clone();
        select.having = None;
        change(&mut select);
        Query {
            with: query.with.clone(),
            body: Box::new(SetExpr::Select(Box::new(select))),
            order_by: None,
            limit_clause: None,
            ..query.clone()
        }
    };
    let projected = |expr: &Expr| {
        fails(&rebuilt(&|select| {
            select.projection = vec![SelectItem::UnnamedExpr(expr.clone())];
            select.selection = None;
        }))
    };
    for item in &select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && projected(expr)
        {
            return source.balanced(narrow(expr, &projected).span());
        }
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let filtered = |expr: &Expr| {
        fails(&rebuilt(&|select| {
            select.projection = vec![SelectItem::UnnamedExpr(one())];
            select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
            select.selection = Some(expr.clone());
        }))
    };
    if let Some(expr) = select.selection.as_ref().filter(|expr| filtered(expr)) {
        return source.balanced(narrow(expr, &filtered).span());
    }
    let kept = |expr: &Expr| {
        fails(&rebuilt(&|select| {
            select.projection = vec![SelectItem::UnnamedExpr(one())];
            select.selection = None;
            select.having = Some(expr.clone());
        }))
    };
    let having = select.having.as_ref().filter(|expr| kept(expr))?;
    source.balanced(narrow(having, &kept).span())
}

fn narrow<'e>(expr: &'e Expr, fails: &dyn Fn(&Expr) -> bool) -> &'e Expr {
    let mut current = expr;
    while let Some(part) = parts(current).into_iter().find(|part| fails(part)) {
        current = part;
    }
    current
}

fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Cast { expr: inner, .. } => {
            vec![inner]
        }
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::Function(call) => match &call.args {
            FunctionArguments::List(list) => list
                .args
                .iter()
                .filter_map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        },
        Expr::Case { operand, conditions, else_result, .. } => operand
            .iter()
            .chain(else_result)
            .map(AsRef::as_ref)
            .chain(conditions.iter().flat_map(|when| [&when.condition, &when.result]))
            .collect(),
        _ => Vec::new(),
    }
}
