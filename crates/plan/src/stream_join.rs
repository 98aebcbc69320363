//! The logical node of a join that no bound of time ends.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, JoinType, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore, builder::build_join_schema},
};

/// A join of all rows so far on equal keys, whatever their times. An INNER join of rows that stay yields rows that stay; any
/// other is a changelog, in which a row beside NULLs is taken back once it finds a partner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamJoin {
    /// The left rows.
    pub left: Arc<LogicalPlan>,
    /// The right rows.
    pub right: Arc<LogicalPlan>,
    /// `Inner`, `Left`, `Right` or `Full`.
    pub kind: JoinType,
    /// Pairs of a left and a right expression of one type that are equal. NULL equals nothing.
    pub on: Vec<(Expr, Expr)>,
    /// What else a pair must meet, over the columns of both sides.
    pub filter: Option<Expr>,
    /// How long, in nanoseconds of the epoch's clock, a row is remembered after it was last written; `None`: for ever.
    pub ttl_ns: Option<i64>,
    /// The columns of the left side, then those of the right one.
    pub schema: DFSchemaRef,
}

impl StreamJoin {
    /// A join; its columns follow from its sides.
    ///
    /// # Errors
    /// The sides have a column of the same name.
    pub fn try_new(
        left: Arc<LogicalPlan>,
        right: Arc<LogicalPlan>,
        kind: JoinType,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        ttl_ns: Option<i64>,
    ) -> Result<Self> {
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(Self { left, right, kind, on, filter, ttl_ns, schema })
    }

    /// Whether rows without a partner leave beside NULLs.
    pub const fn pads(&self) -> bool {
        matches!(self.kind, JoinType::Left | JoinType::Right | JoinType::Full)
    }
}

impl UserDefinedLogicalNodeCore for StreamJoin {
    fn name(&self) -> &str {
        "StreamJoin"
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
        write!(f, "StreamJoin: {}", self.kind)?;
        for (left, right) in &self.on {
            write!(f, ", {left} = {right}")?;
        }
        if let Some(filter) = &self.filter {
            write!(f, ", if {filter}")?;
        }
        self.ttl_ns.map_or(Ok(()), |ttl| write!(f, ", ttl {ttl} ns"))
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let keys = self.on.len();
        if exprs.len() != 2 * keys + usize::from(self.filter.is_some()) {
            return internal_err!("StreamJoin got {} expressions", exprs.len());
        }
        let filter = if self.filter.is_some() { exprs.pop() } else { None };
        let right_keys = exprs.split_off(keys);
        let on = exprs.into_iter().zip(right_keys).collect();
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return internal_err!("StreamJoin has exactly two inputs");
        };
        Self::try_new(Arc::new(left), Arc::new(right), self.kind, on, filter, self.ttl_ns)
    }

    /// A column that nobody wants any more need not be kept.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left_columns = self.left.schema().fields().len();
        let (left, right): (Vec<_>, Vec<_>) =
            output_columns.iter().partition(|&&column| column < left_columns);
        Some(vec![left, right.into_iter().map(|column: usize| column - left_columns).collect()])
    }
}

impl PartialOrd for StreamJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match format!("{self:?}").cmp(&format!("{other:?}")) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
