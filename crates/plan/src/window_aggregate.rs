//! The logical node of a windowed aggregate.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{Column, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

use crate::{Emission, Window};

/// An aggregate whose groups include an event-time window.
///
/// A group's row leaves when the watermark completes its window. By default that is once, and final; its [`Emission`] may say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowAggregate {
    /// Where the rows come from.
    pub input: Arc<LogicalPlan>,
    /// How time is cut.
    pub window: Window,
    /// Position of the window struct among the group columns of the output.
    pub window_index: usize,
    /// What the window needs of a row besides its time: its zone, if that decides, or the start of the window that is given.
    pub window_exprs: Vec<Expr>,
    /// When results leave.
    pub emission: Emission,
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
        let groups = self.group_exprs.iter().chain(&self.window_exprs);
        groups.chain(&self.aggr_exprs).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowAggregate: {}", self.window)?;
        if !self.emission.is_final() {
            write!(f, " ({})", self.emission)?;
        }
        write_list(f, "of", &self.window_exprs)?;
        write_list(f, "by", &self.group_exprs)?;
        write_list(f, "computing", &self.aggr_exprs)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        if exprs.len() != self.expressions().len() {
            return internal_err!("WindowAggregate got {} expressions", exprs.len());
        }
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("WindowAggregate has exactly one input");
        };
        let mut window_exprs = exprs.split_off(self.group_exprs.len());
        let aggr_exprs = window_exprs.split_off(self.window_exprs.len());
        let input = Arc::new(input);
        Ok(Self { input, group_exprs: exprs, window_exprs, aggr_exprs, ..self.clone() })
    }

    /// Groups decide which rows exist and no aggregate is dropped, so the needed input does not
    /// depend on the wanted output.
    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut columns: Vec<&Column> = Vec::new();
        let exprs = self.expressions();
        for expr in &exprs {
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
        let key = |node: &Self| (node.window, node.window_index, node.emission);
        match key(self).cmp(&key(other)) {
            Ordering::Equal => {}
            unequal => return Some(unequal),
        }
        let rest = |node: &Self| format!("{:?} {:?}", node.expressions(), node.input);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::{
        arrow::datatypes::{DataType, Field, Schema},
        common::{DFSchema, ToDFSchema},
        functions_aggregate::expr_fn::sum,
        logical_expr::{
            LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, col, table_scan,
        },
    };

    use super::WindowAggregate;
    use crate::{Window, window_type};

    fn node() -> WindowAggregate {
        let columns = ["a", "b", "c", "d"].map(|name| Field::new(name, DataType::Int64, false));
        let input = table_scan(Some("t"), &Schema::new(columns.to_vec()), None)
            .and_then(LogicalPlanBuilder::build)
            .unwrap();
        let output = Schema::new(vec![
            Field::new("w", window_type(), false),
            Field::new("c", DataType::Int64, false),
            Field::new("sum", DataType::Int64, true),
        ]);
        WindowAggregate {
            emission: crate::Emission::default(),
            input: Arc::new(input),
            window: Window::Tumble { size_ns: 1_000_000_000, offset_ns: 0 },
            window_index: 0,
            window_exprs: vec![],
            group_exprs: vec![col("t.c")],
            aggr_exprs: vec![sum(col("t.a"))],
            schema: output.to_dfschema_ref().unwrap_or_else(|_| Arc::new(DFSchema::empty())),
        }
    }

    fn input(node: &WindowAggregate) -> LogicalPlan {
        node.input.as_ref().clone()
    }

    #[test]
    fn only_the_columns_of_groups_and_aggregates_are_needed() {
        assert_eq!(node().necessary_children_exprs(&[1]), Some(vec![vec![0, 2]]));
    }

    #[test]
    fn expressions_go_back_to_where_they_came_from() {
        let node = node();
        let same = node.with_exprs_and_inputs(node.expressions(), vec![input(&node)]).unwrap();
        assert_eq!(same, node);
        assert!(node.with_exprs_and_inputs(vec![], vec![input(&node)]).is_err());
        assert!(node.with_exprs_and_inputs(node.expressions(), vec![]).is_err());
    }

    #[test]
    fn equal_nodes_and_only_those_compare_as_equal() {
        let (left, mut right) = (node(), node());
        assert_eq!(left.partial_cmp(&right), Some(std::cmp::Ordering::Equal));
        right.group_exprs = vec![col("t.d")];
        assert_ne!(left.partial_cmp(&right), Some(std::cmp::Ordering::Equal));
    }
}
