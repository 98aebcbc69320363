//! What is asked of both sides: tables in files, and questions about them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::Path,
};

use arrow::datatypes::SchemaRef;
use arrow_json::ReaderBuilder;
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use postrider_core::PipelineName;
use postrider_nexmark::{QUERIES, TABLES, Workload, side_input};

use super::{
    input::{self, BenchInput},
    queries::BenchQuery,
};
use crate::{
    args::BenchArgs,
    outcome::{Failure, Outcome},
};

/// Nexmark's first event, its seed, and the time from one event to the next: 10,000 events a second.
const NEXMARK: Workload = Workload {
    seed: 1,
    events: 0,
    start_ns: 1_767_225_580_000_000_000,
    step_ns: 100_000,
    disorder_ns: 4_000_000_000,
};

/// A question about the tables.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) name: String,
    /// For Postrider.
    pub(super) streaming: &'static str,
    /// For DataFusion over NDJSON, and over Parquet.
    pub(super) batch: [&'static str; 2],
    /// Whether late events give the same rows as others, so that both sides agree about them.
    pub(super) is_timeless: bool,
}

impl Question {
    pub(super) const fn batch(&self, input: BenchInput) -> &'static str {
        let [ndjson, parquet] = self.batch;
        match input {
            BenchInput::Ndjson => ndjson,
            BenchInput::Parquet => parquet,
        }
    }
}

/// A table in a file beside the others, `<name>.ndjson` or `<name>.parquet`.
#[derive(Debug, Clone)]
pub(super) struct BenchTable {
    pub(super) name: String,
    /// Its columns in NDJSON, for DataFusion.
    pub(super) schema: SchemaRef,
}

/// Tables, and what is asked about them.
pub(super) struct Suite {
    /// The declarations for Postrider, over NDJSON.
    declarations: String,
    pub(super) tables: Vec<BenchTable>,
    pub(super) questions: Vec<Question>,
}

impl Suite {
    /// What the command line asks for.
    ///
    /// # Errors
    /// Nexmark's tables can't be planned, which a build would find out.
    pub(super) fn of(args: &BenchArgs) -> Outcome<Self> {
        if args.nexmark { Self::nexmark() } else { Ok(Self::shop(args)) }
    }

    fn shop(args: &BenchArgs) -> Self {
        let queries =
            if args.all { <BenchQuery as clap::ValueEnum>::value_variants() } else { &args.query };
        let questions = queries.iter().map(|query| Question {
            name: query.name(),
            streaming: query.streaming(),
            batch: [BenchInput::Ndjson, BenchInput::Parquet].map(|input| query.batch(input)),
            is_timeless: query.is_timeless(),
        });
        Self {
            declarations: input::DECLARATION.to_owned(),
            tables: vec![BenchTable { name: "events".to_owned(), schema: input::schema() }],
            questions: questions.collect(),
        }
    }

    fn nexmark() -> Outcome<Self> {
        let name = PipelineName("nexmark".to_owned());
        let program = postrider_sql::plan_tables(TABLES, name)?;
        let tables = program.tables.values();
        let results = "CREATE TABLE results WITH (connector = 'blackhole'); INSERT INTO results";
        let runs = |sql: &str| {
            let sql = format!("{TABLES} {results} {sql};");
            postrider_sql::plan_program(&sql, PipelineName("nexmark".to_owned())).is_ok()
        };
        let questions = QUERIES.iter().filter(|query| runs(query.sql)).map(|query| Question {
            name: query.name.to_owned(),
            streaming: query.sql,
            batch: [query.batch; 2],
            is_timeless: false,
        });
        Ok(Self {
            declarations: TABLES.to_owned(),
            tables: tables
                .map(|table| BenchTable { name: table.name.clone(), schema: table.schema() })
                .collect(),
            questions: questions.collect(),
        })
    }

    /// The declarations over files of a format.
    pub(super) fn declarations(&self, input: BenchInput) -> String {
        match input {
            BenchInput::Ndjson => self.declarations.clone(),
            BenchInput::Parquet => self
                .declarations
                .replace(".ndjson', format = 'json'", ".parquet', format = 'parquet'"),
        }
    }

    /// Writes the files that the command line asks for into `dir`.
    pub(super) fn write(&self, dir: &Path, args: &BenchArgs) -> Outcome {
        if args.nexmark {
            write_nexmark(dir, args.events)?;
        } else {
            let path = BenchInput::Ndjson.file(dir, "events");
            input::write(&path, args.events, args.customers, args.late)?;
        }
        if args.input.contains(&BenchInput::Parquet) {
            for table in &self.tables {
                convert(dir, table)?;
            }
        }
        Ok(())
    }
}

fn write_nexmark(dir: &Path, events: u64) -> Outcome {
    let mut files = BTreeMap::new();
    for name in ["person", "auction", "bid"] {
        let file = File::create(BenchInput::Ndjson.file(dir, name))?;
        files.insert(name, BufWriter::with_capacity(1 << 20, file));
    }
    for event in (Workload { events, ..NEXMARK }).events() {
        let line = event.line().map_err(|error| Failure::failed(error.to_string()))?;
        if let Some(file) = files.get_mut(event.table()) {
            writeln!(file, "{line}")?;
        }
    }
    for file in files.values_mut() {
        file.flush()?;
    }
    let lines: Vec<String> = side_input().collect();
    Ok(std::fs::write(BenchInput::Ndjson.file(dir, "side_input"), lines.join("\n") + "\n")?)
}

/// Writes a table's rows as Parquet too, in row groups of the usual size.
fn convert(dir: &Path, table: &BenchTable) -> Outcome {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let failed = |error: parquet::errors::ParquetError| Failure::failed(error.to_string());
    let unread = |error: arrow::error::ArrowError| Failure::failed(error.to_string());
    let ndjson = BufReader::new(File::open(BenchInput::Ndjson.file(dir, &table.name))?);
    let rows = ReaderBuilder::new(SchemaRef::clone(&table.schema)).build(ndjson).map_err(unread)?;
    let schema = input::flat(&table.schema);
    let file = File::create(BenchInput::Parquet.file(dir, &table.name))?;
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
    for batch in rows {
        let batch = input::with_text(&batch.map_err(unread)?).map_err(unread)?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}
