//! `postrider test`: SQL fixtures in the sqllogictest format, each run in several ways.
//!
//! What a fixture may say beside `query` is in [`statement`]; `docs/fixtures.md` shows it with examples.

mod bless;
mod database;
mod failure;
mod feed;
pub(crate) mod memory;
mod session;
mod statement;
mod tables;
mod time;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use sqllogictest::{AsyncDB, Record, Runner, TestError};

use self::{
    database::{Database, Place},
    session::{Restarts, Way},
};
use crate::{
    args::TestArgs,
    console,
    outcome::{Failure, Outcome},
    services,
};

/// Every way in which a fixture is run; its answers must be the same in all of them.
const WAYS: [Way; 4] = [
    Way { name: "as it is, on one shard", shards: 1, restarts: Restarts::Never },
    Way { name: "replayed after every step, on two shards", shards: 2, restarts: Restarts::Replay },
    Way { name: "on three shards", shards: 3, restarts: Restarts::Never },
    Way {
        name: "restored from a checkpoint after every step, on one to three shards in turn",
        shards: 2,
        restarts: Restarts::Restore,
    },
];

/// A record of a fixture.
type FixtureRecord = Record<<Database as AsyncDB>::ColumnType>;

/// Runs fixtures; fails if one fails.
pub(crate) fn run(args: &TestArgs) -> Outcome {
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, &mut files)?;
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        let paths: Vec<_> = args.paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::invalid(format!(
            "there is no fixture under {}: a fixture is a file that ends in .slt",
            paths.join(", ")
        )));
    }
    let mut failed = 0;
    let run = |file: &Path| if args.bless { bless::rewrite(file) } else { check(file).map(|()| 0) };
    on_all_cores(&files, run, |file, result| match result {
        Ok(0) => console::line(format!("ok      {}", file.display())),
        Ok(queries) => console::line(format!(
            "blessed {}: the rows of {queries} {} are new",
            file.display(),
            if queries == 1 { "query" } else { "queries" }
        )),
        Err(text) => {
            failed += 1;
            console::line(format!("FAILED  {}\n\n{}\n", file.display(), indented(&text)));
        }
    });
    let count = files.len();
    if failed > 0 {
        return Err(Failure::failed(format!("{failed} of {count} fixtures failed")));
    }
    let ways = WAYS.len();
    console::line(match count {
        1 => format!("1 fixture passed, run {ways} ways"),
        _ => format!("{count} fixtures passed, each run {ways} ways"),
    });
    Ok(())
}

/// Runs fixtures side by side, and reports them in order.
fn on_all_cores<T: Send>(
    files: &[PathBuf],
    run: impl Fn(&Path) -> T + Sync,
    mut report: impl FnMut(&Path, T),
) {
    let (next, run) = (AtomicUsize::new(0), &run);
    let next = &next;
    thread::scope(|scope| {
        let (done, results) = mpsc::sync_channel(files.len());
        for _ in 0..services::cores().min(files.len()) {
            let done = done.clone();
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(index) else { break };
                    if done.send((index, run(file))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let (mut waiting, mut at) = (BTreeMap::new(), 0);
        for (index, result) in results {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&at) {
                report(&files[at], result);
                at += 1;
            }
        }
    });
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let is_fixture = path.extension().is_some_and(|extension| extension == "slt");
    if !path.exists() {
        let shown = path.display();
        return Err(Failure::invalid(format!(
            "{shown}: no such file or directory; give the path of a fixture (.slt) or of a \
             directory with fixtures"
        )));
    }
    if !path.is_dir() {
        if !is_fixture {
            let shown = path.display();
            let message = format!("{shown} is no fixture: its name does not end in .slt");
            return Err(Failure::invalid(message));
        }
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "slt") {
            collect(&path, files)?;
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { String::new() } else { format!("  {line}") };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs a fixture every way, up to the first that fails.
fn check(file: &Path) -> Result<(), String> {
    let records = records(file)?;
    for (index, way) in WAYS.iter().enumerate() {
        let run = services::block_on(run_once(file, *way, &records)).map_err(|error| error.text)?;
        run.map_err(|error| failure::describe(&error, file, &WAYS[..index], way))?;
    }
    Ok(())
}

/// A runner whose database can ask `place` where it stands.
fn runner(
    file: &Path,
    way: Way,
    place: &Place,
) -> Runner<Database, impl sqllogictest::MakeConnection<Conn = Database>> {
    let (file, place) = (file.to_owned(), place.clone());
    let mut runner = Runner::new(move || {
        let database = Database::new(&file, way, place.clone());
        async move { database }
    });
    runner.with_column_validator(|actual, expected| {
        expected.is_empty() || actual.len() == expected.len()
    });
    runner
}

async fn run_once(file: &Path, way: Way, records: &[FixtureRecord]) -> Result<(), TestError> {
    let place = Place::default();
    let mut runner = runner(file, way, &place);
    for record in records {
        place.stands_at(record);
        runner.run_async(record.clone()).await?;
    }
    runner.shutdown_async().await;
    Ok(())
}

/// The records of a fixture up to a `halt`. None of them runs a shell command.
fn records(file: &Path) -> Result<Vec<FixtureRecord>, String> {
    let shown = file.display();
    let mut records = sqllogictest::parse_file(file)
        .map_err(|error| format!("{}: {}", error.location(), error.kind()))?;
    if let Some(halt) = records.iter().position(|record| matches!(record, Record::Halt { .. })) {
        records.truncate(halt);
    }
    if records.iter().any(|record| matches!(record, Record::System { .. })) {
        return Err(format!("{shown}: `system` records are not run: a fixture is SQL"));
    }
    if !records.iter().any(|r| matches!(r, Record::Statement { .. } | Record::Query { .. })) {
        return Err(format!("{shown}: the fixture has no statement and no query"));
    }
    Ok(records)
}
