//! The logical node of a join without a bound of time.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, JoinType, NullEquality, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore, builder::build_join_schema},
};

use crate::is_updating;

/// A join of all rows so far on equal keys, by the rules of Flink's `StreamingJoinOperator`. Either side may be a changelog.
///
/// An inner or semi join of rows that stay only grows. Any other one is a changelog: who had no partner may find one, and who had one
/// may lose it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdatingJoin {
    /// The left rows.
    pub left: Arc<LogicalPlan>,
    /// The right rows.
    pub right: Arc<LogicalPlan>,
    /// `Inner`, `Left`, `Right`, `Full`, `LeftSemi` or `LeftAnti`.
    pub kind: JoinType,
    /// Pairs of a left and a right expression of one type that are equal.
    pub on: Vec<(Expr, Expr)>,
    /// Whether NULL equals NULL in them, or nothing.
    pub null_equality: NullEquality,
    /// What else a pair must meet, over the columns of both sides.
    pub filter: Option<Expr>,
    /// How long, in nanoseconds of the epoch's clock, a row is remembered after it last came; `None`: for ever.
    pub ttl_ns: Option<i64>,
    /// The columns of the left side, then, unless it is a semi or anti join, those of the right one.
    pub schema: DFSchemaRef,
}

impl UpdatingJoin {
    /// A join that remembers for ever; its columns follow from its sides.
    ///
    /// # Errors
    /// The sides have a column of the same name.
    pub fn try_new(
        left: Arc<LogicalPlan>,
        right: Arc<LogicalPlan>,
        kind: JoinType,
        on: Vec<(Expr, Expr)>,
        null_equality: NullEquality,
        filter: Option<Expr>,
    ) -> Result<Self> {
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(Self { left, right, kind, on, null_equality, filter, ttl_ns: None, schema })
    }

    /// Whether its rows may be taken back.
    pub fn is_updating(&self) -> bool {
        !matches!(self.kind, JoinType::Inner | JoinType::LeftSemi)
            || is_updating(&self.left)
            || is_updating(&self.right)
    }
}

impl UserDefinedLogicalNodeCore for UpdatingJoin {
    fn name(&self) -> &str {
        "UpdatingJoin"
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
        write!(f, "UpdatingJoin: {}", self.kind)?;
        let equal = match self.null_equality {
            NullEquality::NullEqualsNothing => "=",
            NullEquality::NullEqualsNull => "IS NOT DISTINCT FROM",
        };
        for (left, right) in &self.on {
            write!(f, ", {left} {equal} {right}")?;
        }
        self.filter.as_ref().map_or(Ok(()), |filter| write!(f, ", if {filter}"))?;
        self.ttl_ns.map_or(Ok(()), |ttl| write!(f, ", ttl {ttl} ns"))
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let keys = self.on.len();
        if exprs.len() != 2 * keys + usize::from(self.filter.is_some()) {
            return internal_err!("UpdatingJoin got {} expressions", exprs.len());
        }
        let filter = if self.filter.is_some() { exprs.pop() } else { None };
        let right_keys = exprs.split_off(keys);
        let on = exprs.into_iter().zip(right_keys).collect();
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return internal_err!("UpdatingJoin has exactly two inputs");
        };
        let (left, right) = (Arc::new(left), Arc::new(right));
        let node = Self::try_new(left, right, self.kind, on, self.null_equality, filter)?;
        Ok(Self { ttl_ns: self.ttl_ns, ..node })
    }

    /// A column that nobody wants any more need not be kept.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left_columns = self.left.schema().fields().len();
        let (left, right): (Vec<_>, Vec<_>) =
            output_columns.iter().partition(|&&column| column < left_columns);
        Some(vec![left, right.into_iter().map(|column: usize| column - left_columns).collect()])
    }
}

impl PartialOrd for UpdatingJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match format!("{self:?}").cmp(&format!("{other:?}")) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
