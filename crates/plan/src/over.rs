//! The logical node of window functions over the rows of a stream, `f(..) OVER (PARTITION BY k ORDER BY ts ..)`.

mod memory;

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, Result, internal_err},
    logical_expr::{
        Expr, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore, Window, expr::WindowFunction,
    },
};

pub use self::memory::{Endless, KeptRows, Memory, range_length};

/// Rows of a stream with values of window functions over the rows of their partition that came no later.
///
/// A row waits until the watermark reaches its time, and leaves with that time. Rows of one time are taken in the rest of the
/// order, and what is equal there in the order of all columns, so that nothing depends on how they arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Over {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// Rows that are equal in these are a partition; NULL equals NULL.
    pub partition_exprs: Vec<Expr>,
    /// The order within a partition. Begins with the event time, ascending.
    pub order_exprs: Vec<SortExpr>,
    /// The calls, perhaps under an alias. All have this partition, and their orders agree within it.
    pub window_exprs: Vec<Expr>,
    /// The columns of the input, then one for each call.
    pub schema: DFSchemaRef,
}

impl Over {
    /// Calls over an input; the columns follow from both.
    ///
    /// # Errors
    /// There is no call, or they differ in their partition or order.
    pub fn try_new(input: Arc<LogicalPlan>, window_exprs: Vec<Expr>) -> Result<Self> {
        let window = Window::try_new(window_exprs, input)?;
        let Window { input, window_expr: window_exprs, schema, .. } = window;
        let Some(first) = window_exprs.first().and_then(Self::call) else {
            return internal_err!("Over has no call");
        };
        let (partition_exprs, order_exprs) =
            (first.params.partition_by.clone(), first.params.order_by.clone());
        let same = |call: &WindowFunction| call.params.partition_by == partition_exprs;
        if !window_exprs.iter().all(|expr| Self::call(expr).is_some_and(same)) {
            return internal_err!("the calls of one node have different partitions");
        }
        Ok(Self { input, partition_exprs, order_exprs, window_exprs, schema })
    }

    /// The call in one of the expressions.
    pub fn call(expr: &Expr) -> Option<&WindowFunction> {
        match expr {
            Expr::Alias(alias) => Self::call(&alias.expr),
            Expr::WindowFunction(call) => Some(call),
            _ => None,
        }
    }

    /// The calls.
    pub fn calls(&self) -> impl Iterator<Item = &WindowFunction> {
        self.window_exprs.iter().filter_map(Self::call)
    }
}

impl UserDefinedLogicalNodeCore for Over {
    fn name(&self) -> &str {
        "Over"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.window_exprs.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Over: ")?;
        for (index, expr) in self.window_exprs.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{expr}")?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return internal_err!("Over has exactly one input");
        };
        Self::try_new(Arc::new(input), exprs)
    }
}

impl PartialOrd for Over {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match format!("{self:?}").cmp(&format!("{other:?}")) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
