//! `postrider check`.

use postrider_core::Severity;
use postrider_plan::SinkTarget;
use postrider_sql::Engine;

use crate::{
    args::CheckArgs,
    console::{self, counted},
    outcome::{Failure, INVALID, Outcome},
    project::{LoadedPipeline, load},
    report,
};

/// Checks every file and reports all that is wrong, not only the first.
pub(crate) fn run(args: &CheckArgs) -> Outcome {
    let mut failures = Vec::new();
    for path in &args.files {
        let checked = load(path).and_then(|pipeline| {
            let moves = args.engine.map(|engine| moves(&pipeline, engine)).transpose()?;
            Ok((pipeline, moves.unwrap_or_default()))
        });
        match checked {
            Ok((pipeline, moves)) => {
                console::line(format!("ok  {}: {}{moves}", path.display(), describe(&pipeline)));
            }
            Err(failure) => failures.push(failure.text),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure { text: failures.join("\n\n"), code: INVALID })
}

/// Whether a pipeline can move to another engine, in words; fails with what stands in its way.
fn moves(pipeline: &LoadedPipeline, engine: Engine) -> Outcome<String> {
    let (path, sql) = (&pipeline.path, &pipeline.program.sql);
    let found = postrider_sql::check_portability(&pipeline.program, engine)
        .map_err(|errors| report::failure(path, sql, &errors.0))?;
    let (refused, differs): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| finding.severity == Severity::Error);
    if !differs.is_empty() {
        console::note(&report::render(path, sql, &differs, console::has_colour()));
    }
    if !refused.is_empty() {
        return Err(report::failure(path, sql, &refused));
    }
    Ok(match differs.len() as u64 {
        0 => format!("; moves to {engine} as it is"),
        n => format!("; moves to {engine}, with {} in meaning", counted(n, "difference")),
    })
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
