//! `postrider bench`: the same query over the same file by the engine and by plain DataFusion, in
//! turns in one process, so that the machine's mood hits both.

mod batch;
mod input;
mod queries;
mod state;
mod streaming;
mod suite;
mod table;

use std::{ops::AddAssign, path::Path, time::Instant};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use self::suite::{Question, Suite};
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

/// What a run computed: rows, those less that were taken back, and the sum of their column `n`, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) rows: i64,
    pub(crate) events: i64,
}

impl AddAssign for Answer {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.events += other.events;
    }
}

/// Generates the files, measures, prints JSON.
pub(crate) fn run(args: &BenchArgs) -> Outcome {
    if args.state {
        return state::run(args);
    }
    if args.input.contains(&BenchInput::Parquet) && !batch::READS_PARQUET {
        let what = "there is nothing to compare Parquet with: DataFusion reads none in this build";
        return Err(Failure::failed(format!("{what}; build with --features parquet-bench")));
    }
    let dir = tempfile::tempdir()?;
    let suite = Suite::of(args)?;
    console::note(&format!("writing {} events", console::count(args.events)));
    suite.write(dir.path(), args)?;
    let mut results = Vec::new();
    for question in &suite.questions {
        for &input in &args.input {
            for &threads in &args.parallelism {
                let threads = threads.max(1);
                let case = Case { suite: &suite, question, input, dir: dir.path(), threads };
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
        "late_in_a_thousand": args.late,
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

/// A question to measure, and on what.
#[derive(Clone, Copy)]
struct Case<'a> {
    suite: &'a Suite,
    question: &'a Question,
    input: BenchInput,
    dir: &'a Path,
    threads: usize,
}

impl Case<'_> {
    /// Measures both sides, in turns.
    fn compare(self, args: &BenchArgs) -> Outcome<Compared> {
        let Self { suite, question, input, dir, threads } = self;
        let name = &question.name;
        let (mut streaming, mut batch) = (Vec::new(), Vec::new());
        for round in 1..=args.rounds {
            let one = measure(threads, streaming::run(suite, question, input, dir, threads))?;
            let other = measure(threads, batch::run(suite, question, input, dir, threads))?;
            // Batch knows no late rows.
            if (args.late == 0 || question.is_timeless) && one.answer != other.answer {
                return Err(Failure::failed(format!(
                    "the engines disagree on {name}: postrider {:?}, datafusion {:?}",
                    one.answer, other.answer
                )));
            }
            console::note(&format!(
                "{name} from {}, {threads} threads, round {round}: postrider {:.3} s, datafusion {:.3} s",
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

/// What rows come to. A changelog has the kinds of its rows in front.
fn counted(rows: &RecordBatch) -> Answer {
    let kinds = match rows.schema().fields().first() {
        Some(first) if first.name() == "op" => rows.columns().first(),
        _ => None,
    };
    if let Some(kinds) = kinds.and_then(|column| column.as_string_opt::<i32>()) {
        let sign = |kind: &str| if kind.starts_with('+') { 1 } else { -1 };
        return Answer { rows: kinds.iter().flatten().map(sign).sum(), events: 0 };
    }
    let column = rows.column_by_name("n").and_then(|column| column.as_primitive_opt::<Int64Type>());
    Answer {
        rows: i64::try_from(rows.num_rows()).unwrap_or(i64::MAX),
        events: column.map_or(0, |column| column.values().iter().sum()),
    }
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
#[derive(Debug, Clone)]
struct Compared {
    name: String,
    sql: &'static str,
    input: BenchInput,
    threads: usize,
    rows: Option<i64>,
    postrider: Side,
    datafusion: Side,
}

impl Compared {
    fn of(case: Case<'_>, args: &BenchArgs, streaming: &[Measured], batch: &[Measured]) -> Self {
        Self {
            name: case.question.name.clone(),
            sql: case.question.streaming,
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
            "query": self.name,
            "sql": self.sql,
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
