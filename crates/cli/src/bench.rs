//! `postrider bench`: the same query over the same file by the engine and by plain DataFusion, in
//! turns in one process, so that the machine's mood hits both.

mod batch;
mod input;
mod queries;
mod state;
mod streaming;

use std::{path::Path, time::Instant};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

pub(crate) use self::queries::BenchQuery;
use crate::{
    args::BenchArgs,
    console,
    outcome::{Failure, Outcome},
    services::block_on_threads,
};

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Measured {
    wall_seconds: f64,
    cpu_seconds: f64,
    /// Result rows and their counted events: both engines must agree.
    answer: Answer,
}

/// What a run computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) rows: u64,
    pub(crate) events: u64,
}

/// Generates the file, measures, prints JSON.
pub(crate) fn run(args: &BenchArgs) -> Outcome {
    if args.state {
        return state::run(args);
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("events.ndjson");
    console::note(&format!("writing {} events", console::count(args.events)));
    let bytes = input::write(&path, args.events, args.customers)?;
    let mut results = Vec::new();
    for query in &args.query {
        for &threads in &args.parallelism {
            results.push(compare(args, *query, &path, threads.max(1))?);
        }
    }
    let text = json!({
        "events": args.events,
        "customers": args.customers,
        "bytes": bytes,
        "rounds": args.rounds,
        "datafusion": {
            "version": datafusion::DATAFUSION_VERSION,
            "settings": batch::SETTINGS,
        },
        "postrider": { "settings": streaming::SETTINGS },
        "results": results,
    });
    console::line(serde_json::to_string_pretty(&text).unwrap_or_default());
    Ok(())
}

/// Measures one query on both sides, in turns.
fn compare(args: &BenchArgs, query: BenchQuery, path: &Path, threads: usize) -> Outcome<Value> {
    let (mut streaming, mut batch) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        let one = measure(threads, streaming::run(query, path, threads))?;
        let other = measure(threads, batch::run(query, path, threads))?;
        if one.answer != other.answer {
            return Err(Failure::failed(format!(
                "the engines disagree on {}: postrider {:?}, datafusion {:?}",
                query.name(),
                one.answer,
                other.answer
            )));
        }
        console::note(&format!(
            "{}, {threads} threads, round {round}: postrider {:.3} s, datafusion {:.3} s",
            query.name(),
            one.wall_seconds,
            other.wall_seconds
        ));
        streaming.push(one);
        batch.push(other);
    }
    Ok(report(args, query, threads, &streaming, &batch))
}

/// The sum of the column `n`.
fn counted(rows: &RecordBatch) -> u64 {
    let column = rows.column_by_name("n").and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.map_or(0, |column| column.values().iter().sum::<i64>().unsigned_abs())
}

fn measure(threads: usize, run: impl Future<Output = Outcome<Answer>>) -> Outcome<Measured> {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let answer = block_on_threads(threads, run)??;
    Ok(Measured {
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu,
        answer,
    })
}

/// CPU time of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a benchmark")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

fn report(
    args: &BenchArgs,
    query: BenchQuery,
    threads: usize,
    streaming: &[Measured],
    batch: &[Measured],
) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let events = args.events as f64;
    let side = |runs: &[Measured]| {
        let wall = median(runs.iter().map(|run| run.wall_seconds));
        let cpu = median(runs.iter().map(|run| run.cpu_seconds));
        (wall, cpu)
    };
    let ((wall, cpu), (batch_wall, batch_cpu)) = (side(streaming), side(batch));
    json!({
        "query": query.name(),
        "sql": query.streaming(),
        "rows": streaming.first().map(|run| run.answer.rows),
        "parallelism": threads,
        "postrider": { "events_per_second": (events / wall).round(), "wall_seconds": rounded(wall), "cpu_seconds": rounded(cpu) },
        "datafusion": { "events_per_second": (events / batch_wall).round(), "wall_seconds": rounded(batch_wall), "cpu_seconds": rounded(batch_cpu) },
        "ratio_wall": rounded(batch_wall / wall),
        "ratio_cpu": rounded(batch_cpu / cpu),
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
