//! DataFusion's side of the benchmark.

use std::{path::Path, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::{
    execution::context::{SessionConfig, SessionContext},
    prelude::JsonReadOptions,
};
use futures::StreamExt;

use super::{Answer, counted, queries::BenchQuery};
use crate::outcome::{Failure, Outcome};

/// How it ran.
pub(super) const SETTINGS: &str = "SessionConfig::new() with target_partitions = parallelism = runtime \
     threads, NDJSON file with the schema given, result streamed and counted; everything else default";

/// Runs the query as a batch.
pub(super) async fn run(query: BenchQuery, path: &Path, threads: usize) -> Outcome<Answer> {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let schema = Arc::new(Schema::new(vec![
        text("event_id"),
        Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        text("customer_id"),
        text("event_type"),
        Field::new("amount", DataType::Float64, true),
        text("product_id"),
        text("url"),
        text("user_agent"),
    ]));
    let config = SessionConfig::new().with_target_partitions(threads);
    let context = SessionContext::new_with_config(config);
    let options = JsonReadOptions::default().schema(&schema).file_extension(".ndjson");
    let path = path.to_str().ok_or_else(|| Failure::failed("the path is no UTF-8"))?;
    context.register_json("events", path, options).await?;
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
