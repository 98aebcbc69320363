//! The logical node of an aggregate without a window.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{Column, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

/// Groups of all rows so far. With aggregates its output is a changelog: a group's row is updated at the end of each epoch in
/// which it changed. Without, over rows that stay, it is a DISTINCT: each group leaves once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdatingAggregate {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// The groups, in order. None: all rows are one group, which begins with its first row.
    pub group_exprs: Vec<Expr>,
    /// The aggregates, in order.
    pub aggr_exprs: Vec<Expr>,
    /// How long, in nanoseconds of the epoch's clock, a group is remembered after its last row; `None`: for ever.
    pub ttl_ns: Option<i64>,
    /// The groups, then the aggregates.
    pub schema: DFSchemaRef,
}

impl UserDefinedLogicalNodeCore for UpdatingAggregate {
    fn name(&self) -> &str {
        "UpdatingAggregate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.group_exprs.iter().chain(&self.aggr_exprs).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |exprs: &[Expr]| exprs.iter().map(Expr::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "UpdatingAggregate: by [{}]", list(&self.group_exprs))?;
        write!(f, ", computing [{}]", list(&self.aggr_exprs))?;
        self.ttl_ns.map_or(Ok(()), |ttl| write!(f, ", ttl {ttl} ns"))
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        if exprs.len() != self.group_exprs.len() + self.aggr_exprs.len() {
            return internal_err!("UpdatingAggregate got {} expressions", exprs.len());
        }
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("UpdatingAggregate has exactly one input");
        };
        let aggr_exprs = exprs.split_off(self.group_exprs.len());
        Ok(Self { input: Arc::new(input), group_exprs: exprs, aggr_exprs, ..self.clone() })
    }

    /// Groups decide which rows exist and no aggregate is dropped, so the needed input does not
    /// depend on the wanted output.
    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut columns: Vec<&Column> = Vec::new();
        for expr in self.group_exprs.iter().chain(&self.aggr_exprs) {
            columns.extend(expr.column_refs());
        }
        let mut needed = Vec::with_capacity(columns.len());
        for column in columns {
            needed.push(schema.maybe_index_of_column(column)?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl PartialOrd for UpdatingAggregate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match format!("{self:?}").cmp(&format!("{other:?}")) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
