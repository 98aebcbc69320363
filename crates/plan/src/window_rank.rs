//! The logical node that ranks the rows of a window.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore},
};

/// How rows are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ranking {
    /// `row_number()`: 1, 2, 3.
    RowNumber,
    /// `rank()`: 1, 1, 3.
    Rank,
    /// `dense_rank()`: 1, 1, 2.
    DenseRank,
}

impl Ranking {
    /// The ranking of a function's name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "row_number" => Some(Self::RowNumber),
            "rank" => Some(Self::Rank),
            "dense_rank" => Some(Self::DenseRank),
            _ => None,
        }
    }
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowNumber => "row_number",
            Self::Rank => "rank",
            Self::DenseRank => "dense_rank",
        })
    }
}

/// Rows that are results of a window, with their rank among those of the same window.
///
/// Its output is final: all rows of a window leave together, when the watermark completes it. Rows that nothing orders are
/// numbered in the order of all their columns, so that a replay numbers them alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowRank {
    /// Where the rows come from.
    pub input: Arc<LogicalPlan>,
    /// How they are numbered.
    pub ranking: Ranking,
    /// The start of the window that a row belongs to; its end is behind the row's time.
    pub start: Expr,
    /// How long before the last time of its window there may be rows.
    pub reach_ns: i64,
    /// What else tells groups of rows apart.
    pub partition_by: Vec<Expr>,
    /// What comes first within a group.
    pub order_by: Vec<SortExpr>,
    /// The greatest rank that anybody asks for; rows behind it are left out. No part of what the node is called: state holds all rows.
    pub limit: Option<u64>,
    /// The columns of the input, then the rank.
    pub schema: DFSchemaRef,
}

impl UserDefinedLogicalNodeCore for WindowRank {
    fn name(&self) -> &str {
        "WindowRank"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let first = std::iter::once(&self.start).chain(&self.partition_by);
        first.chain(self.order_by.iter().map(|sort| &sort.expr)).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowRank: {} of {}", self.ranking, self.start)?;
        for (index, expr) in self.partition_by.iter().enumerate() {
            write!(f, "{} {expr}", if index == 0 { ", by" } else { "," })?;
        }
        for (index, sort) in self.order_by.iter().enumerate() {
            write!(f, "{} {sort}", if index == 0 { ", ordered by" } else { "," })?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let (Some(start), Some(input), true) = (exprs.next(), inputs.pop(), inputs.is_empty())
        else {
            return internal_err!("WindowRank has a start and exactly one input");
        };
        let partition_by: Vec<Expr> = exprs.by_ref().take(self.partition_by.len()).collect();
        let sorts = self.order_by.iter().zip(exprs.by_ref());
        let order_by: Vec<SortExpr> =
            sorts.map(|(sort, expr)| SortExpr::new(expr, sort.asc, sort.nulls_first)).collect();
        if (partition_by.len(), order_by.len()) != (self.partition_by.len(), self.order_by.len()) {
            return internal_err!("WindowRank got too few expressions");
        }
        Ok(Self { input: Arc::new(input), start, partition_by, order_by, ..self.clone() })
    }
}

impl PartialOrd for WindowRank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| format!("{:?} {:?}", node.expressions(), node.input);
        match (self.ranking, self.limit, key(self)).cmp(&(other.ranking, other.limit, key(other))) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
