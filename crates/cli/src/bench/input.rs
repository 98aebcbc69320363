//! The benchmark's events: nine fields, about 430 bytes, customers by Zipf (exponent 1/2), five seconds of disorder, and one event in a hundred
//! that was there before.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray, StructArray},
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use arrow_json::LineDelimitedWriter;
use clap::ValueEnum;
use postrider_core::format_time;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::outcome::Outcome;

/// Event time from one event to the next: 2,000 events a second.
const STEP_NS: i64 = 500_000;
/// 2026-01-01T00:00:00Z.
const START_NS: i64 = 1_767_225_600_000_000_000;
/// How far an event may be behind the newest one.
const DISORDER_NS: i64 = 5_000_000_000;

/// How far a late event is behind the others.
const LATE_NS: i64 = 600_000_000_000;

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

    /// Where a table of this format is.
    pub(super) fn file(self, dir: &Path, table: &str) -> PathBuf {
        dir.join(format!("{table}.{}", self.name()))
    }
}

/// The table for Postrider, over NDJSON.
pub(super) const DECLARATION: &str = "CREATE TABLE events (
  event_id TEXT, ts TIMESTAMP NOT NULL, customer_id TEXT NOT NULL, event_type TEXT, amount DOUBLE, product_id TEXT, url TEXT,
  user_agent TEXT, context JSON, WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'single_file', path = 'events.ndjson', format = 'json');";

/// The columns of NDJSON, as DataFusion reads them.
pub(super) fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let context = Fields::from(vec![text("ip"), text("locale")]);
    Arc::new(Schema::new(vec![
        text("event_id"),
        Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        text("customer_id"),
        text("event_type"),
        Field::new("amount", DataType::Float64, true),
        text("product_id"),
        text("url"),
        text("user_agent"),
        Field::new("context", DataType::Struct(context), true),
    ]))
}

/// The columns of Parquet: what is a struct in NDJSON is a text with JSON there.
pub(super) fn flat(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Struct(_) => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// Rows of NDJSON as they stand in Parquet.
pub(super) fn with_text(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().map(|column| match column.as_struct_opt() {
        Some(parts) => Ok(Arc::new(json_texts(parts)?) as ArrayRef),
        None => Ok(Arc::clone(column)),
    });
    RecordBatch::try_new(flat(&rows.schema()), columns.collect::<Result<_, ArrowError>>()?)
}

/// A JSON object for each row.
fn json_texts(parts: &StructArray) -> Result<StringArray, ArrowError> {
    let mut lines = LineDelimitedWriter::new(Vec::new());
    lines.write(&RecordBatch::from(parts))?;
    lines.finish()?;
    let text = String::from_utf8(lines.into_inner())
        .map_err(|error| ArrowError::JsonError(error.to_string()))?;
    Ok(StringArray::from(text.lines().collect::<Vec<_>>()))
}

/// Writes the events as NDJSON, of which `late` in a thousand are ten minutes late.
pub(super) fn write(path: &Path, events: u64, customers: u64, late: u32) -> Outcome {
    const TYPES: [&str; 5] = ["page_view", "product_view", "add_to_cart", "purchase", "heartbeat"];
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut ids = VecDeque::with_capacity(REPEATED_FROM);
    for number in 0..events {
        let mut time = START_NS + i64::try_from(number).unwrap_or(i64::MAX) * STEP_NS
            - random.random_range(0..DISORDER_NS);
        if late > 0 && random.random_range(0..1_000_u32) < late {
            time -= LATE_NS;
        }
        // The square of a uniform number has the density 1 / sqrt(x): Zipf's law with exponent 1/2. With exponent 1 one customer
        // would have every sixteenth event, and a join within half an hour billions of pairs.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, AsArray, RecordBatch, StringArray, StructArray},
        datatypes::DataType,
    };

    use super::{flat, with_text};

    #[test]
    fn a_struct_becomes_the_text_of_an_object() {
        let text = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let parts = RecordBatch::try_from_iter([
            ("ip", text(vec![Some("192.0.2.1"), Some("192.0.2.2")])),
            ("locale", text(vec![Some("en-GB"), Some("de-DE")])),
        ]);
        let context = Arc::new(StructArray::from(parts.unwrap())) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("context", context)]).unwrap();
        let rows = with_text(&rows).unwrap();
        assert_eq!(rows.schema(), flat(&rows.schema()));
        assert_eq!(*rows.schema().field(0).data_type(), DataType::Utf8);
        let texts = rows.column(0).as_string::<i32>();
        assert_eq!(texts.value(0), r#"{"ip":"192.0.2.1","locale":"en-GB"}"#);
        assert_eq!(texts.value(1), r#"{"ip":"192.0.2.2","locale":"de-DE"}"#);
    }
}
