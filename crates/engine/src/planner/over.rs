//! Window functions over streams to stages.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use datafusion::{
    common::{Column, DFSchema},
    execution::context::ExecutionProps,
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits,
        WindowFunctionDefinition, expr::WindowFunction,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::{
        PhysicalSortExpr, create_physical_sort_expr,
        window::{PlainAggregateWindowExpr, WindowExpr},
    },
    physical_planner::create_window_expr,
};
use postrider_core::{Diagnostic, Diagnostics, format_duration};
use postrider_plan::{Endless, EpochClock, KeptRows, Memory, Over, RowTime, range_length};

use super::{
    Branch, Origin, Planner,
    expressions::{Columns, physical, plan_error},
    step_input::StepInput,
};
use crate::{
    chain::Chain,
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{OperatorSpec, OverCall, OverSpec, RunningAggregate},
};

impl Planner {
    pub(super) fn over(
        &mut self,
        node: &Over,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let schema = node.input.schema();
        let read = StepInput::of(&node.window_exprs, schema)?;
        let expression = |expr: &Expr| physical(&read.resolve(expr)?, read.schema());
        let mut columns = Columns::new(read.schema().as_arrow());
        for key in &node.partition_exprs {
            columns.push(expression(key)?)?;
        }
        let keys = columns.len();
        let mut own = Vec::new();
        for column in schema.columns() {
            own.push(columns.push(expression(&Expr::Column(column))?)?);
        }
        let (computed, calls) = in_front(node);
        for expr in &computed {
            own.push(columns.push(expression(expr)?)?);
        }
        let (step, input) = columns.finish();
        let mut steps = read.steps();
        steps.push(step);
        let rows = with_computed(schema, &computed)?;
        let functions = calls.iter().map(|expr| call(expr, &rows));
        let spec = OverSpec {
            keys,
            input,
            columns: own.into(),
            rows: Arc::new(rows.as_arrow().clone()),
            order: order(&calls, &rows)?.into(),
            calls: functions.collect::<Result<_, _>>()?,
            output_schema: Arc::new(node.schema.as_arrow().clone()),
        };
        let branches = self.lower(&node.input)?;
        let stage = self.flow.stages.len();
        self.flow.stages.push(StageNode {
            identity: stage_identity(plan, &self.flow.stages),
            operator: OperatorSpec::Over(spec),
            outputs: Vec::new(),
            updating: false,
            words: words(node),
        });
        for mut branch in branches {
            branch.chain.0.extend_from_slice(&steps);
            self.connect(branch, Target::Stage(stage), 0, Route::Hash { keys });
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }
}

/// What calls compute of a row is computed in front of them, where a row that can't be computed costs that row only: the
/// expressions, and the calls over their columns.
fn in_front(node: &Over) -> (Vec<Expr>, Vec<Expr>) {
    let mut computed: Vec<Expr> = Vec::new();
    let mut column = |expr: &mut Expr| {
        let is_constant =
            expr.column_refs().is_empty() && !RowTime::is_in(expr) && !EpochClock::is_in(expr);
        let is_there = matches!(expr, Expr::Column(_)) || is_constant;
        if !is_there {
            let known = computed.iter().position(|other| other == expr);
            let at = known.unwrap_or_else(|| {
                computed.push(expr.clone());
                computed.len() - 1
            });
            *expr = Expr::Column(Column::new_unqualified(computed_name(at)));
        }
    };
    let calls = node.calls().map(|call| {
        let mut call = call.clone();
        call.params.args.iter_mut().for_each(&mut column);
        call.params.order_by.iter_mut().for_each(|sort| column(&mut sort.expr));
        call.params.filter.iter_mut().for_each(|filter| column(filter));
        Expr::WindowFunction(Box::new(call))
    });
    let calls = calls.collect();
    (computed, calls)
}

fn computed_name(at: usize) -> String {
    format!("computed {at}")
}

/// The columns of the input, and what is computed of them.
fn with_computed(input: &DFSchema, computed: &[Expr]) -> Result<DFSchema, Diagnostics> {
    let mut fields: Vec<_> =
        input.iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
    for (at, expr) in computed.iter().enumerate() {
        let (_, field) = expr.to_field(input).map_err(|error| plan_error(&error))?;
        fields.push((None, Arc::new(field.as_ref().clone().with_name(computed_name(at)))));
    }
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(|error| plan_error(&error))
}

/// What orders rows of one time.
fn order(calls: &[Expr], rows: &DFSchema) -> Result<Vec<PhysicalSortExpr>, Diagnostics> {
    let order = calls.first().and_then(Over::call).map(|call| call.params.order_by.as_slice());
    let rest = order.unwrap_or_default().iter().skip(1).map(|sort| {
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        create_physical_sort_expr(sort, rows, &props, &context).map_err(|error| plan_error(&error))
    });
    rest.collect()
}

fn call(expr: &Expr, schema: &DFSchema) -> Result<OverCall, Diagnostics> {
    let Some(call) = Over::call(expr) else {
        return Err(Diagnostic::error("PR0420", format!("`{expr}` is no window function")).into());
    };
    let refused = |Endless { what, hint }| Diagnostic::error("PR0420", what).hint(hint);
    let memory = Memory::of(call).map_err(refused)?;
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let function =
        create_window_expr(expr, schema, &props, &context).map_err(|error| plan_error(&error))?;
    match memory {
        Memory::Count => Ok(match call.fun.name() {
            "row_number" => OverCall::RowNumber,
            "rank" => OverCall::Rank,
            _ => OverCall::DenseRank,
        }),
        Memory::Running { by_row } => running(call, schema, function.as_ref(), by_row),
        Memory::Rows(kept) => {
            // An aggregate that can't let go of a row says so here.
            function.create_window_fn().map_err(|_| no_retraction(call))?;
            Ok(OverCall::Rows(function, kept))
        }
    }
}

fn running(
    call: &WindowFunction,
    schema: &DFSchema,
    function: &dyn WindowExpr,
    by_row: bool,
) -> Result<OverCall, Diagnostics> {
    let Some(plain) = function.as_any().downcast_ref::<PlainAggregateWindowExpr>() else {
        let message = format!("`{}` can't be computed as rows come", call.fun.name());
        return Err(Diagnostic::error("PR0420", message)
            .hint("give a frame, such as RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW")
            .into());
    };
    let filter = call.params.filter.as_ref().map(|filter| physical(filter, schema)).transpose()?;
    let function = Arc::new(plain.get_aggregate_expr().clone());
    Ok(OverCall::Running(RunningAggregate { function, filter, by_row }))
}

fn no_retraction(call: &WindowFunction) -> Diagnostic {
    let name = call.fun.name();
    let distinct = if call.params.distinct { " of DISTINCT values" } else { "" };
    Diagnostic::error(
        "PR0420",
        format!("`{name}`{distinct} can't let rows go, as the frame that it is given asks for"),
    )
    .hint("leave out the frame, aggregate by a window such as hop(..), or use another aggregate, such as sum or max")
}

fn words(node: &Over) -> StageWords {
    let keys: Vec<_> = node.partition_exprs.iter().map(of_expression).collect();
    let calls: Vec<_> = node.calls().map(in_words).collect();
    let mut results: Vec<_> =
        node.input.schema().fields().iter().map(|field| field.name().clone()).collect();
    results.extend(calls.iter().cloned());
    let order = node.order_exprs.iter().map(|sort| {
        let way = if sort.asc { "" } else { " descending" };
        format!("{}{way}", of_expression(&sort.expr))
    });
    StageWords {
        what: format!(
            "each row beside those before it, in the order of {}",
            order.collect::<Vec<_>>().join(", ")
        ),
        aggregates: calls,
        results,
        state: state(node, &keys),
        timers: "one for each key with rows that wait, fired by the watermark".to_owned(),
        keys,
    }
}

fn state(node: &Over, keys: &[String]) -> String {
    let mut kept = KeptRows::default();
    let mut known = BTreeMap::new();
    for memory in node.calls().filter_map(|call| Memory::of(call).ok()) {
        match memory {
            Memory::Count => drop(known.insert(0, "how many rows there were")),
            Memory::Running { .. } => drop(known.insert(1, "partial aggregates of all rows")),
            Memory::Rows(rows) => {
                kept.first = kept.first.max(rows.first);
                kept.last = kept.last.max(rows.last);
                kept.within_ns = kept.within_ns.max(rows.within_ns);
            }
        }
    }
    let rows = |count: usize, which: &str| match count {
        0 => None,
        1 => Some(format!("the {which} row")),
        count => Some(format!("the {which} {count} rows")),
    };
    let mut parts = vec!["rows until the watermark reaches them".to_owned()];
    parts.extend(
        kept.within_ns
            .filter(|ns| *ns > 0)
            .map(|ns| format!("then for {} more", format_duration(ns))),
    );
    let lasting: Vec<_> = [rows(kept.first, "first"), rows(kept.last, "last")]
        .into_iter()
        .flatten()
        .chain(known.into_values().map(str::to_owned))
        .collect();
    if !lasting.is_empty() {
        let each =
            if keys.is_empty() { String::new() } else { format!(" of each {}", keys.join(", ")) };
        parts.push(format!("for ever {}{each}", lasting.join(", ")));
    }
    parts.join("; ")
}

/// A call and what it looks at, such as `sum(total) of the last 7 days`.
fn in_words(call: &WindowFunction) -> String {
    let arguments: Vec<_> = call.params.args.iter().map(of_expression).collect();
    let star = matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(f) if f.name() == "count")
        && matches!(call.params.args.as_slice(), [Expr::Literal(..)]);
    let arguments = if star { "*".to_owned() } else { arguments.join(", ") };
    let distinct = if call.params.distinct { "DISTINCT " } else { "" };
    let filter = call.params.filter.as_ref();
    let filter = filter.map_or_else(String::new, |f| format!(" where {}", of_expression(f)));
    format!("{}({distinct}{arguments}){filter}{}", call.fun.name(), frame(call))
}

fn frame(call: &WindowFunction) -> String {
    let frame = &call.params.window_frame;
    let uses_frame = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(_) => true,
        WindowFunctionDefinition::WindowUDF(function) => function.name().ends_with("_value"),
    };
    let is_rows = frame.units == WindowFrameUnits::Rows;
    let until = match &frame.end_bound {
        WindowFrameBound::Preceding(value) if is_rows => format!(" until {value} before"),
        WindowFrameBound::Preceding(value) => {
            // A frame whose end is no length was refused by the checks.
            range_length(value).map_or_else(
                |_| String::new(),
                |ns| format!(" until {} before", format_duration(ns)),
            )
        }
        _ => String::new(),
    };
    match (&frame.start_bound, Memory::of(call)) {
        _ if !uses_frame => String::new(),
        (WindowFrameBound::Preceding(value), _) if value.is_null() => " so far".to_owned(),
        (WindowFrameBound::Preceding(value), _) if is_rows => {
            format!(" of the row and {value} before{until}")
        }
        (_, Ok(Memory::Rows(KeptRows { within_ns: Some(ns), .. }))) if ns > 0 => {
            format!(" of the last {}{until}", format_duration(ns))
        }
        _ if is_rows => " of the row".to_owned(),
        _ => " of rows at its place".to_owned(),
    }
}
