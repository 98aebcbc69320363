//! DataFusion's side of the benchmark.

use std::path::Path;

use datafusion::{
    execution::context::{SessionConfig, SessionContext},
    prelude::JsonReadOptions,
};
use futures::StreamExt;

use super::{
    Answer, counted,
    input::BenchInput,
    suite::{BenchTable, Question, Suite},
};
use crate::outcome::{Failure, Outcome};

/// How it ran.
pub(super) const SETTINGS: &str = "SessionConfig::new() with target_partitions = parallelism = runtime \
     threads, NDJSON file with the schema given, result streamed and counted; the functions of datafusion-functions-json registered; everything else default";

/// Whether DataFusion can read Parquet in this build; `run` has no need for that.
pub(super) const READS_PARQUET: bool = cfg!(feature = "parquet-bench");

/// Runs the query as a batch.
pub(super) async fn run(
    suite: &Suite,
    question: &Question,
    input: BenchInput,
    dir: &Path,
    threads: usize,
) -> Outcome<Answer> {
    let config = SessionConfig::new().with_target_partitions(threads);
    let mut context = SessionContext::new_with_config(config);
    datafusion_functions_json::register_all(&mut context)?;
    for table in &suite.tables {
        register(&context, input, dir, table).await?;
    }
    let frame = context.sql(question.batch(input)).await?;
    let mut stream = frame.execute_stream().await?;
    let mut answer = Answer::default();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        answer += counted(&batch);
    }
    Ok(answer)
}

async fn register(
    context: &SessionContext,
    input: BenchInput,
    dir: &Path,
    table: &BenchTable,
) -> Outcome {
    let path = input.file(dir, &table.name);
    let path = path.to_str().ok_or_else(|| Failure::failed("the path is no UTF-8"))?;
    let name = table.name.as_str();
    match input {
        BenchInput::Ndjson => {
            let options =
                JsonReadOptions::default().schema(&table.schema).file_extension(".ndjson");
            Ok(context.register_json(name, path, options).await?)
        }
        #[cfg(feature = "parquet-bench")]
        BenchInput::Parquet => {
            let options = datafusion::prelude::ParquetReadOptions::default();
            Ok(context.register_parquet(name, path, options).await?)
        }
        #[cfg(not(feature = "parquet-bench"))]
        BenchInput::Parquet => Err(Failure::failed(
            "DataFusion reads no Parquet in this build: build it with --features parquet-bench",
        )),
    }
}
