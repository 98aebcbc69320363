//! How far apart in time the rows of a join may be, from its conditions.

use datafusion::{
    functions::core::expr_fn::get_field,
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator},
};

use crate::row_time::{Known, Traced, literal_ns, trace};

/// What is known of the time of a right row less that of its left row, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) from_ns: Option<i64>,
    pub(super) to_ns: Option<i64>,
}

/// What a condition says besides how far apart the rows are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// These are equal: one of the left side, one of the right.
    Equal(Box<(Expr, Expr)>),
    /// All that it says.
    Whole,
}

impl Apart {
    /// Takes note of how far apart the rows are by a condition.
    pub(super) fn learn(
        &mut self,
        condition: &Expr,
        left: &LogicalPlan,
        right: &LogicalPlan,
    ) -> Rest {
        let learned = match condition {
            Expr::BinaryExpr(BinaryExpr { left: one, op, right: other }) => {
                match windows(one, *op, other, left, right) {
                    Some(windows) => return self.end_together(windows),
                    None => compared(one, *op, other, left, right),
                }
            }
            Expr::Between(between) if !between.negated => {
                let value = &between.expr;
                let low = compared(value, Operator::GtEq, &between.low, left, right);
                let high = compared(value, Operator::LtEq, &between.high, left, right);
                low.zip(high).map(|(low, high)| low.and(high))
            }
            _ => None,
        };
        let Some(learned) = learned else { return Rest::Whole };
        *self = self.and(learned);
        Rest::Nothing
    }

    /// Equal windows have results of one time. Where those that end together may differ, their starts are equal as well.
    fn end_together(&mut self, [left, right]: [(&Expr, Known); 2]) -> Rest {
        *self = self.and(Self { from_ns: Some(0), to_ns: Some(0) });
        if left.1 == right.1 && left.1 != Known::Nothing {
            return Rest::Nothing;
        }
        let start = |window: &Expr| get_field(window.clone(), "start");
        Rest::Equal(Box::new((start(left.0), start(right.0))))
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

/// Two windows that are equal, the left side's first, and what is known of them; `None` of windows that can't be.
fn windows<'e>(
    one: &'e Expr,
    op: Operator,
    other: &'e Expr,
    left: &LogicalPlan,
    right: &LogicalPlan,
) -> Option<[(&'e Expr, Known); 2]> {
    let (of_left, of_right) = if trace(one, left).is_some() { (one, other) } else { (other, one) };
    let both = (trace(of_left, left)?, trace(of_right, right)?);
    let (Traced::Window(a), Traced::Window(b)) = both else { return None };
    let may_be = !matches!((a, b), (Known::Length(a), Known::Length(b)) if a != b);
    (op == Operator::Eq && may_be).then_some([(of_left, a), (of_right, b)])
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
