//! Fields of an expression, as in `items[1].sku` and `(a).b`: DataFusion takes the name of such a field as a text only.

use std::{convert::Infallible, ops::ControlFlow};

use sqlparser::ast::{AccessExpr, Expr, Value, VisitMut, VisitorMut};

use crate::catalog::fold;

/// Makes texts of the names of fields.
pub(crate) fn name(part: &mut impl VisitMut) {
    let ControlFlow::Continue(()) = part.visit(&mut Fields);
}

struct Fields;

impl VisitorMut for Fields {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            for access in access_chain {
                if let AccessExpr::Dot(field) = access
                    && let Expr::Identifier(ident) = field
                {
                    let name = Value::SingleQuotedString(fold(ident));
                    *field = Expr::Value(name.with_span(ident.span));
                }
            }
        }
        ControlFlow::Continue(())
    }
}
