//! The logical node of a join that is bounded in time.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, JoinType, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore, builder::build_join_schema},
};
use postrider_core::format_duration;

/// How far the event time of a right row may be from that of its left row: `from_ns <= right - left <= to_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeBounds {
    /// The least distance, in nanoseconds.
    pub from_ns: i64,
    /// The greatest distance, in nanoseconds.
    pub to_ns: i64,
}

impl TimeBounds {
    /// Whether no distance meets the bounds.
    pub const fn is_empty(self) -> bool {
        self.from_ns > self.to_ns
    }
}

impl fmt::Display for TimeBounds {
    /// Such as `at most 1 hour after the left row`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from_ns, self.to_ns);
        match (from, to) {
            (0, 0) => f.write_str("at the time of the left row"),
            (0 | 1, 1..) | (i64::MIN..=-1, 0 | -1) => {
                let after = to > 0;
                let (far, near) = if after { (to, from) } else { (from, to) };
                let (length, limit) = distance(far);
                let limit = if limit == Limit::Below { "less than" } else { "at most" };
                let way = if after { "after" } else { "before" };
                let not_at = if near == 0 { "" } else { ", not at its time" };
                write!(f, "{limit} {length} {way} the left row{not_at}")
            }
            _ => write!(f, "from {} to {} the left row", place(from), place(to)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    At,
    Below,
}

/// A length in words. One that is a nanosecond short of a round one, as `<` makes it, is below that.
fn distance(ns: i64) -> (String, Limit) {
    const ROUND: u64 = 1_000;
    let length = ns.unsigned_abs();
    let words = |ns: u64| format_duration(i64::try_from(ns).unwrap_or(i64::MAX));
    match length.checked_add(1) {
        Some(above) if above.is_multiple_of(ROUND) => (words(above), Limit::Below),
        _ => (words(length), Limit::At),
    }
}

fn place(ns: i64) -> String {
    let (length, limit) = distance(ns);
    let limit = if limit == Limit::Below { "just under " } else { "" };
    match ns {
        0 => "the time of".to_owned(),
        ns if ns < 0 => format!("{limit}{length} before"),
        _ => format!("{limit}{length} after"),
    }
}

/// A join of two streams on equal keys and on the distance of their event times.
///
/// A pair leaves when its second row comes. A row of an outer, semi or anti side that found nobody leaves, or is let go,
/// once the watermark says that nobody can come any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IntervalJoin {
    /// The left rows.
    pub left: Arc<LogicalPlan>,
    /// The right rows.
    pub right: Arc<LogicalPlan>,
    /// `Inner`, `Left`, `Right`, `Full`, `LeftSemi` or `LeftAnti`.
    pub kind: JoinType,
    /// Pairs of a left and a right expression of one type that are equal. NULL equals nothing.
    pub on: Vec<(Expr, Expr)>,
    /// The distance of the event times.
    pub bounds: TimeBounds,
    /// What else a pair must meet, over the columns of both sides.
    pub filter: Option<Expr>,
    /// The columns of the left side, then, unless it is a semi or anti join, those of the right one.
    pub schema: DFSchemaRef,
}

impl IntervalJoin {
    /// A join; its columns follow from its sides.
    ///
    /// # Errors
    /// The sides have a column of the same name.
    pub fn try_new(
        left: Arc<LogicalPlan>,
        right: Arc<LogicalPlan>,
        kind: JoinType,
        on: Vec<(Expr, Expr)>,
        bounds: TimeBounds,
        filter: Option<Expr>,
    ) -> Result<Self> {
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(Self { left, right, kind, on, bounds, filter, schema })
    }
}

impl UserDefinedLogicalNodeCore for IntervalJoin {
    fn name(&self) -> &str {
        "IntervalJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let (left, right): (Vec<_>, Vec<_>) = self.on.iter().cloned().unzip();
        left.into_iter().chain(right).chain(self.filter.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeBounds { from_ns, to_ns } = self.bounds;
        write!(f, "IntervalJoin: {} {from_ns}..={to_ns} ns", self.kind)?;
        for (left, right) in &self.on {
            write!(f, ", {left} = {right}")?;
        }
        self.filter.as_ref().map_or(Ok(()), |filter| write!(f, ", if {filter}"))
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let keys = self.on.len();
        if exprs.len() != 2 * keys + usize::from(self.filter.is_some()) {
            return internal_err!("IntervalJoin got {} expressions", exprs.len());
        }
        let filter = if self.filter.is_some() { exprs.pop() } else { None };
        let right_keys = exprs.split_off(keys);
        let on = exprs.into_iter().zip(right_keys).collect();
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return internal_err!("IntervalJoin has exactly two inputs");
        };
        Self::try_new(Arc::new(left), Arc::new(right), self.kind, on, self.bounds, filter)
    }

    /// A column that nobody wants any more need not be kept.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left_columns = self.left.schema().fields().len();
        let (left, right): (Vec<_>, Vec<_>) =
            output_columns.iter().partition(|&&column| column < left_columns);
        Some(vec![left, right.into_iter().map(|column: usize| column - left_columns).collect()])
    }
}

impl PartialOrd for IntervalJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let rest = |node: &Self| format!("{node:?}");
        match self.bounds.cmp(&other.bounds).then_with(|| rest(self).cmp(&rest(other))) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TimeBounds;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn bounds_print_in_words() {
        let words = |from_ns, to_ns| TimeBounds { from_ns, to_ns }.to_string();
        assert_eq!(words(0, 0), "at the time of the left row");
        assert_eq!(words(0, HOUR), "at most 1 hour after the left row");
        assert_eq!(words(0, HOUR - 1), "less than 1 hour after the left row");
        assert_eq!(words(1, HOUR), "at most 1 hour after the left row, not at its time");
        assert_eq!(words(-HOUR, 0), "at most 1 hour before the left row");
        assert_eq!(
            words(-HOUR, HOUR - 1),
            "from 1 hour before to just under 1 hour after the left row"
        );
        assert_eq!(words(HOUR, 2 * HOUR), "from 1 hour after to 2 hours after the left row");
    }
}
