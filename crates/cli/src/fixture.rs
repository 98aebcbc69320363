//! `postrider test`: SQL fixtures in the sqllogictest format, each run in several ways.
//!
//! What a fixture may say beside `query` is in [`statement`]; `docs/fixtures.md` shows it with examples.

mod database;
pub(crate) mod memory;
mod session;
mod statement;
mod tables;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sqllogictest::{AsyncDB, Record, Runner, default_column_validator, default_normalizer};

use self::{database::Database, session::Ways};
use crate::{
    args::TestArgs,
    console,
    outcome::{Failure, Outcome},
    services,
};

/// Every way in which a fixture is run; its answers must be the same in all of them.
const WAYS: [Ways; 3] = [
    Ways { name: "as it is", shards: 1, restart_always: false },
    Ways { name: "restarted after every step", shards: 2, restart_always: true },
    Ways { name: "on three shards", shards: 3, restart_always: false },
];

/// Runs fixtures; fails if one fails.
pub(crate) fn run(args: &TestArgs) -> Outcome {
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, &mut files)?;
    }
    files.sort();
    if files.is_empty() {
        let paths: Vec<_> = args.paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::invalid(format!(
            "no .slt file under {}; give the path of a fixture or a directory",
            paths.join(", ")
        )));
    }
    let mut failed = 0;
    for file in &files {
        let result = if args.bless { bless(file) } else { run_file(file) };
        match result {
            Ok(()) => console::line(format!("ok      {}", file.display())),
            Err(text) => {
                failed += 1;
                console::line(format!("FAILED  {}\n{}\n", file.display(), indented(&text)));
            }
        }
    }
    console::line(format!("{} passed, {failed} failed", files.len() - failed));
    if failed > 0 { Err(Failure::failed(format!("{failed} fixtures failed"))) } else { Ok(()) }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    if !path.is_dir() {
        if !path.exists() {
            return Err(Failure::invalid(format!("{}: no such file", path.display())));
        }
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}

fn run_file(file: &Path) -> Result<(), String> {
    for ways in WAYS {
        with_runtime(async {
            let mut runner = Runner::new(|| async { Database::new(file, ways) });
            let records = records(file)?;
            for record in records {
                runner.run_async(record).await.map_err(|error| {
                    format!("{}\n(run {})", error.display(console::has_colour()), ways.name)
                })?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The records of a fixture, without those that would run shell commands.
fn records(file: &Path) -> Result<Vec<Record<<Database as AsyncDB>::ColumnType>>, String> {
    let records = sqllogictest::parse_file(file).map_err(|error| error.to_string())?;
    match records.iter().find(|record| matches!(record, Record::System { .. })) {
        Some(_) => Err("`system` records are not run: a fixture is SQL".to_owned()),
        None => Ok(records),
    }
}

fn bless(file: &Path) -> Result<(), String> {
    records(file)?;
    let ways = WAYS[0];
    with_runtime(async {
        let mut runner = Runner::new(|| async { Database::new(file, ways) });
        let validator = sqllogictest::default_validator;
        let updated =
            runner.update_test_file(file, "  ", validator, default_normalizer, default_column_validator);
        updated.await.map_err(|error| error.to_string())
    })?;
    run_file(file)
}

fn with_runtime(run: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    services::block_on(run).map_err(|failure| failure.text)?
}

/// A shared reason that a fixture step failed.
pub(crate) type Reason = Arc<str>;
