//! `generator`: rows computed from their number.
//!
//! Row `n` has a key, a pseudo-random number below `keys` that depends on `seed` and `n` alone.
//! A column gets its value by its type and name:
//!
//! | column | value in row `n` |
//! |---|---|
//! | TIMESTAMP, DATE | `start + n * interval` |
//! | whole number named `key`, `.._key`, `.._id` | the key |
//! | any other whole number | `n` (its remainder where the type is too small) |
//! | TEXT | the name without `_id`, and the key: `user_id` is `user-17` |
//! | FLOAT, DOUBLE, DECIMAL | pseudo-random from 0 up to 100 |
//! | BOOLEAN | pseudo-random |
//!
//! With `events_per_second` rows become due as the clock moves, in steps of 10 ms; a replay is not
//! held up. With `rows` the table is bounded.

mod values;

use std::{future::pending, sync::Arc};

use arrow_schema::Schema;
use async_trait::async_trait;
use postrider_core::{
    Chunk, ChunkData, Clock, ClockTime, Diagnostic, OptionValue, Polled, Position, Source,
    SourceError, TableOptions,
};

use self::values::GeneratorDecoder;
use crate::{
    format::json::parse_time,
    limits::{GENERATED_ROWS, PACED_CHUNKS_PER_SECOND},
    registry::{Faults, SourceParts, SourceSpec},
};

/// 2026-01-01T00:00:00Z: any fixed time would do, so that runs repeat.
const DEFAULT_START: i64 = 1_767_225_600_000_000_000;

const SECOND: i64 = 1_000_000_000;

/// The options of `generator`.
#[derive(Debug, Clone)]
pub(crate) struct GeneratorOptions {
    rows: Option<u64>,
    per_second: Option<u64>,
    start: i64,
    interval: i64,
    keys: u64,
    seed: u64,
}

impl GeneratorOptions {
    pub(crate) fn take(mut options: TableOptions) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let rows = faults.keep(at_least(&mut options, "rows", 0)).flatten();
        let per_second = faults.keep(at_least(&mut options, "events_per_second", 1)).flatten();
        let keys = faults.keep(at_least(&mut options, "keys", 1)).flatten();
        let seed = faults.keep(options.number("seed")).flatten();
        let interval = faults.keep(options.interval("interval")).flatten();
        let start = faults.keep(start_time(&mut options));
        faults.end(options)?;
        let steps = per_second.and_then(|rate| i64::try_from(rate).ok()).unwrap_or(1);
        Ok(Self {
            rows,
            per_second,
            start: start.unwrap_or(DEFAULT_START),
            interval: interval.unwrap_or_else(|| SECOND / steps.max(1)),
            keys: keys.unwrap_or(1000),
            seed: seed.unwrap_or(0).cast_unsigned(),
        })
    }
}

fn at_least(
    options: &mut TableOptions,
    name: &'static str,
    least: u64,
) -> Result<Option<u64>, Diagnostic> {
    let range = options.peek(name).map(|option| option.range.clone());
    let Some(number) = options.number(name)? else { return Ok(None) };
    match u64::try_from(number) {
        Ok(number) if number >= least => Ok(Some(number)),
        _ => Err(Diagnostic::error("PR0301", format!("option `{name}` can't be {number}"))
            .at_option(range)
            .hint(format!("it takes a whole number from {least} up"))),
    }
}

fn start_time(options: &mut TableOptions) -> Result<i64, Diagnostic> {
    let Some(option) = options.take("start") else { return Ok(DEFAULT_START) };
    let time = match &option.value {
        OptionValue::Text(text) => parse_time(text),
        _ => None,
    };
    time.ok_or_else(|| {
        Diagnostic::error("PR0301", "option `start` is no time")
            .at(option.range.clone())
            .hint("write start = '2026-01-01T00:00:00Z'")
    })
}

/// Checks the options and that every column can be generated.
pub(crate) fn check(options: TableOptions, schema: &Schema) -> Result<(), Vec<Diagnostic>> {
    GeneratorOptions::take(options)?;
    values::check(schema)
}

/// Opens a `generator` table.
pub(crate) fn open(spec: SourceSpec<'_>) -> Result<SourceParts, Vec<Diagnostic>> {
    let options = GeneratorOptions::take(spec.options)?;
    values::check(&spec.schema)?;
    let bounded = options.rows.is_some();
    let source = GeneratorSource::new(&options, spec.clock);
    let decoder = Arc::new(GeneratorDecoder::new(spec.schema, options));
    Ok(SourceParts { source: Box::new(source), decoder, bounded })
}

/// Hands out row numbers.
#[derive(Debug)]
pub(crate) struct GeneratorSource {
    /// One past the last row.
    end: u64,
    per_second: Option<u64>,
    /// Chunks end at multiples of this.
    block: u64,
    clock: Arc<dyn Clock>,
    next: u64,
    /// When live reading began, and at which row.
    began: Option<(ClockTime, u64)>,
}

impl GeneratorSource {
    pub(crate) fn new(options: &GeneratorOptions, clock: Arc<dyn Clock>) -> Self {
        let block = options.per_second.map_or(GENERATED_ROWS, |rate| {
            (rate / PACED_CHUNKS_PER_SECOND).clamp(1, GENERATED_ROWS)
        });
        let (end, per_second) = (options.rows.unwrap_or(u64::MAX), options.per_second);
        Self { end, per_second, block, clock, next: 0, began: None }
    }

    /// The end of the next chunk.
    fn block_end(&self) -> u64 {
        (self.next / self.block).saturating_add(1).saturating_mul(self.block).min(self.end)
    }

    /// When the next chunk is due, for a paced table that is read live.
    fn due(&self) -> Option<ClockTime> {
        let (rate, (began, first)) = self.per_second.zip(self.began)?;
        let rows = u128::from(self.block_end().saturating_sub(first));
        let wait = (rows * 1_000_000_000).div_ceil(u128::from(rate));
        Some(ClockTime(began.0.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))))
    }
}

#[async_trait]
impl Source for GeneratorSource {
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        self.next = position.map_or(0, |position| position.offset);
        self.began = None;
        Ok(())
    }

    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError> {
        if self.next >= self.end {
            return Ok(Polled::Ended);
        }
        let mut end = self.block_end();
        if let Some(until) = until {
            end = end.min(until.offset);
        } else {
            self.began.get_or_insert_with(|| (self.clock.now(), self.next));
            if self.due().is_some_and(|due| self.clock.now() < due) {
                return Ok(Polled::Empty);
            }
        }
        if end <= self.next {
            return Ok(Polled::Empty);
        }
        let start = Position::at(std::mem::replace(&mut self.next, end));
        Ok(Polled::Chunk(Chunk { start, end: Position::at(end), data: ChunkData::Numbers }))
    }

    async fn ready(&mut self) {
        if self.next >= self.end {
            pending().await
        } else if let Some(due) = self.due() {
            self.clock.sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests;
