//! `postrider query`: the largest parts of a plan that the streaming engine can run are run by it, the
//! rest by DataFusion over their rows.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use datafusion::{
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::{MemTable, provider_as_source},
    execution::context::{SessionConfig, SessionContext},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility},
    optimizer::{Optimizer, OptimizerContext, simplify_expressions::SimplifyExpressions},
};
use postrider_core::{Clock, PipelineName};
use postrider_engine::{
    EngineError, NoObserver, Pipeline, PipelineOptions, SystemClock, explain_text,
};
use postrider_plan::{Program, Query, SinkTarget};
use postrider_store::Log;

use super::rows;
use crate::{
    args::QueryArgs,
    console,
    fixture::memory::{Capture, CaptureSinks},
    outcome::{Failure, Outcome},
    project::{LoadedPipeline, load_tables},
    report, services,
    wiring::Wiring,
};

/// Runs the query and prints its rows.
pub(crate) fn run(args: &QueryArgs) -> Outcome {
    let tables = match &args.file {
        Some(file) => {
            let LoadedPipeline { path, program, dir, .. } = load_tables(file)?;
            Tables { path, program, dir }
        }
        None => Tables::none(),
    };
    let plan = postrider_sql::plan_query(&args.sql, &tables.program)
        .map_err(|errors| report::failure("query", &args.sql, &errors.0))?;
    services::block_on(answer(args, plan, &tables))?
}

/// The tables and views that a query may use, and the text they come from.
struct Tables {
    path: String,
    program: Arc<Program>,
    dir: PathBuf,
}

impl Tables {
    fn none() -> Self {
        Self { path: String::new(), program: Arc::new(empty_program()), dir: PathBuf::new() }
    }
}

fn empty_program() -> Program {
    Program {
        name: PipelineName("query".to_owned()),
        sql: Arc::from(""),
        tables: BTreeMap::new(),
        queries: Vec::new(),
        materialized_views: Vec::new(),
        warnings: Vec::new(),
    }
}

async fn answer(args: &QueryArgs, plan: LogicalPlan, tables: &Tables) -> Outcome {
    let plan = at_this_moment(plan)?;
    let mut streams = Vec::new();
    plan.apply_with_subqueries(|node| {
        Ok(if is_stream(node, &tables.program) {
            streams.push(node.clone());
            TreeNodeRecursion::Jump
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    let mut answered = Vec::new();
    for stream in streams {
        let rows = run_stream(&stream, tables).await?;
        answered.push((stream, rows));
    }
    let plan = plan.transform_down_with_subqueries(|node| {
        Ok(match answered.iter().find(|(stream, _)| *stream == node) {
            Some((_, rows)) => Transformed::new(rows.clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    // Without ORDER BY rows come as they stand in the file, so that a LIMIT shows its first ones.
    let config = SessionConfig::new().with_information_schema(false);
    let config = config.with_round_robin_repartition(false).with_repartition_file_scans(false);
    let context = SessionContext::new_with_config(config);
    let frame = context.execute_logical_plan(plan.data).await?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await?;
    rows::print(&schema, &batches, args.format)
}

/// Puts the time of the query in place of `now()` and its kin: all parts of the query see the same.
fn at_this_moment(plan: LogicalPlan) -> Outcome<LogicalPlan> {
    let optimizer = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    // A new context takes the current time.
    let context = OptimizerContext::new().with_skip_failing_rules(false);
    optimizer.optimize(plan, &context, |_, _| {}).map_err(Failure::from)
}

/// Whether the engine can run this part of the plan: it reads a stream and has no other steps.
fn is_stream(plan: &LogicalPlan, program: &Program) -> bool {
    let (mut reads, mut other_steps) = (false, false);
    let found = plan.apply(|node| {
        reads |= matches!(node, LogicalPlan::TableScan(_));
        for expr in node.expressions() {
            other_steps |= expr.exists(|part| Ok(needs_session(part)))?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.is_ok() && reads && !other_steps && explain_text(&one_query(plan, program)).is_ok()
}

/// Whether only DataFusion can compute this: a query in an expression, or a function of its session.
fn needs_session(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => true,
        Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Stable,
        _ => false,
    }
}

fn one_query(plan: &LogicalPlan, program: &Program) -> Program {
    let query = Query { sink: SinkTarget::Print, plan: plan.clone(), range: 0..0 };
    Program { queries: vec![query], ..program.clone() }
}

/// Runs part of a plan to the end of its sources; its rows as a plan with the same columns.
async fn run_stream(plan: &LogicalPlan, tables: &Tables) -> Outcome<LogicalPlan> {
    let log = Log::in_memory();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let capture = Capture::default();
    let wiring = Wiring {
        log: log.clone(),
        clock: Arc::clone(&clock),
        dir: tables.dir.clone(),
        dead_letters: None,
    };
    let pipeline = Pipeline::start(PipelineOptions {
        program: Arc::new(one_query(plan, &tables.program)),
        parallelism: services::cores(),
        log: log.clone(),
        clock: Arc::clone(&clock),
        wall: clock,
        connectors: Arc::new(CaptureSinks { inner: wiring, capture: capture.clone() }),
        observer: Arc::new(NoObserver),
        checkpoints: None,
    });
    let pipeline = pipeline.await.map_err(|error| match error {
        EngineError::Invalid(found) => report::failure(&tables.path, &tables.program.sql, &found.0),
        other => other.into(),
    })?;
    let summary = pipeline.join().await?;
    log.close().await;
    if summary.rejects > 0 {
        let records = console::counted(summary.rejects, "bad record");
        console::note(&format!("warning: {records} left out; `postrider run` says why"));
    }
    let schema = plan.schema();
    let batches = capture.rows("stdout");
    let table = MemTable::try_new(Arc::new(schema.as_arrow().clone()), vec![batches])?;
    let scan = LogicalPlanBuilder::scan("stream", provider_as_source(Arc::new(table)), None)?;
    let columns: Vec<Expr> = requalified(schema);
    scan.project(columns)?.build().map_err(Failure::from)
}

/// The columns of `stream` under the names they have in `schema`.
fn requalified(schema: &DFSchema) -> Vec<Expr> {
    schema
        .iter()
        .map(|(qualifier, field)| {
            let column =
                Expr::Column(datafusion::common::Column::new(Some("stream"), field.name()));
            match qualifier {
                Some(qualifier) => column.alias_qualified(Some(qualifier.clone()), field.name()),
                None => column.alias(field.name()),
            }
        })
        .collect()
}
