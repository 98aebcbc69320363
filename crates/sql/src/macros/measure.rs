//! How large an expression is, before it is put into others.

use std::{collections::BTreeMap, convert::Infallible, ops::ControlFlow};

use sqlparser::ast::{Expr, Visit, Visitor};

use crate::catalog::fold;

/// The size of an expression.
#[derive(Debug, Default)]
pub(super) struct Measure {
    pub(super) parts: usize,
    pub(super) depth: usize,
    /// How often each name stands in it.
    pub(super) names: BTreeMap<String, usize>,
    level: usize,
}

impl Measure {
    pub(super) fn of(expr: &Expr) -> Self {
        let mut measure = Self::default();
        let ControlFlow::Continue(()) = expr.visit(&mut measure);
        measure
    }
}

impl Visitor for Measure {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        self.parts += 1;
        self.level += 1;
        self.depth = self.depth.max(self.level);
        let name = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.first(),
            _ => None,
        };
        if let Some(name) = name {
            *self.names.entry(fold(name)).or_default() += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<Infallible> {
        self.level -= 1;
        ControlFlow::Continue(())
    }
}
