//! The benchmark's events: nine fields, about 430 bytes, Zipf-like customers, five seconds of disorder, and one event in a hundred
//! that was there before, as NDJSON and as Parquet.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_json::ReaderBuilder;
use clap::ValueEnum;
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use postrider_core::format_time;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::outcome::{Failure, Outcome};

/// Event time from one event to the next: 2,000 events a second.
const STEP_NS: i64 = 500_000;
/// 2026-01-01T00:00:00Z.
const START_NS: i64 = 1_767_225_600_000_000_000;
/// How far an event may be behind the newest one.
const DISORDER_NS: i64 = 5_000_000_000;

/// How far back an event that was there before is.
const REPEATED_FROM: usize = 1_000;

/// The format of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchInput {
    /// A JSON object a line
    Ndjson,
    /// Columns, compressed with Snappy
    Parquet,
}

impl BenchInput {
    /// The word for it, in SQL and on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    /// The format of a table that reads it.
    pub(super) const fn format(self) -> &'static str {
        match self {
            Self::Ndjson => "json",
            Self::Parquet => "parquet",
        }
    }
}

/// The columns, without the context that only NDJSON has.
pub(super) fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("event_id"),
        Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        text("customer_id"),
        text("event_type"),
        Field::new("amount", DataType::Float64, true),
        text("product_id"),
        text("url"),
        text("user_agent"),
    ]))
}

/// Writes the same events as Parquet, in row groups of the usual size.
pub(super) fn convert(ndjson: &Path, path: &Path) -> Outcome {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let failed = |error: parquet::errors::ParquetError| Failure::failed(error.to_string());
    let unread = |error: arrow::error::ArrowError| Failure::failed(error.to_string());
    let ndjson = BufReader::new(File::open(ndjson)?);
    let rows = ReaderBuilder::new(schema()).build(ndjson).map_err(unread)?;
    let mut writer =
        ArrowWriter::try_new(File::create(path)?, schema(), Some(properties)).map_err(failed)?;
    for batch in rows {
        writer.write(&batch.map_err(unread)?).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

/// Writes the events as NDJSON.
pub(super) fn write(path: &Path, events: u64, customers: u64) -> Outcome {
    const TYPES: [&str; 5] = ["page_view", "product_view", "add_to_cart", "purchase", "heartbeat"];
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut ids = VecDeque::with_capacity(REPEATED_FROM);
    for number in 0..events {
        let time = START_NS + i64::try_from(number).unwrap_or(i64::MAX) * STEP_NS
            - random.random_range(0..DISORDER_NS);
        // The square of a uniform number prefers low customers, as real shops do.
        let share: f64 = random.random();
        #[expect(clippy::cast_possible_truncation, reason = "a customer number")]
        #[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
        #[expect(clippy::cast_precision_loss, reason = "a customer number")]
        let customer = (share * share * customers as f64) as u64;
        let kind = TYPES[random.random_range(0..TYPES.len())];
        let amount = f64::from(random.random_range(100..50_000_u32)) / 100.0;
        let product = random.random_range(0..10_000_u32);
        if ids.len() == REPEATED_FROM {
            ids.pop_front();
        }
        let repeated = (random.random_range(0..100_u32) == 0).then(|| ids.front()).flatten();
        let id = repeated.copied().unwrap_or_else(|| random.random::<u128>());
        ids.push_back(id);
        let line = format!(
            "{{\"event_id\":\"{:032x}\",\"ts\":\"{}\",\"customer_id\":\"customer-{customer:07}\",\
             \"event_type\":\"{kind}\",\"amount\":{amount},\"product_id\":\"sku-{product:05}\",\
             \"url\":\"https://shop.example/products/sku-{product:05}?ref=newsletter&utm_campaign=spring\",\
             \"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36\",\
             \"context\":{{\"ip\":\"192.0.2.{}\",\"locale\":\"en-GB\"}}}}\n",
            id,
            format_time(time),
            number % 256,
        );
        file.write_all(line.as_bytes())?;
    }
    file.flush()?;
    Ok(())
}
