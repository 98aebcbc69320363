//! The condition of a join with a table: which left expression equals each column of its primary key.

use datafusion::{
    arrow::datatypes::DataType,
    logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator},
};
use postrider_core::Diagnostic;

use super::{
    Asking,
    looked::{Looked, table_column},
};
use crate::codes;

/// Pairs of a left expression and a column of the table, and the conditions that are left.
pub(super) type Key = (Vec<(Expr, Expr)>, Vec<Expr>);

impl Asking<'_, '_, '_> {
    /// Splits conditions into those that name the key, in its order, and others.
    pub(super) fn key(&self, table: &Looked, conditions: Vec<Expr>) -> Result<Key, Diagnostic> {
        let mut others = conditions;
        let equal = |(left, right): &(Expr, Expr)| {
            let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
            Expr::BinaryExpr(BinaryExpr::new(left, Operator::Eq, right))
        };
        others.extend(self.join.on.iter().map(equal));
        let mut on = Vec::new();
        for name in &table.key {
            let found = others
                .iter()
                .enumerate()
                .find_map(|(index, condition)| Some((index, self.pair(condition, name)?)));
            let Some((index, pair)) = found else {
                return Err(self.misses(table, name, &others));
            };
            others.remove(index);
            on.push(pair);
        }
        Ok((on, others))
    }

    /// The two sides of an equation between a left expression and this column of the table.
    fn pair(&self, condition: &Expr, name: &str) -> Option<(Expr, Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
            return None;
        };
        let sides = [(left, right), (right, left)];
        let (own, column) = sides.into_iter().find(|(own, column)| {
            reads_only(own, &self.join.left) && self.key_column(column) == Some(name)
        })?;
        Some((own.as_ref().clone(), column.as_ref().clone()))
    }

    /// The column of the table that an expression is. One that is made wider is still as many values.
    fn key_column(&self, expr: &Expr) -> Option<&str> {
        let right = &self.join.right;
        match expr {
            Expr::Column(column) => {
                table_column(right, right.schema().maybe_index_of_column(column)?)
            }
            Expr::Cast(cast) => {
                let from = cast.expr.get_type(right.schema()).ok()?;
                let to = expr.get_type(right.schema()).ok()?;
                if is_wider(&from, &to) { self.key_column(&cast.expr) } else { None }
            }
            _ => None,
        }
    }

    /// A column of the key that no condition names.
    fn misses(&self, table: &Looked, name: &str, conditions: &[Expr]) -> Diagnostic {
        let key = table.key.join(", ");
        let compares = conditions.iter().find(|condition| self.compares(condition, name));
        let (message, hint) = if compares.is_some() {
            (
                format!(
                    "`{name}` of `{}` is not compared as it is, so it can't be looked up",
                    table.name
                ),
                format!(
                    "leave `{name}` alone on its side of =, and cast the other side to its type"
                ),
            )
        } else {
            (
                format!("this join does not say which `{name}` of `{}` it looks up", table.name),
                format!(
                    "compare the whole PRIMARY KEY ({key}) with =, such as ON {}",
                    self.example(table)
                ),
            )
        };
        Diagnostic::error(codes::NOT_BY_KEY, message).at(self.place()).hint(hint)
    }

    /// Whether a condition is an equation that reads this column.
    fn compares(&self, condition: &Expr, name: &str) -> bool {
        let right = &self.join.right;
        let is_it = |index| table_column(right, index) == Some(name);
        matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }))
            && condition
                .column_refs()
                .iter()
                .any(|column| right.schema().maybe_index_of_column(column).is_some_and(is_it))
    }

    fn example(&self, table: &Looked) -> String {
        let names =
            self.join.right.schema().iter().find_map(|(name, _)| Some(name?.table().to_owned()));
        let relation = names.unwrap_or_else(|| table.name.clone());
        let equations = table.key.iter().map(|name| format!("{relation}.{name} = .."));
        equations.collect::<Vec<_>>().join(" AND ")
    }
}

fn is_wider(from: &DataType, to: &DataType) -> bool {
    let bits = |of: &DataType| of.primitive_width().filter(|_| of.is_integer());
    let same_sign = from.is_signed_integer() == to.is_signed_integer();
    same_sign && bits(from).zip(bits(to)).is_some_and(|(from, to)| from <= to)
}

/// Whether all columns of an expression are of a relation.
pub(super) fn reads_only(expr: &Expr, plan: &LogicalPlan) -> bool {
    let schema = plan.schema();
    expr.column_refs().iter().all(|column| schema.maybe_index_of_column(column).is_some())
}
