//! The logical node of a windowed aggregate.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{Column, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

use crate::Window;

/// An aggregate whose groups include an event-time window.
///
/// Its output is final: a group's row leaves once, when the watermark completes its window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowAggregate {
    /// Where the rows come from.
    pub input: Arc<LogicalPlan>,
    /// How time is cut.
    pub window: Window,
    /// Position of the window struct among the group columns of the output.
    pub window_index: usize,
    /// The other groups, in order.
    pub group_exprs: Vec<Expr>,
    /// The aggregates, in order.
    pub aggr_exprs: Vec<Expr>,
    /// The group columns, with the window struct at `window_index`, then the aggregates.
    pub schema: DFSchemaRef,
}

impl UserDefinedLogicalNodeCore for WindowAggregate {
    fn name(&self) -> &str {
        "WindowAggregate"
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
        write!(f, "WindowAggregate: {}", self.window)?;
        write_list(f, "by", &self.group_exprs)?;
        write_list(f, "computing", &self.aggr_exprs)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        if exprs.len() != self.group_exprs.len() + self.aggr_exprs.len() {
            return internal_err!("WindowAggregate got {} expressions", exprs.len());
        }
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("WindowAggregate has exactly one input");
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

impl PartialOrd for WindowAggregate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| (node.window, node.window_index);
        match key(self).cmp(&key(other)) {
            Ordering::Equal => {}
            unequal => return Some(unequal),
        }
        let rest =
            |node: &Self| format!("{:?} {:?} {:?}", node.group_exprs, node.aggr_exprs, node.input);
        match rest(self).cmp(&rest(other)) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, word: &str, exprs: &[Expr]) -> fmt::Result {
    for (index, expr) in exprs.iter().enumerate() {
        if index == 0 {
            write!(f, ", {word} {expr}")?;
        } else {
            write!(f, ", {expr}")?;
        }
    }
    Ok(())
}
