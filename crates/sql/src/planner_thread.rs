//! The entry points: planning runs on a thread of its own, whose stack is large enough for every
//! text that the guard lets through.

use std::thread;

use datafusion::logical_expr::LogicalPlan;
use postrider_core::{Diagnostic, Diagnostics, PipelineName};
use postrider_plan::Program;

use crate::{
    codes,
    limits::PLANNER_STACK_BYTES,
    portability::{self, Engine},
    program::{self, Purpose},
    query,
};

/// Plans a program.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text; independent mistakes are all found.
pub fn plan_program(sql: &str, name: PipelineName) -> Result<Program, Diagnostics> {
    on_large_stack(|| program::plan(sql, name, Purpose::Run))
}

/// Plans a program for [`plan_query`]: it may have tables and views only.
///
/// # Errors
/// As for [`plan_program`].
pub fn plan_tables(sql: &str, name: PipelineName) -> Result<Program, Diagnostics> {
    on_large_stack(|| program::plan(sql, name, Purpose::Tables))
}

/// Plans one SELECT over the tables and views of a program, for rows that end: ORDER BY, LIMIT,
/// joins, subqueries and aggregates without a window are allowed.
///
/// Tables are [`StreamTable`](postrider_plan::StreamTable)s: whoever runs the plan puts the rows in
/// their place. `now()` is left for whoever runs the plan, who has a clock.
///
/// # Errors
/// Everything that is wrong with it; spans are byte ranges of `sql`.
pub fn plan_query(sql: &str, program: &Program) -> Result<LogicalPlan, Diagnostics> {
    on_large_stack(|| query::plan(sql, program))
}

/// What stands between a planned program and another engine, in the order of the text: errors for what that refuses, warnings
/// for what means something else there. Nothing if it can move as it is.
///
/// # Errors
/// The text of the program can't be read again, which a planned program's can.
pub fn check_portability(
    program: &Program,
    engine: Engine,
) -> Result<Vec<Diagnostic>, Diagnostics> {
    on_large_stack(|| portability::check(program, engine))
}

fn on_large_stack<T: Send>(
    plan: impl FnOnce() -> Result<T, Diagnostics> + Send,
) -> Result<T, Diagnostics> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("sql planner".to_owned())
            .stack_size(PLANNER_STACK_BYTES)
            .spawn_scoped(scope, plan)
            .map_err(|error| fault(format!("no thread to plan the SQL on: {error}")))?
            .join()
            .unwrap_or_else(|_| Err(fault("the planner failed on this SQL".to_owned())))
    })
}

fn fault(message: String) -> Diagnostics {
    Diagnostic::error(codes::FAULT, message)
        .hint("simplify the statement, and report it with the SQL")
        .into()
}
