//! `tumble`, `hop` and `session` in a SELECT: where they may stand, and what they take.

use std::{convert::Infallible, ops::ControlFlow};

use postrider_core::{Diagnostic, format_duration};
use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, Query, Select, SelectItem, Spanned, TableFactor, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};

use crate::{
    catalog::{Catalog, fold, only_part},
    codes,
    functions::is_window,
    interval::{self, NotALength},
    limits::MAX_WINDOWS_PER_ROW,
    over,
    text::SourceText,
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

/// Checks the windows of one SELECT.
pub(crate) fn check(
    catalog: &Catalog,
    source: &SourceText<'_>,
    select: &Select,
) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    let windows = grouped(select);
    for call in &windows {
        errors.extend(check_length(catalog, source, call));
    }
    if let Some(second) = windows.get(1) {
        errors.push(
            Diagnostic::error(codes::TWO_WINDOWS, "a GROUP BY has at most one window")
                .at_option(source.balanced(second.span()))
                .hint("group by one window in a subquery and by the other around it"),
        );
    }
    errors.extend(misplaced(source, select, &windows));
    errors
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

fn check_length(catalog: &Catalog, source: &SourceText<'_>, call: &Function) -> Option<Diagnostic> {
    let name = name(call);
    let example = match name.as_str() {
        "tumble" => "tumble(INTERVAL '1 hour')",
        "hop" => "hop(INTERVAL '10 minutes', INTERVAL '1 hour'): slide, then size",
        _ => "session(INTERVAL '30 minutes')",
    };
    let wrong = |message: String, hint: String| {
        Some(
            Diagnostic::error(codes::WINDOW_LENGTH, message)
                .at_option(source.balanced(call.span()))
                .hint(hint),
        )
    };
    let args = match &call.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    let wanted = if name == "hop" { 2 } else { 1 };
    if args.len() != wanted {
        let plural = if wanted == 1 { "length" } else { "lengths" };
        return wrong(
            format!("`{name}` takes {wanted} {plural} of time"),
            format!("write {example}"),
        );
    }
    let mut lengths = Vec::with_capacity(wanted);
    for arg in args {
        let length = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                interval::literal_ns(catalog, expr)
            }
            _ => Err(NotALength::NoLiteral),
        };
        match length {
            Ok(ns) if ns > 0 => lengths.push(ns),
            Ok(_) => {
                return wrong(
                    format!("a length of `{name}` must be above zero"),
                    format!("write {example}"),
                );
            }
            Err(NotALength::NoLiteral) => {
                return wrong(
                    format!("a length of `{name}` must be a literal interval"),
                    format!("write {example}"),
                );
            }
            Err(NotALength::Months) => {
                return wrong(
                    format!("months and years have no fixed length, so `{name}` can't take them"),
                    "use days: INTERVAL '30 days'".to_owned(),
                );
            }
            Err(NotALength::TooLong) => {
                return wrong(
                    format!("a length of `{name}` is above 292 years"),
                    format!("write {example}"),
                );
            }
        }
    }
    match lengths.as_slice() {
        &[slide, size] => check_hop(slide, size).and_then(|(message, hint)| wrong(message, hint)),
        _ => None,
    }
}

/// What is wrong with the lengths of a `hop`, and what to do. Both are above zero.
fn check_hop(slide: i64, size: i64) -> Option<(String, String)> {
    if slide > size {
        return Some((
            "`hop` with a slide longer than its size would skip rows".to_owned(),
            "the slide comes first: hop(INTERVAL '10 minutes', INTERVAL '1 hour')".to_owned(),
        ));
    }
    let windows = size.unsigned_abs().div_ceil(slide.unsigned_abs());
    (windows > MAX_WINDOWS_PER_ROW).then(|| {
        let (size, slide) = (format_duration(size), format_duration(shortest_slide(size)));
        (
            format!(
                "each row would be in {windows} windows, over the limit of {MAX_WINDOWS_PER_ROW}"
            ),
            format!("for windows of {size}, take a slide of {slide} or more"),
        )
    })
}

/// The shortest slide that keeps to [`MAX_WINDOWS_PER_ROW`], in whole units of a clock.
fn shortest_slide(size: i64) -> i64 {
    let shortest = size.unsigned_abs().div_ceil(MAX_WINDOWS_PER_ROW);
    let units = [3_600_000_000_000, 60_000_000_000, 1_000_000_000, 1_000_000];
    let unit = units.into_iter().find(|&unit| shortest > unit).unwrap_or(1);
    i64::try_from(shortest.next_multiple_of(unit)).unwrap_or(size)
}

/// Lets a SELECT use the alias of its own window: in `SELECT tumble(..) AS w, w.start`, the second
/// item becomes a field of the call. DataFusion resolves aliases in GROUP BY and HAVING only.
pub(crate) fn expand_aliases(query: &mut Query) {
    let ControlFlow::Continue(()) = query.visit(&mut AliasExpansion);
}

struct AliasExpansion;

impl VisitorMut for AliasExpansion {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        over::name_windows(select);
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
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| fold(&alias.name)),
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
