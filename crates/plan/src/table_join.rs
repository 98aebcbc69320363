//! The logical node of a join with a table that is looked up.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, JoinType, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore, builder::build_join_schema},
};

/// Which row of a key is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// Rows are versions: the newest that is not behind the left row's own time, which waits until the watermark says that no
    /// such version can come any more.
    AsOf,
    /// The last, once the table was read to its end. Left rows wait for that.
    Last,
}

/// A join of a stream with a table that is looked up by its primary key: each left row meets one row of the table or none, and
/// keeps its own time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableJoin {
    /// The rows that look something up.
    pub left: Arc<LogicalPlan>,
    /// The rows of the table.
    pub right: Arc<LogicalPlan>,
    /// Which row is met.
    pub lookup: Lookup,
    /// `Inner` or `Left`.
    pub kind: JoinType,
    /// For each column of the table's primary key, in key order, the left expression that equals it and the column, of one
    /// type. NULL equals nothing.
    pub on: Vec<(Expr, Expr)>,
    /// What else a pair must meet, over the columns of both sides. A left row whose row of the table does not meet it has none.
    pub filter: Option<Expr>,
    /// The columns of the left side, then those of the right one.
    pub schema: DFSchemaRef,
}

impl TableJoin {
    /// A join; its columns follow from its sides.
    ///
    /// # Errors
    /// The sides have a column of the same name.
    pub fn try_new(
        left: Arc<LogicalPlan>,
        right: Arc<LogicalPlan>,
        lookup: Lookup,
        kind: JoinType,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
    ) -> Result<Self> {
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?);
        Ok(Self { left, right, lookup, kind, on, filter, schema })
    }

    /// How many of the first columns are those of the left side.
    pub fn left_columns(&self) -> usize {
        self.left.schema().fields().len()
    }
}

impl UserDefinedLogicalNodeCore for TableJoin {
    fn name(&self) -> &str {
        "TableJoin"
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
        let row = match self.lookup {
            Lookup::AsOf => "as of the left row",
            Lookup::Last => "whole table",
        };
        write!(f, "TableJoin: {} {row}", self.kind)?;
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
            return internal_err!("TableJoin got {} expressions", exprs.len());
        }
        let filter = if self.filter.is_some() { exprs.pop() } else { None };
        let right_keys = exprs.split_off(keys);
        let on = exprs.into_iter().zip(right_keys).collect();
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return internal_err!("TableJoin has exactly two inputs");
        };
        Self::try_new(Arc::new(left), Arc::new(right), self.lookup, self.kind, on, filter)
    }

    /// A column that nobody wants any more need not be kept.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left_columns = self.left_columns();
        let (left, right): (Vec<_>, Vec<_>) =
            output_columns.iter().partition(|&&column| column < left_columns);
        Some(vec![left, right.into_iter().map(|column: usize| column - left_columns).collect()])
    }
}

impl PartialOrd for TableJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let text = |node: &Self| format!("{node:?}");
        match text(self).cmp(&text(other)) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
