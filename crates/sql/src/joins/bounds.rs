//! How far apart in time the rows of a join may be, from its conditions.

use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use crate::row_time::{Traced, literal_ns, trace};

/// What is known of the time of a right row less that of its left row, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) from_ns: Option<i64>,
    pub(super) to_ns: Option<i64>,
}

impl Apart {
    /// Takes note of a condition, if it says nothing but how far apart the rows are.
    pub(super) fn learn(
        &mut self,
        condition: &Expr,
        left: &LogicalPlan,
        right: &LogicalPlan,
    ) -> bool {
        let learned = match condition {
            Expr::BinaryExpr(BinaryExpr { left: one, op, right: other }) => {
                same_window(one, *op, other, left, right)
                    .or_else(|| compared(one, *op, other, left, right))
            }
            Expr::Between(between) if !between.negated => {
                let value = &between.expr;
                let low = compared(value, Operator::GtEq, &between.low, left, right);
                let high = compared(value, Operator::LtEq, &between.high, left, right);
                low.zip(high).map(|(low, high)| low.and(high))
            }
            _ => None,
        };
        let Some(learned) = learned else { return false };
        *self = self.and(learned);
        true
    }

    /// Both.
    fn and(self, other: Self) -> Self {
        let narrow = |a: Option<i64>, b: Option<i64>, of: fn(i64, i64) -> i64| match (a, b) {
            (Some(a), Some(b)) => Some(of(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            from_ns: narrow(self.from_ns, other.from_ns, i64::max),
            to_ns: narrow(self.to_ns, other.to_ns, i64::min),
        }
    }
}

/// Equal windows of one length: their results are no time apart.
fn same_window(
    one: &Expr,
    op: Operator,
    other: &Expr,
    left: &LogicalPlan,
    right: &LogicalPlan,
) -> Option<Apart> {
    let both = match (trace(one, left), trace(other, right)) {
        (None, None) => (trace(other, left)?, trace(one, right)?),
        both => (both.0?, both.1?),
    };
    let (Traced::Window(a), Traced::Window(b)) = both else { return None };
    (op == Operator::Eq && a == b).then_some(Apart { from_ns: Some(0), to_ns: Some(0) })
}

/// A sum of the left time, the right time and a constant: how often each is in it.
#[derive(Debug, Clone, Copy)]
struct Sum {
    left: i8,
    right: i8,
    ns: i64,
}

impl Sum {
    fn less(self, other: Self) -> Option<Self> {
        Some(Self {
            left: self.left.checked_sub(other.left)?,
            right: self.right.checked_sub(other.right)?,
            ns: self.ns.checked_sub(other.ns)?,
        })
    }

    fn plus(self, other: Self) -> Option<Self> {
        let none = Self { left: 0, right: 0, ns: 0 };
        self.less(none.less(other)?)
    }
}

fn sum(expr: &Expr, left: &LogicalPlan, right: &LogicalPlan) -> Option<Sum> {
    if let Some(ns) = literal_ns(expr) {
        return Some(Sum { left: 0, right: 0, ns });
    }
    if let Some(Traced::Time(ns)) = trace(expr, left) {
        return Some(Sum { left: 1, right: 0, ns });
    }
    if let Some(Traced::Time(ns)) = trace(expr, right) {
        return Some(Sum { left: 0, right: 1, ns });
    }
    match expr {
        Expr::Cast(cast) => sum(&cast.expr, left, right),
        Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::Plus, right: other }) => {
            sum(one, left, right)?.plus(sum(other, left, right)?)
        }
        Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::Minus, right: other }) => {
            sum(one, left, right)?.less(sum(other, left, right)?)
        }
        _ => None,
    }
}

/// What `one op other` says.
fn compared(
    one: &Expr,
    op: Operator,
    other: &Expr,
    left: &LogicalPlan,
    right: &LogicalPlan,
) -> Option<Apart> {
    let difference = sum(one, left, right)?.less(sum(other, left, right)?)?;
    // `right - left op limit`, whichever way round it was written.
    let (op, limit) = match (difference.left, difference.right) {
        (-1, 1) => (op, difference.ns.checked_neg()?),
        (1, -1) => (op.swap()?, difference.ns),
        _ => return None,
    };
    match op {
        Operator::Eq => Some(Apart { from_ns: Some(limit), to_ns: Some(limit) }),
        Operator::LtEq => Some(Apart { from_ns: None, to_ns: Some(limit) }),
        Operator::Lt => Some(Apart { from_ns: None, to_ns: Some(limit.checked_sub(1)?) }),
        Operator::GtEq => Some(Apart { from_ns: Some(limit), to_ns: None }),
        Operator::Gt => Some(Apart { from_ns: Some(limit.checked_add(1)?), to_ns: None }),
        _ => None,
    }
}
