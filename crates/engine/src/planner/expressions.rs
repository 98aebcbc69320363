//! Logical expressions to physical ones.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::{
    common::{DFSchema, DataFusionError},
    execution::context::ExecutionProps,
    logical_expr::{
        Expr, physical_planning_context::PhysicalPlanningContext, utils::AggregateOrderSensitivity,
    },
    physical_expr::{PhysicalExpr, aggregate::LoweredAggregateBuilder, create_physical_expr},
};
use postrider_core::{Diagnostic, Diagnostics};
use postrider_plan::{Window, WindowAggregate};

use super::step_input::StepInput;
use crate::{
    calendar::Calendar,
    chain::ChainStep,
    operator::{AggregateCall, AggregateSpec},
};

/// One expression over a relation.
pub(super) fn physical(
    expr: &Expr,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, Diagnostics> {
    let props = ExecutionProps::new();
    create_physical_expr(expr, schema, &props, &PhysicalPlanningContext::default())
        .map_err(|error| plan_error(&error))
}

/// The expressions of a projection.
pub(super) fn projection(
    exprs: &[Expr],
    input: &StepInput<'_>,
) -> Result<Vec<Arc<dyn PhysicalExpr>>, Diagnostics> {
    exprs.iter().map(|expr| physical(&input.resolve(expr)?, input.schema())).collect()
}

/// What a window needs of its input: steps to `[keys.., arguments.., filters..]`, and
/// where each aggregate finds its columns in it. The start of a window that rows bring along is their last key.
pub(super) fn aggregate_inputs(
    node: &WindowAggregate,
) -> Result<(Vec<ChainStep>, AggregateSpec), Diagnostics> {
    let exprs = node.group_exprs.iter().chain(&node.window_exprs).chain(&node.aggr_exprs);
    let step_input = StepInput::of(exprs, node.input.schema())?;
    let input = step_input.schema();
    let mut columns = Columns::new(input.as_arrow());
    for expr in &node.group_exprs {
        columns.push(physical(&step_input.resolve(expr)?, input)?)?;
    }
    for expr in &node.window_exprs {
        columns.own = Some(columns.append(physical(&step_input.resolve(expr)?, input)?)?);
    }
    let mut key_fields = columns.fields.clone();
    let own = own_days(node, &mut key_fields);
    let key_schema = Arc::new(Schema::new(key_fields));
    let mut calls = Vec::new();
    for expr in &node.aggr_exprs {
        calls.push(aggregate_call(&mut columns, &step_input.resolve(expr)?, input)?);
    }
    let spec = AggregateSpec {
        key_schema,
        calls: calls.into(),
        window_index: node.window_index,
        output_schema: Arc::new(node.schema.as_arrow().clone()),
    };
    let (step, projected) = columns.finish();
    let mut steps = step_input.steps();
    steps.push(step);
    if let Some((zone, calendar)) = own {
        let mut fields = projected.fields().to_vec();
        fields[zone] = Arc::clone(&spec.key_schema.fields()[zone]);
        steps.push(ChainStep::OwnDays { calendar, zone, schema: Arc::new(Schema::new(fields)) });
    }
    Ok((steps, spec))
}

/// Where the zone of each row stands, if that decides about its window, and the calendar; its field becomes that of a start.
fn own_days(node: &WindowAggregate, key_fields: &mut [Field]) -> Option<(usize, Calendar)> {
    let Window::Calendar { period, offset_ns, zone: None } = node.window else { return None };
    let at = node.group_exprs.len();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let field = key_fields.get_mut(at)?;
    *field = Field::new(field.name(), time, false);
    Some((at, Calendar { period, offset_ns }))
}

/// An aggregate over columns of the projection in front of a stage. Its inputs are those of a relation that begins with the columns of the
/// projection's input.
pub(super) fn aggregate_call(
    columns: &mut Columns<'_>,
    expr: &Expr,
    input: &DFSchema,
) -> Result<AggregateCall, Diagnostics> {
    let lowered = LoweredAggregateBuilder::new(
        expr,
        input,
        input.as_arrow(),
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .build()
    .map_err(|error| plan_error(&error))?;
    let needs_sorted_input = lowered.aggregate.order_sensitivity()
        == AggregateOrderSensitivity::HardRequirement
        && !lowered.order_bys.is_empty();
    if needs_sorted_input {
        return Err(Diagnostic::error(
            "PR0421",
            format!(
                "`{}` needs its rows sorted, which a stream can't do yet",
                lowered.aggregate.fun().name()
            ),
        )
        .hint("array_agg, first_value and last_value take ORDER BY; array_to_string(array_agg(..), ', ') makes a text")
        .into());
    }
    // Order-sensitive accumulators take their sort columns as further arguments.
    let sort_columns = lowered.aggregate.order_bys().iter().map(|sort| Arc::clone(&sort.expr));
    let mut arguments = Vec::new();
    for argument in lowered.aggregate.expressions().into_iter().chain(sort_columns) {
        arguments.push(columns.push(argument)?);
    }
    let filter = lowered.filter.map(|filter| columns.push(filter)).transpose()?;
    Ok(AggregateCall { function: lowered.aggregate, arguments, filter })
}

/// The columns of the projection in front of a stage, each expression once.
pub(super) struct Columns<'a> {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<Field>,
    input: &'a Schema,
    /// What belongs to the window, and may become another value on the way.
    own: Option<usize>,
}

impl<'a> Columns<'a> {
    /// No column yet, over these.
    pub(super) fn new(input: &'a Schema) -> Self {
        Self { exprs: Vec::new(), fields: Vec::new(), input, own: None }
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn len(&self) -> usize {
        self.exprs.len()
    }

    /// The projection, and its columns.
    pub(super) fn finish(self) -> (ChainStep, Arc<Schema>) {
        let schema = Arc::new(Schema::new(self.fields));
        (ChainStep::Project(self.exprs.into(), Arc::clone(&schema)), schema)
    }

    pub(super) fn push(&mut self, expr: Arc<dyn PhysicalExpr>) -> Result<usize, Diagnostics> {
        let same = |&at: &usize| Some(at) != self.own && self.exprs[at].as_ref() == expr.as_ref();
        match (0..self.exprs.len()).find(same) {
            Some(known) => Ok(known),
            None => self.append(expr),
        }
    }

    /// A column of its own, even if another holds the same.
    pub(super) fn append(&mut self, expr: Arc<dyn PhysicalExpr>) -> Result<usize, Diagnostics> {
        let data_type: DataType = expr.data_type(self.input).map_err(|error| plan_error(&error))?;
        let nullable = expr.nullable(self.input).map_err(|error| plan_error(&error))?;
        self.fields.push(Field::new(format!("c{}", self.fields.len()), data_type, nullable));
        self.exprs.push(expr);
        Ok(self.exprs.len() - 1)
    }
}

/// What DataFusion says about an expression it can't run.
pub(super) fn plan_error(error: &DataFusionError) -> Diagnostics {
    let said = error.strip_backtrace();
    let said = said.strip_prefix("Execution error: ").unwrap_or(&said);
    Diagnostic::error("PR0422", format!("an expression can't be computed: {said}"))
        .hint("write it in another way, or have the event say it when it is posted")
        .into()
}
