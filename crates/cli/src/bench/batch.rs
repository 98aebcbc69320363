//! DataFusion's side of the benchmark.

use std::path::Path;

use datafusion::{
    execution::context::{SessionConfig, SessionContext},
    prelude::JsonReadOptions,
};
use futures::StreamExt;

use super::{
    Answer, counted,
    input::{self, BenchInput},
    queries::BenchQuery,
};
use crate::outcome::{Failure, Outcome};

/// How it ran.
pub(super) const SETTINGS: &str = "SessionConfig::new() with target_partitions = parallelism = runtime \
     threads, NDJSON file with the schema given, result streamed and counted; everything else default";

/// Whether DataFusion can read Parquet in this build; `run` has no need for that.
pub(super) const READS_PARQUET: bool = cfg!(feature = "parquet-bench");

/// Runs the query as a batch.
pub(super) async fn run(
    query: BenchQuery,
    input: BenchInput,
    path: &Path,
    threads: usize,
) -> Outcome<Answer> {
    let config = SessionConfig::new().with_target_partitions(threads);
    let context = SessionContext::new_with_config(config);
    let path = path.to_str().ok_or_else(|| Failure::failed("the path is no UTF-8"))?;
    register(&context, input, path).await?;
    let frame = context.sql(query.batch()).await?;
    let mut stream = frame.execute_stream().await?;
    let mut answer = Answer::default();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        answer.rows += batch.num_rows() as u64;
        answer.events += counted(&batch);
    }
    Ok(answer)
}

async fn register(context: &SessionContext, input: BenchInput, path: &str) -> Outcome {
    match input {
        BenchInput::Ndjson => {
            let schema = input::schema();
            let options = JsonReadOptions::default().schema(&schema).file_extension(".ndjson");
            Ok(context.register_json("events", path, options).await?)
        }
        #[cfg(feature = "parquet-bench")]
        BenchInput::Parquet => {
            let options = datafusion::prelude::ParquetReadOptions::default();
            Ok(context.register_parquet("events", path, options).await?)
        }
        #[cfg(not(feature = "parquet-bench"))]
        BenchInput::Parquet => Err(Failure::failed(
            "DataFusion reads no Parquet in this build: build it with --features parquet-bench",
        )),
    }
}
