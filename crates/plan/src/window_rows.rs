//! The logical node that puts rows into windows.

use std::{cmp::Ordering, collections::HashMap, fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, TimeUnit},
    common::{Column, DFSchema, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

use crate::Window;

/// Each row once for each window that it is in, with the start, the end and the last time of that. The last time of the window is
/// the row's event time from there on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowRows {
    /// Where the rows come from.
    pub input: Arc<LogicalPlan>,
    /// How time is cut: by anything that a row's own time decides, so not into sessions.
    pub window: Window,
    /// The names of the columns behind those of the input: start, end, last time.
    pub names: [String; 3],
    /// The columns of the input, then those of the window.
    pub schema: DFSchemaRef,
}

impl WindowRows {
    /// Puts the rows of a plan into windows.
    ///
    /// # Errors
    /// The planner's own.
    pub fn try_new(input: Arc<LogicalPlan>, window: Window) -> Result<Self> {
        let names = ["window_start", "window_end", "window_time"].map(|name| {
            let mut name = name.to_owned();
            while input.schema().fields().iter().any(|field| *field.name() == name) {
                name.push('\'');
            }
            name
        });
        Self::named(input, window, names)
    }

    fn named(input: Arc<LogicalPlan>, window: Window, names: [String; 3]) -> Result<Self> {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let own = names.iter().map(|name| (None, Arc::new(Field::new(name, time.clone(), false))));
        let fields = input.schema().iter();
        let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let schema = DFSchema::new_with_metadata(fields.chain(own).collect(), HashMap::new())?;
        Ok(Self { input, window, names, schema: Arc::new(schema) })
    }

    /// The columns of the window: start, end, last time.
    pub fn columns(&self) -> [Column; 3] {
        self.names.clone().map(Column::new_unqualified)
    }

    /// How many columns the input has.
    pub fn width(&self) -> usize {
        self.input.schema().fields().len()
    }
}

impl UserDefinedLogicalNodeCore for WindowRows {
    fn name(&self) -> &str {
        "WindowRows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowRows: {}", self.window)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(input), true, true) = (inputs.pop(), inputs.is_empty(), exprs.is_empty()) else {
            return internal_err!("WindowRows has exactly one input and no expressions");
        };
        Self::named(Arc::new(input), self.window, self.names.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.width();
        Some(vec![output_columns.iter().copied().filter(|&column| column < width).collect()])
    }
}

impl PartialOrd for WindowRows {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| (node.window, node.names.clone(), format!("{:?}", node.input));
        match key(self).cmp(&key(other)) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
