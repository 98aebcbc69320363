//! Aggregates that group by the columns of a window: `GROUP BY window_start, window_end`.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::datatypes::{Field, IntervalMonthDayNano},
    common::{
        Column, DFSchema, DataFusionError, Diagnostic, Result, ScalarValue, TableReference,
        plan_err,
    },
    functions::core::expr_fn::get_field,
    logical_expr::{
        Aggregate, BinaryExpr, Expr, Extension, LogicalPlan, Operator, Projection, lit,
    },
};
use postrider_plan::{Emission, Window, WindowAggregate, window_type};

use crate::{
    checks::Input,
    window_origin::{self, Origin, Part, Source},
};

/// The same as an aggregate by a window, with the columns that were grouped by computed from that; as it was if no window is among
/// them as a whole.
pub(crate) fn lower(aggregate: Aggregate, input: Input) -> Result<LogicalPlan> {
    let origins = origins(&aggregate);
    let source = origins.iter().flatten().next().map(|origin| origin.of.clone());
    let Some(of) = source.filter(|_| is_whole(&origins)) else {
        return Ok(LogicalPlan::Aggregate(aggregate));
    };
    if origins.iter().flatten().any(|origin| origin.of != of) {
        return plan_err!("a GROUP BY has at most one window");
    }
    let keys = aggregate.group_expr.iter().zip(&origins);
    let keys: Vec<Expr> =
        keys.filter(|(_, origin)| origin.is_none()).map(|(key, _)| key.clone()).collect();
    let (window, window_exprs) = match of {
        Source::Table(window, partition) => {
            if matches!(window, Window::Session { .. }) {
                check_partition(&aggregate.input, &keys, &partition)?;
            }
            (window, Vec::new())
        }
        // Over all rows there are, it is an aggregate like any other.
        Source::Result(_) if input == Input::Bounded => {
            return Ok(LogicalPlan::Aggregate(aggregate));
        }
        Source::Result(reach_ns) => {
            (Window::Given { reach_ns }, vec![start(&aggregate.group_expr, &origins)?])
        }
    };
    build(&aggregate, &origins, keys, window, window_exprs)
}

/// What of which window each key of an aggregate is, if it is that.
pub(crate) fn origins(aggregate: &Aggregate) -> Vec<Option<Origin>> {
    let keys = aggregate.group_expr.iter();
    keys.map(|key| window_origin::of_expr(&aggregate.input, key)).collect()
}

/// Whether keys with these origins are columns of a window table function.
pub(crate) fn of_table(origins: &[Option<Origin>]) -> bool {
    origins.iter().flatten().any(|origin| matches!(origin.of, Source::Table(..)))
}

/// Whether keys with these origins have both ends of a window.
pub(crate) fn is_whole(origins: &[Option<Origin>]) -> bool {
    let has = |part| origins.iter().flatten().any(|origin| origin.part == part);
    has(Part::Whole) || (has(Part::Start) && has(Part::End))
}

/// The start of the window that is grouped by.
pub(crate) fn start(keys: &[Expr], origins: &[Option<Origin>]) -> Result<Expr> {
    let part = |wanted| {
        let is_it = |origin: &Option<Origin>| origin.as_ref().is_some_and(|o| o.part == wanted);
        origins.iter().position(is_it).and_then(|at| keys.get(at)).cloned()
    };
    match (part(Part::Start), part(Part::Whole)) {
        (Some(start), _) => Ok(start),
        (None, Some(window)) => Ok(get_field(window, "start")),
        (None, None) => plan_err!("a window without a start"),
    }
}

/// Sessions of each partition are aggregated by it, or they would be others.
fn check_partition(below: &LogicalPlan, keys: &[Expr], partition: &[Expr]) -> Result<()> {
    let keys: Vec<_> = keys.iter().map(|key| window_origin::before_window(below, key)).collect();
    let named = |column: &Expr| keys.iter().flatten().any(|key| key == column);
    let partitions = |key: &Option<Expr>| key.as_ref().is_some_and(|key| partition.contains(key));
    if partition.iter().all(named) && keys.iter().all(partitions) {
        return Ok(());
    }
    let message = "sessions are grouped by other columns than they are partitioned by";
    let help = "GROUP BY the columns of PARTITION BY, window_start and window_end";
    let noted = Diagnostic::new_error(message, None).with_help(help, None);
    Err(DataFusionError::Plan(message.to_owned()).with_diagnostic(noted))
}

fn build(
    aggregate: &Aggregate,
    origins: &[Option<Origin>],
    group_exprs: Vec<Expr>,
    window: Window,
    window_exprs: Vec<Expr>,
) -> Result<LogicalPlan> {
    let schema = &aggregate.schema;
    let name = free_name(schema);
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
        vec![(None, Arc::new(Field::new(&name, window_type(), false)))];
    let mut exprs = Vec::with_capacity(schema.fields().len());
    for (index, (qualifier, field)) in schema.iter().enumerate() {
        let expr = match origins.get(index).and_then(Option::as_ref) {
            Some(origin) => part_of(&Column::new_unqualified(&name), origin.part)
                .alias_qualified(qualifier.cloned(), field.name()),
            None => {
                fields.push((qualifier.cloned(), Arc::clone(field)));
                Expr::Column(Column::from((qualifier, field)))
            }
        };
        exprs.push(expr);
    }
    let node = WindowAggregate {
        emission: Emission::default(),
        input: Arc::clone(&aggregate.input),
        window,
        window_index: 0,
        window_exprs,
        group_exprs,
        aggr_exprs: aggregate.aggr_expr.clone(),
        schema: Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?),
    };
    let node = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    let columns = Projection::try_new_with_schema(exprs, Arc::new(node), Arc::clone(schema))?;
    Ok(LogicalPlan::Projection(columns))
}

/// A part of the window in a column.
fn part_of(window: &Column, part: Part) -> Expr {
    let field = |name: &str| get_field(Expr::Column(window.clone()), name);
    match part {
        Part::Whole => Expr::Column(window.clone()),
        Part::Start => field("start"),
        Part::End => field("end"),
        Part::Time => {
            let ns = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, 1)));
            let (left, right) = (Box::new(field("end")), Box::new(lit(ns)));
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right })
        }
    }
}

/// A name that no column has.
fn free_name(schema: &DFSchema) -> String {
    let mut name = Part::Whole.name().to_owned();
    while schema.fields().iter().any(|field| *field.name() == name) {
        name.push('_');
    }
    name
}
