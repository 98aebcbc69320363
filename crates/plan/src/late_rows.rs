//! The logical node that keeps the late rows of a table.

use std::{cmp::Ordering, collections::HashMap, fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, TimeUnit},
    common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

/// The rows of a table that are late: at or before its watermark when they came. Behind their columns stand that watermark and how far
/// behind it they are. Their event time from there on is the moment after the watermark, the first that is still to come: what follows
/// would drop them otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LateRows {
    /// The table.
    pub input: Arc<LogicalPlan>,
    /// What all columns are of, so that `t.watermark` is one of them, also if no other is read.
    pub relation: Option<TableReference>,
    /// The columns of the input, then [`Self::NAMES`].
    pub schema: DFSchemaRef,
}

impl LateRows {
    /// The columns behind those of the table: a timestamp and a duration in nanoseconds.
    pub const NAMES: [&'static str; 2] = ["watermark", "late_by"];

    /// The late rows of a plan that reads a table, which has no columns of these names.
    ///
    /// # Errors
    /// The planner's own.
    pub fn try_new(input: Arc<LogicalPlan>) -> Result<Self> {
        let relation = input.schema().iter().next().and_then(|(relation, _)| relation.cloned());
        Self::of(input, relation)
    }

    fn of(input: Arc<LogicalPlan>, relation: Option<TableReference>) -> Result<Self> {
        let types = [
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Duration(TimeUnit::Nanosecond),
        ];
        let own = Self::NAMES.into_iter().zip(types);
        let own = own.map(|(name, of)| (relation.clone(), Arc::new(Field::new(name, of, false))));
        let fields = input.schema().iter();
        let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let schema = DFSchema::new_with_metadata(fields.chain(own).collect(), HashMap::new())?;
        Ok(Self { input, relation, schema: Arc::new(schema) })
    }

    /// How many columns the input has.
    pub fn width(&self) -> usize {
        self.input.schema().fields().len()
    }
}

impl UserDefinedLogicalNodeCore for LateRows {
    fn name(&self) -> &str {
        "LateRows"
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
        f.write_str("LateRows")
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(input), true, true) = (inputs.pop(), inputs.is_empty(), exprs.is_empty()) else {
            return internal_err!("LateRows has exactly one input and no expressions");
        };
        Self::of(Arc::new(input), self.relation.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.width();
        Some(vec![output_columns.iter().copied().filter(|&column| column < width).collect()])
    }
}

impl PartialOrd for LateRows {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match format!("{:?}", self.input).cmp(&format!("{:?}", other.input)) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}
