//! `postrider bench`: the same query over the same file by the engine and by plain DataFusion, in
//! turns in one process, so that the machine's mood hits both.

mod batch;
mod input;
mod queries;
mod state;
mod streaming;
mod table;

use std::{path::Path, time::Instant};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};

use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

pub(crate) use self::{input::BenchInput, queries::BenchQuery};
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
    if args.input.contains(&BenchInput::Parquet) && !batch::READS_PARQUET {
        let what = "there is nothing to compare Parquet with: DataFusion reads none in this build";
        return Err(Failure::failed(format!("{what}; build with --features parquet-bench")));
    }
    let dir = tempfile::tempdir()?;
    console::note(&format!("writing {} events", console::count(args.events)));
    let ndjson = dir.path().join("events.ndjson");
    input::write(&ndjson, args.events, args.customers)?;
    let parquet = dir.path().join("events.parquet");
    if args.input.contains(&BenchInput::Parquet) {
        input::convert(&ndjson, &parquet)?;
    }
    let queries = if args.all { BenchQuery::value_variants() } else { &args.query };
    let mut results = Vec::new();
    for &query in queries {
        for &input in &args.input {
            let path = if input == BenchInput::Parquet { &parquet } else { &ndjson };
            for &threads in &args.parallelism {
                let case = Case { query, input, path, threads: threads.max(1) };
                results.push(case.compare(args)?);
            }
        }
    }
    if args.markdown {
        console::line(table::markdown(&results));
        return Ok(());
    }
    let results: Vec<_> = results.iter().map(|result| result.json()).collect();
    let text = json!({
        "events": args.events,
        "customers": args.customers,
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

/// A query to measure, and on what.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    query: BenchQuery,
    input: BenchInput,
    path: &'a Path,
    threads: usize,
}

impl Case<'_> {
    /// Measures both sides, in turns.
    fn compare(self, args: &BenchArgs) -> Outcome<Compared> {
        let Self { query, input, path, threads } = self;
        let (mut streaming, mut batch) = (Vec::new(), Vec::new());
        for round in 1..=args.rounds {
            let one = measure(threads, streaming::run(query, input, path, threads))?;
            let other = measure(threads, batch::run(query, input, path, threads))?;
            if one.answer != other.answer {
                return Err(Failure::failed(format!(
                    "the engines disagree on {}: postrider {:?}, datafusion {:?}",
                    query.name(),
                    one.answer,
                    other.answer
                )));
            }
            console::note(&format!(
                "{} from {}, {threads} threads, round {round}: postrider {:.3} s, datafusion {:.3} s",
                query.name(),
                input.name(),
                one.wall_seconds,
                other.wall_seconds
            ));
            streaming.push(one);
            batch.push(other);
        }
        Ok(Compared::of(self, args, &streaming, &batch))
    }
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

/// What one side of a comparison came to: medians.
#[derive(Debug, Clone, Copy)]
struct Side {
    events_per_second: f64,
    wall_seconds: f64,
    cpu_seconds: f64,
}

impl Side {
    fn of(events: u64, runs: &[Measured]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let events = events as f64;
        let wall_seconds = median(runs.iter().map(|run| run.wall_seconds));
        let cpu_seconds = median(runs.iter().map(|run| run.cpu_seconds));
        Self { events_per_second: events / wall_seconds, wall_seconds, cpu_seconds }
    }

    fn json(self) -> Value {
        json!({
            "events_per_second": self.events_per_second.round(),
            "wall_seconds": rounded(self.wall_seconds),
            "cpu_seconds": rounded(self.cpu_seconds),
        })
    }
}

/// What a case came to.
#[derive(Debug, Clone, Copy)]
struct Compared {
    query: BenchQuery,
    input: BenchInput,
    threads: usize,
    rows: Option<u64>,
    postrider: Side,
    datafusion: Side,
}

impl Compared {
    fn of(case: Case<'_>, args: &BenchArgs, streaming: &[Measured], batch: &[Measured]) -> Self {
        Self {
            query: case.query,
            input: case.input,
            threads: case.threads,
            rows: streaming.first().map(|run| run.answer.rows),
            postrider: Side::of(args.events, streaming),
            datafusion: Side::of(args.events, batch),
        }
    }

    /// How many times as fast as DataFusion.
    fn ratio_wall(&self) -> f64 {
        self.datafusion.wall_seconds / self.postrider.wall_seconds
    }

    fn json(&self) -> Value {
        json!({
            "query": self.query.name(),
            "sql": self.query.streaming(),
            "input": self.input.name(),
            "rows": self.rows,
            "parallelism": self.threads,
            "postrider": self.postrider.json(),
            "datafusion": self.datafusion.json(),
            "ratio_wall": rounded(self.ratio_wall()),
            "ratio_cpu": rounded(self.datafusion.cpu_seconds / self.postrider.cpu_seconds),
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
