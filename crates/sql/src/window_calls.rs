//! `tumble`, `hop`, `cumulate` and `session` in a SELECT: where they may stand, and what they take.

use std::{convert::Infallible, ops::ControlFlow};

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{
        AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
        Ident, Query, Select, SelectItem, Spanned, TableFactor, Value, Visit, VisitMut, Visitor,
        VisitorMut,
    },
    keywords::Keyword,
};

use crate::{
    catalog::{Catalog, fold, only_part},
    checks::Input,
    codes, fields,
    functions::is_window,
    interval::NotALength,
    over,
    table_joins::syntax,
    text::SourceText,
    window_spec::{self, Arg},
    window_tables::WindowTable,
};

/// The calls in an expression, outside of subqueries.
#[derive(Default)]
pub(crate) struct Calls(pub(crate) Vec<Function>, usize);

impl Calls {
    pub(crate) fn of(part: &impl Visit) -> Self {
        let mut calls = Self::default();
        let ControlFlow::Continue(()) = part.visit(&mut calls);
        calls
    }

    fn windows(part: &impl Visit) -> Vec<Function> {
        Self::of(part).0.into_iter().filter(|call| is_window(&name(call))).collect()
    }
}

impl Visitor for Calls {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Infallible> {
        self.1 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Infallible> {
        self.1 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        if let (Expr::Function(call), 0) = (expr, self.1) {
            self.0.push(call.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The name of the function that is called.
pub(crate) fn name(call: &Function) -> String {
    only_part(&call.name).map_or_else(|| call.name.to_string(), fold)
}

fn as_window(expr: &Expr) -> Option<&Function> {
    match expr {
        Expr::Function(call) if is_window(&name(call)) => Some(call),
        Expr::Nested(inner) => as_window(inner),
        _ => None,
    }
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// The windows that a SELECT groups by: called, named by their alias, or by their position.
fn grouped(select: &Select) -> Vec<Function> {
    let items = || select.projection.iter();
    let exprs = match &select.group_by {
        GroupByExpr::All(_) => {
            let windows = items().filter_map(item_expr).filter_map(as_window);
            return windows.cloned().collect();
        }
        GroupByExpr::Expressions(exprs, _) => exprs,
    };
    let mut windows: Vec<Function> = Vec::new();
    for expr in exprs {
        let found = match expr {
            Expr::Identifier(ident) => items().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(ident) => {
                    as_window(expr)
                }
                _ => None,
            }),
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) => text
                    .parse::<usize>()
                    .ok()
                    .and_then(|position| select.projection.get(position.checked_sub(1)?))
                    .and_then(item_expr)
                    .and_then(as_window),
                _ => None,
            },
            expr => as_window(expr),
        };
        windows.extend(found.filter(|call| !windows.contains(call)).cloned());
    }
    windows
}

/// What the windows of one SELECT came to.
pub(crate) struct Windows {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) endless: Option<Endless>,
}

/// An aggregate over a window table, without a window call: what is wrong with it if it groups by no column of a window either.
#[derive(Debug, Clone)]
pub(crate) struct Endless {
    /// The first function that it computes.
    pub(crate) aggregate: Option<String>,
    pub(crate) error: Diagnostic,
}

/// Checks the windows of one SELECT, and that it aggregates by one if it must.
pub(crate) fn check(
    catalog: &Catalog,
    source: &SourceText<'_>,
    select: &Select,
    input: Input,
) -> Windows {
    let mut errors = Vec::new();
    let windows = grouped(select);
    for call in &windows {
        errors.extend(check_arguments(catalog, source, call));
    }
    if let Some(second) = windows.get(1) {
        errors.push(
            Diagnostic::error(codes::TWO_WINDOWS, "a GROUP BY has at most one window")
                .at_option(source.balanced(second.span()))
                .hint("group by one window in a subquery and by the other around it"),
        );
    }
    errors.extend(misplaced(source, select, &windows));
    let unbounded = input == Input::Stream && windows.is_empty() && errors.is_empty();
    let mut endless = if unbounded { endless(catalog, source, select) } else { None };
    errors.extend(endless.take_if(|_| !may_regroup(select)).map(|endless| endless.error));
    Windows { errors, endless }
}

/// Whether a SELECT groups by a column, which may be that of a window.
fn may_regroup(select: &Select) -> bool {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return true };
    let is_column = |expr: &Expr| {
        matches!(
            expr,
            Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::CompoundFieldAccess { .. }
                | Expr::Nested(_)
                | Expr::Value(_)
        )
    };
    exprs.iter().any(is_column)
}

fn misplaced(source: &SourceText<'_>, select: &Select, windows: &[Function]) -> Vec<Diagnostic> {
    let at = |call: &Function, message: String, hint: &str| {
        Diagnostic::error(codes::WINDOW_PLACE, message)
            .at_option(source.balanced(call.span()))
            .hint(hint)
    };
    let mut errors = Vec::new();
    for call in select.selection.iter().flat_map(Calls::windows) {
        let message = format!("`{}` can't stand in WHERE", name(&call));
        errors.push(at(&call, message, "filter windows with HAVING, or around a subquery"));
    }
    if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
        for call in exprs.iter().filter(|expr| as_window(expr).is_none()).flat_map(Calls::windows) {
            let message = format!("GROUP BY takes `{}` itself, not a part of it", name(&call));
            errors.push(at(
                &call,
                message,
                "group by the window, and take .start or .end in SELECT",
            ));
        }
    }
    let outputs = select.projection.iter().flat_map(Calls::windows);
    for call in outputs.chain(select.having.iter().flat_map(Calls::windows)) {
        if windows.is_empty() {
            let hint = "name it in GROUP BY, by position, by alias or by repeating it";
            errors.push(at(&call, format!("`{}` without GROUP BY", name(&call)), hint));
        } else if !windows.contains(&call) {
            let message = format!("this `{}` is not the window of the GROUP BY", name(&call));
            errors.push(at(
                &call,
                message,
                "repeat the GROUP BY's window exactly, or use its alias",
            ));
        }
    }
    errors
}

fn endless(catalog: &Catalog, source: &SourceText<'_>, select: &Select) -> Option<Endless> {
    let parts = || {
        let items = select.projection.iter().map(Calls::of);
        items.chain(select.having.iter().map(Calls::of)).flat_map(|calls| calls.0)
    };
    let aggregate = parts().find(|call| {
        let name = name(call);
        call.over.is_none() && catalog.functions.aggregate.contains_key(&name)
    });
    let groups = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let range = match &aggregate {
        Some(call) => source.balanced(call.span()),
        None if groups => {
            let start = source.range(select.select_token.0.span).map_or(0, |range| range.start);
            source.keyword_after(Keyword::GROUP, start)
        }
        None => return None,
    };
    // Rows that were put into windows are meant to be grouped by these.
    select.from.iter().find(|from| WindowTable::of(&from.relation).is_some())?;
    let hint = "GROUP BY window_start, window_end, and what else is wanted";
    let error = Diagnostic::error(
        codes::ENDLESS,
        "an aggregate over a stream needs a window, or it would never be final",
    );
    Some(Endless {
        aggregate: aggregate.map(|call| name(&call)),
        error: error.at_option(range).hint(hint),
    })
}

fn check_arguments(
    catalog: &Catalog,
    source: &SourceText<'_>,
    call: &Function,
) -> Option<Diagnostic> {
    let args = match &call.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    let args = args.iter().enumerate().map(|(position, arg)| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Arg::written(catalog, position, expr),
        _ => Arg::Length(Err(NotALength::NoLiteral)),
    });
    let problem = window_spec::window(&name(call), &args.collect::<Vec<_>>()).err()?;
    Some(
        Diagnostic::error(codes::WINDOW_LENGTH, problem.message)
            .at_option(source.balanced(call.span()))
            .hint(problem.hint),
    )
}

/// Lets a SELECT use the alias of its own window: in `SELECT tumble(..) AS w, w.start`, the second
/// item becomes a field of the call. DataFusion resolves aliases in GROUP BY and HAVING only.
pub(crate) fn expand_aliases(query: &mut Query) {
    let ControlFlow::Continue(()) = query.visit(&mut AliasExpansion);
    fields::name(query);
}

struct AliasExpansion;

impl VisitorMut for AliasExpansion {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        over::name_windows(select);
        syntax::mark(select);
        let tables: Vec<String> = select
            .from
            .iter()
            .flat_map(|from| {
                std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
            })
            .filter_map(table_name)
            .collect();
        let windows: Vec<(String, Expr)> = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } => {
                    as_window(expr).map(|call| (fold(alias), Expr::Function(call.clone())))
                }
                _ => None,
            })
            .filter(|(alias, _)| !tables.contains(alias))
            .collect();
        for item in &mut select.projection {
            name_field(item, &tables);
        }
        let mut fields = FieldExpansion { windows, depth: 0 };
        for item in &mut select.projection {
            let ControlFlow::Continue(()) = item.visit(&mut fields);
        }
        if let Some(having) = &mut select.having {
            let ControlFlow::Continue(()) = having.visit(&mut fields);
        }
        ControlFlow::Continue(())
    }
}

/// Names an item after the field it takes, as Postgres does; DataFusion would name it after the
/// whole expression, such as `item[sku]`. A bare window is named `window`, as in Arroyo.
fn name_field(item: &mut SelectItem, tables: &[String]) {
    let SelectItem::UnnamedExpr(expr) = item else { return };
    let alias = match &*expr {
        Expr::CompoundIdentifier(idents) => match idents.as_slice() {
            [first, last] if !tables.contains(&fold(first)) => last.clone(),
            [_, _, .., last] => last.clone(),
            _ => return,
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(last))) => last.clone(),
            _ => return,
        },
        expr if as_window(expr).is_some() => Ident::new("window"),
        _ => return,
    };
    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
}

fn table_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => alias
            .as_ref()
            .map_or_else(|| only_part(name).map(fold), |alias| Some(fold(&alias.name))),
        TableFactor::Derived { alias, .. } | TableFactor::TableFunction { alias, .. } => {
            alias.as_ref().map(|alias| fold(&alias.name))
        }
        _ => None,
    }
}

struct FieldExpansion {
    windows: Vec<(String, Expr)>,
    depth: usize,
}

impl VisitorMut for FieldExpansion {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Infallible> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Infallible> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let replacement = match &*expr {
            Expr::CompoundIdentifier(idents) => match idents.as_slice() {
                [alias, field] => self
                    .windows
                    .iter()
                    .find(|(name, _)| *name == fold(alias))
                    .map(|(_, call)| field_of(call.clone(), field)),
                _ => None,
            },
            // `(tumble(..)).start`: DataFusion takes the field of a call by text only.
            Expr::CompoundFieldAccess { root, access_chain } => match access_chain.as_slice() {
                [AccessExpr::Dot(Expr::Identifier(field))] => {
                    as_window(root).map(|call| field_of(Expr::Function(call.clone()), field))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}

fn field_of(call: Expr, field: &Ident) -> Expr {
    let value = Value::SingleQuotedString(fold(field)).with_span(field.span);
    Expr::CompoundFieldAccess {
        root: Box::new(call),
        access_chain: vec![AccessExpr::Dot(Expr::Value(value))],
    }
}
