//! The logical node that keeps the first rows of each key.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore},
};

/// The first rows of each key among all so far, in any order: `row_number() OVER (PARTITION BY k ORDER BY x) <= n`.
///
/// Its output is a changelog: a row that comes may push another one out. Rows that nothing orders are taken in the order of all their
/// columns, so that a replay takes them alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdatingTop {
    /// The rows, which may be a changelog.
    pub input: Arc<LogicalPlan>,
    /// What tells keys apart; NULL equals NULL.
    pub partition_by: Vec<Expr>,
    /// What comes first within a key.
    pub order_by: Vec<SortExpr>,
    /// How many rows of each key there are at most.
    pub limit: u64,
    /// Whether the number of each row is a column. Then a row that comes first changes all behind it.
    pub numbered: bool,
    /// How long, in nanoseconds of the epoch's clock, a key is remembered after its last row; `None`: for ever.
    pub ttl_ns: Option<i64>,
    /// The columns of the input, then the number.
    pub schema: DFSchemaRef,
}

impl UserDefinedLogicalNodeCore for UpdatingTop {
    fn name(&self) -> &str {
        "UpdatingTop"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let order = self.order_by.iter().map(|sort| &sort.expr);
        self.partition_by.iter().chain(order).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: Vec<String>| parts.join(", ");
        write!(f, "UpdatingTop: {} of each [", self.limit)?;
        f.write_str(&list(self.partition_by.iter().map(Expr::to_string).collect()))?;
        write!(f, "] by [{}]", list(self.order_by.iter().map(SortExpr::to_string).collect()))?;
        f.write_str(if self.numbered { ", numbered" } else { "" })?;
        self.ttl_ns.map_or(Ok(()), |ttl| write!(f, ", ttl {ttl} ns"))
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        if exprs.len() != self.partition_by.len() + self.order_by.len() {
            return internal_err!("UpdatingTop got {} expressions", exprs.len());
        }
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return internal_err!("UpdatingTop has exactly one input");
        };
        let order = exprs.split_off(self.partition_by.len()).into_iter().zip(&self.order_by);
        let order_by = order.map(|(expr, sort)| SortExpr { expr, ..sort.clone() }).collect();
        Ok(Self { input: Arc::new(input), partition_by: exprs, order_by, ..self.clone() })
    }
}

impl PartialOrd for UpdatingTop {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match format!("{self:?}").cmp(&format!("{other:?}")) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
