//! Clauses of a query that a stream doesn't have, or nobody.

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{
        Distinct as SqlDistinct, Expr, GroupByExpr, Join, JoinConstraint, JoinOperator,
        LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier,
        Spanned,
    },
    keywords::Keyword,
};

use super::{Checker, Input};
use crate::{catalog::fold, codes};

/// Whether a query is `SELECT DISTINCT ON (..)`.
fn is_distinct_on(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Select(select) if matches!(select.distinct, Some(SqlDistinct::On(_))))
}

impl Checker<'_, '_, '_> {
    pub(super) fn tail(&mut self, query: &Query) {
        self.distinct_on(query);
        const HINT: &str =
            "a stream has no last row to sort or count to; remove it, or ask `postrider query`";
        // It says which row of each key DISTINCT ON takes.
        if let Some(order_by) = query.order_by.as_ref().filter(|_| !is_distinct_on(&query.body)) {
            let span = match &order_by.kind {
                OrderByKind::Expressions(exprs) => {
                    exprs.iter().map(Spanned::span).reduce(|a, b| a.union(&b))
                }
                OrderByKind::All(_) => None,
            };
            let range = span.and_then(|span| self.source.balanced(span));
            let range = range.map(|range| self.source.since_keyword(Keyword::ORDER, range));
            self.refuse("ORDER BY", range, HINT);
        }
        if let Some(limit) = &query.limit_clause {
            let span = match limit {
                LimitClause::LimitOffset { limit: Some(limit), .. }
                | LimitClause::OffsetCommaLimit { limit, .. } => Some(limit.span()),
                LimitClause::LimitOffset { offset, .. } => offset.as_ref().map(|o| o.value.span()),
            };
            let range = span.and_then(|span| self.source.range(span));
            let range = range.map(|range| {
                let from_limit = self.source.since_keyword(Keyword::LIMIT, range.clone());
                if from_limit == range {
                    self.source.since_keyword(Keyword::OFFSET, range)
                } else {
                    from_limit
                }
            });
            self.refuse("LIMIT", range, HINT);
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            let range = self.source.keyword_after(Keyword::FOR, self.start_of(query));
            self.unsupported("FOR behind a query", range, "remove it: nothing is locked");
        }
        if query.fetch.is_some() {
            let range = self.source.keyword_after(Keyword::FETCH, self.start_of(query));
            self.refuse("FETCH", range, HINT);
        }
        if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
            let from = self.source.range(with.with_token.0.span).map_or(0, |range| range.start);
            let range = self.source.keyword_after(Keyword::RECURSIVE, from);
            self.errors.push(
                Diagnostic::error(codes::UNSUPPORTED, "recursive CTEs are not supported")
                    .at_option(range)
                    .hint("remove RECURSIVE"),
            );
        }
    }

    /// DISTINCT ON without an order could take any row.
    fn distinct_on(&mut self, query: &Query) {
        let SetExpr::Select(select) = query.body.as_ref() else { return };
        let Some(SqlDistinct::On(keys)) = &select.distinct else { return };
        let orders = query.order_by.as_ref().map_or(0, |order| match &order.kind {
            OrderByKind::Expressions(exprs) => exprs.len(),
            OrderByKind::All(_) => 0,
        });
        if orders <= keys.len() {
            let start = self.source.range(select.select_token.0.span);
            let start = start.map_or(0, |range| range.start);
            let range = self.source.keyword_after(Keyword::DISTINCT, start);
            let hint = "say which row is taken: SELECT DISTINCT ON (k) .. ORDER BY k, ts DESC";
            self.refuse("DISTINCT ON without ORDER BY", range, hint);
        }
    }

    pub(super) fn set_operation(&mut self, body: &SetExpr) {
        match body {
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                use SetQuantifier::{All, Distinct, None};
                let taken = match op {
                    SetOperator::Union => matches!(set_quantifier, All | Distinct | None),
                    SetOperator::Intersect | SetOperator::Except => {
                        matches!(set_quantifier, Distinct | None)
                    }
                    SetOperator::Minus => false,
                };
                if !taken {
                    let range = self.source.range(right.span()).and_then(|range| {
                        let before = self.source.index_at(range.start).checked_sub(1)?;
                        let lexemes = self.source.lexemes().get(..=before)?;
                        let operator = lexemes.iter().rfind(|lexeme| {
                            [Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT]
                                .iter()
                                .any(|keyword| lexeme.is_keyword(*keyword))
                        })?;
                        Some(operator.range.clone())
                    });
                    let what = format!("{op} {set_quantifier}");
                    let hint = "UNION, UNION ALL, INTERSECT and EXCEPT are supported";
                    self.refuse(what.trim_end(), range, hint);
                }
                self.set_operation(left);
                self.set_operation(right);
            }
            SetExpr::Values(values) => {
                let range = self.source.balanced(values.span());
                let range = range.map(|range| self.source.since_keyword(Keyword::VALUES, range));
                self.refuse("VALUES", range, "read rows from a table: SELECT .. FROM ..");
            }
            _ => {}
        }
    }

    pub(super) fn select_clauses(&mut self, select: &Select) {
        let start = self.source.range(select.select_token.0.span).map_or(0, |range| range.start);
        if select.into.is_some() {
            let range = self.source.keyword_after(Keyword::INTO, start);
            self.unsupported("SELECT .. INTO", range, "write INSERT INTO table SELECT ..");
        }
        if select.from.is_empty() {
            self.no_from(select);
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            self.join(join);
        }
        if let GroupByExpr::Expressions(_, modifiers) | GroupByExpr::All(modifiers) =
            &select.group_by
            && !modifiers.is_empty()
        {
            let range = self.source.keyword_after(Keyword::GROUP, start);
            self.refuse("GROUP BY with totals", range, "write one INSERT for each grouping");
        }
    }

    /// Joins other than those of the standard are nobody's. NATURAL ones change their meaning with every new column.
    fn join(&mut self, join: &Join) {
        use JoinOperator::{FullOuter, Inner, Left, LeftOuter, Right, RightOuter};
        if self.unnest_join(join) {
            return;
        }
        let (what, hint) = match &join.join_operator {
            JoinOperator::Join(condition)
            | Inner(condition)
            | Left(condition)
            | LeftOuter(condition)
            | Right(condition)
            | RightOuter(condition)
            | FullOuter(condition) => match condition {
                JoinConstraint::Natural => ("NATURAL JOIN", "write JOIN .. USING (column)"),
                _ if join.global => ("GLOBAL JOIN", "remove GLOBAL"),
                _ => return,
            },
            JoinOperator::CrossJoin(_) => return,
            _ => ("this kind of join", "use JOIN, LEFT JOIN, RIGHT JOIN or FULL JOIN with ON"),
        };
        let range = self.source.balanced(join.relation.span());
        let range = range.map(|range| self.source.since_keyword(Keyword::JOIN, range));
        self.unsupported(what, range, hint);
    }

    /// A name in a SELECT without FROM is more likely meant as a column than a stream without rows.
    fn no_from(&mut self, select: &Select) {
        let named = select.projection.iter().find_map(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident))
            | SelectItem::ExprWithAlias { expr: Expr::Identifier(ident), .. } => Some(ident),
            _ => None,
        });
        match named.filter(|_| self.input == Input::Stream && self.reads.len() == 1) {
            Some(ident) => self.errors.push(
                Diagnostic::error(
                    codes::UNKNOWN_COLUMN,
                    format!("column `{}` does not exist", fold(ident)),
                )
                .at_option(self.source.range(ident.span))
                .hint("say where it comes from: SELECT .. FROM table"),
            ),
            None => {
                let range = self.source.range(select.span());
                self.refuse(
                    "SELECT without FROM",
                    range,
                    "read rows from a table: SELECT .. FROM ..",
                );
            }
        }
    }
}
