//! Steps whose expressions read the time of their row, or the clock: the chain appends these as columns for that step alone.

use std::{borrow::Cow, sync::Arc};

use arrow::datatypes::Field;
use datafusion::{
    common::{Column, DFSchema, DataFusionError},
    logical_expr::Expr,
};
use postrider_core::Diagnostics;
use postrider_plan::{EpochClock, RowTime};

use super::expressions::plan_error;
use crate::chain::ChainStep;

/// What the expressions of a step read: the columns of its input, and behind them the times and the clock if one of them asks.
pub(super) struct StepInput<'p> {
    schema: Cow<'p, DFSchema>,
    time: Option<Expr>,
    clock: Option<Expr>,
    steps: Vec<ChainStep>,
}

impl<'p> StepInput<'p> {
    /// The input of some expressions over a relation.
    pub(super) fn of<'e>(
        exprs: impl IntoIterator<Item = &'e Expr>,
        relation: &'p DFSchema,
    ) -> Result<Self, Diagnostics> {
        let (mut reads_time, mut reads_clock) = (false, false);
        for expr in exprs {
            reads_time |= RowTime::is_in(expr);
            reads_clock |= EpochClock::is_in(expr);
        }
        let schema = Cow::Borrowed(relation);
        let mut input = Self { schema, time: None, clock: None, steps: Vec::new() };
        if reads_time {
            input.time = Some(input.append(RowTime::NAME, ChainStep::Time)?);
        }
        if reads_clock {
            input.clock = Some(input.append("now", ChainStep::Clock)?);
        }
        Ok(input)
    }

    /// A further column, by this name or one like it.
    fn append(
        &mut self,
        name: &str,
        step: impl FnOnce(arrow::datatypes::SchemaRef) -> ChainStep,
    ) -> Result<Expr, Diagnostics> {
        let name = unused_name(name, &self.schema);
        let extended = extended(&self.schema, &name).map_err(|error| plan_error(&error))?;
        self.steps.push(step(Arc::new(extended.as_arrow().clone())));
        self.schema = Cow::Owned(extended);
        Ok(Expr::Column(Column::new_unqualified(name)))
    }

    pub(super) fn schema(&self) -> &DFSchema {
        &self.schema
    }

    /// An expression over these columns.
    pub(super) fn resolve(&self, expr: &Expr) -> Result<Expr, Diagnostics> {
        let mut expr = expr.clone();
        if let Some(time) = &self.time {
            expr = RowTime::replace(expr, time).map_err(|error| plan_error(&error))?;
        }
        if let Some(clock) = &self.clock {
            expr = EpochClock::replace(expr, clock).map_err(|error| plan_error(&error))?;
        }
        Ok(expr)
    }

    /// What has to run in front of the step.
    pub(super) fn steps(&self) -> Vec<ChainStep> {
        self.steps.clone()
    }
}

fn extended(relation: &DFSchema, name: &str) -> Result<DFSchema, DataFusionError> {
    let columns = relation.iter().map(|(table, field)| (table.cloned(), Arc::clone(field)));
    let moment = (None, Arc::new(Field::new(name, RowTime::data_type(), false)));
    DFSchema::new_with_metadata(columns.chain([moment]).collect(), relation.metadata().clone())
}

/// The name, unless a column has it.
fn unused_name(name: &str, relation: &DFSchema) -> String {
    let mut name = name.to_owned();
    while relation.fields().iter().any(|field| *field.name() == name) {
        name.push('\'');
    }
    name
}
