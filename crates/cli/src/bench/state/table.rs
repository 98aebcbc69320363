//! Rows that are computed from their numbers: each key once, then keys as Zipf's law has them, for ever.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray},
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use postrider_core::{
    Chunk, ChunkData, DataSink, Decoded, Decoder, Diagnostics, ErrorKind, PipelineName, Polled,
    Position, Reject, SinkError, SinkPosition, Source, SourceError,
};
use postrider_engine::{Connectors, SourceParts};
use postrider_plan::Table;

/// Rows of one chunk.
const CHUNK_ROWS: u64 = 65_536;

/// A row each microsecond of event time from 2026-01-01 on.
const FIRST_NS: i64 = 1_767_225_600_000_000_000;

/// The rows, until somebody stops them.
#[derive(Debug)]
pub(super) struct Rows {
    keys: u64,
    stopped: AtomicBool,
}

impl Rows {
    pub(super) const fn new(keys: u64, stopped: bool) -> Self {
        Self { keys, stopped: AtomicBool::new(stopped) }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The key of a row: `keys` to the power of a random number is distributed as 1/k.
    #[expect(clippy::cast_precision_loss, reason = "a random number")]
    #[expect(clippy::cast_possible_truncation, reason = "keys are few")]
    fn key(&self, row: u64) -> i64 {
        if row < self.keys {
            return row as i64;
        }
        let random = (mixed(row) >> 11) as f64 / (1_u64 << 53) as f64;
        (self.keys as f64).powf(random) as i64 - 1
    }
}

/// A number that looks random (`SplitMix64`).
const fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The tables of the benchmark.
pub(super) struct Tables(pub(super) Arc<Rows>);

impl Connectors for Tables {
    fn source(&self, _table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        let rows = Arc::clone(&self.0);
        Ok(SourceParts {
            source: Box::new(Numbers { rows: Arc::clone(&rows), at: 0 }),
            decoder: Arc::new(Computed { rows, schema }),
        })
    }

    fn sink(&self, _table: &Table, _schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(Nowhere))
    }

    fn print(&self, _schema: SchemaRef) -> Box<dyn DataSink> {
        Box::new(Nowhere)
    }

    fn dead_letters(&self, _pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics> {
        Ok(Box::new(Nowhere))
    }

    fn dead_letter_rows(
        &self,
        _table: &str,
        _rejects: &[Reject],
    ) -> Result<RecordBatch, SinkError> {
        let message = "no row of the benchmark is bad".to_owned();
        Err(SinkError { kind: ErrorKind::Bug, message })
    }
}

struct Numbers {
    rows: Arc<Rows>,
    at: u64,
}

#[async_trait]
impl Source for Numbers {
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        self.at = position.map_or(0, |position| position.offset);
        Ok(())
    }

    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError> {
        if until.is_none() && self.rows.stopped.load(Ordering::Relaxed) {
            return Ok(Polled::Empty);
        }
        let next = (self.at / CHUNK_ROWS + 1) * CHUNK_ROWS;
        let end = until.map_or(next, |until| next.min(until.offset));
        let (start, end) = (Position::at(self.at), Position::at(end));
        self.at = end.offset;
        Ok(Polled::Chunk(Chunk { start, end, data: ChunkData::Numbers }))
    }

    async fn ready(&mut self) {
        if self.rows.stopped.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug)]
struct Computed {
    rows: Arc<Rows>,
    schema: SchemaRef,
}

impl Decoder for Computed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let numbers = || chunk.start.offset..chunk.end.offset;
        let columns = self.schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "k" => Arc::new(Int64Array::from_iter_values(numbers().map(|n| self.rows.key(n)))),
                "ts" => {
                    let time = |n: u64| FIRST_NS.saturating_add_unsigned(n * 1_000);
                    Arc::new(TimestampNanosecondArray::from_iter_values(numbers().map(time)))
                }
                "v" => {
                    Arc::new(Int64Array::from_iter_values(numbers().map(|n| (n % 1_000) as i64)))
                }
                _ => {
                    let value = |n: u64| f64::from(u32::try_from(n % 10_000).unwrap_or(0)) * 0.01;
                    Arc::new(Float64Array::from_iter_values(numbers().map(value)))
                }
            }
        });
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns.collect());
        let rows =
            rows.map_err(|error| SourceError { kind: ErrorKind::Bug, message: error.to_string() })?;
        Ok(Decoded { rows, received_at: None, rejects: Vec::new() })
    }
}

/// Where nothing is written, because nothing fires.
struct Nowhere;

#[async_trait]
impl DataSink for Nowhere {
    async fn restore(&mut self, _committed: Option<SinkPosition>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&mut self, _rows: &RecordBatch) -> Result<(), SinkError> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        Ok(0)
    }
}
