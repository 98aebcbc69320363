//! `postrider check`.

use postrider_plan::SinkTarget;

use crate::{
    args::CheckArgs,
    console::{self, counted},
    outcome::{Failure, INVALID, Outcome},
    project::{LoadedPipeline, load},
};

/// Checks every file and reports all that is wrong, not only the first.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    let mut failures = Vec::new();
    for path in &args.files {
        match load(path) {
            Ok(pipeline) => {
                console::line(format!("ok  {}: {}", path.display(), describe(&pipeline)));
            }
            Err(failure) => failures.push(failure.text),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure { text: failures.join("\n\n"), code: INVALID })
}

fn describe(pipeline: &LoadedPipeline) -> String {
    let program = &pipeline.program;
    let sinks: Vec<_> = program
        .queries
        .iter()
        .map(|query| match &query.sink {
            SinkTarget::Table(table) => format!("{} ({})", table.name, table.connector),
            SinkTarget::Print => "the terminal".to_owned(),
        })
        .collect();
    let tables = counted(program.tables.len() as u64, "table");
    format!("pipeline {}, {tables}, rows to {}", program.name, sinks.join(", "))
}
