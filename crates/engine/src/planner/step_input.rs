//! Steps whose expressions read the time of their row: the chain appends the times as a column for that step alone.

use std::{borrow::Cow, sync::Arc};

use arrow::datatypes::Field;
use datafusion::{
    common::{Column, DFSchema, DataFusionError},
    logical_expr::Expr,
};
use postrider_core::Diagnostics;
use postrider_plan::RowTime;

use super::expressions::plan_error;
use crate::chain::ChainStep;

/// What the expressions of a step read: the columns of its input, and the times behind them if one of them asks.
pub(super) struct StepInput<'p> {
    schema: Cow<'p, DFSchema>,
    time: Option<Expr>,
}

impl<'p> StepInput<'p> {
    /// The input of some expressions over a relation.
    pub(super) fn of<'e>(
        exprs: impl IntoIterator<Item = &'e Expr>,
        relation: &'p DFSchema,
    ) -> Result<Self, Diagnostics> {
        if !exprs.into_iter().any(RowTime::is_in) {
            return Ok(Self { schema: Cow::Borrowed(relation), time: None });
        }
        let name = unused_name(relation);
        let extended = extended(relation, &name).map_err(|error| plan_error(&error))?;
        let time = Some(Expr::Column(Column::new_unqualified(name)));
        Ok(Self { schema: Cow::Owned(extended), time })
    }

    pub(super) fn schema(&self) -> &DFSchema {
        &self.schema
    }

    /// An expression over these columns.
    pub(super) fn resolve(&self, expr: &Expr) -> Result<Expr, Diagnostics> {
        match &self.time {
            Some(time) => RowTime::replace(expr.clone(), time).map_err(|error| plan_error(&error)),
            None => Ok(expr.clone()),
        }
    }

    /// What has to run in front of the step.
    pub(super) fn step(&self) -> Option<ChainStep> {
        self.time.as_ref().map(|_| ChainStep::Time(Arc::new(self.schema.as_arrow().clone())))
    }
}

fn extended(relation: &DFSchema, name: &str) -> Result<DFSchema, DataFusionError> {
    let columns = relation.iter().map(|(table, field)| (table.cloned(), Arc::clone(field)));
    let time = (None, Arc::new(Field::new(name, RowTime::data_type(), false)));
    DFSchema::new_with_metadata(columns.chain([time]).collect(), relation.metadata().clone())
}

/// `row_time`, unless a column has that name.
fn unused_name(relation: &DFSchema) -> String {
    let mut name = RowTime::NAME.to_owned();
    while relation.fields().iter().any(|field| *field.name() == name) {
        name.push('\'');
    }
    name
}
