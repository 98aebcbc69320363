//! From a chunk to routed batches: decoding, event time, watermark, chains, exchange. Pure, so that
//! several chunks of a source are prepared at once.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampNanosecondType},
};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use postrider_core::{
    Batch, Chunk, ChunkData, ClockTime, Decoder, Position, Reject, SourceError, Watermark,
    format_duration,
};

use super::{
    links::{Routed, Router},
    row_text::as_json,
};
use crate::{
    EngineError,
    chain::{Moment, new_batch},
    dataflow::SourceNode,
    limits::EVENT_TIMES,
};

/// Everything that preparing the chunks of one source needs.
pub(crate) struct Preparer {
    pub(crate) pipeline: String,
    pub(crate) node: SourceNode,
    pub(crate) decoder: Arc<dyn Decoder>,
    pub(crate) router: Router,
}

/// A prepared chunk.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) routed: Vec<Routed>,
    pub(crate) rows: u64,
    pub(crate) rejects: Vec<Reject>,
    /// The largest watermark that a row promises, and when that row was received.
    pub(crate) watermark: Option<(i64, Option<i64>)>,
    pub(crate) last_event_time: Option<i64>,
    /// Rows at or before the watermark.
    pub(crate) late: u64,
}

impl Prepared {
    fn absorb(&mut self, other: Self) {
        self.routed.extend(other.routed);
        self.rows += other.rows;
        self.late += other.late;
        self.rejects.extend(other.rejects);
        if other.watermark.map(|(value, _)| value) > self.watermark.map(|(value, _)| value) {
            self.watermark = other.watermark;
        }
        self.last_event_time = self.last_event_time.max(other.last_event_time);
    }
}

/// Some row of the chunk can't be computed.
struct RowFault {
    reason: &'static str,
    message: String,
}

impl From<DataFusionError> for RowFault {
    fn from(error: DataFusionError) -> Self {
        Self { reason: "compute_error", message: error.strip_backtrace() }
    }
}

impl From<arrow::error::ArrowError> for RowFault {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self { reason: "compute_error", message: error.to_string() }
    }
}

impl Preparer {
    /// Prepares a chunk of an epoch. If a row can't be computed, the records are taken one by one, so that only
    /// the bad one is rejected.
    pub(crate) fn prepare(&self, chunk: &Chunk, moment: Moment) -> Result<Prepared, EngineError> {
        let decoded = self.decoder.decode(chunk).map_err(|error| self.source_error(error))?;
        match self.compute(&decoded.rows, decoded.received_at.as_ref(), moment) {
            Ok(mut prepared) => {
                prepared.rejects.extend(decoded.rejects);
                Ok(prepared)
            }
            Err(fault) => self.isolate(chunk, moment, fault),
        }
    }

    fn source_error(&self, error: SourceError) -> EngineError {
        EngineError::Source { table: self.node.table.name.clone(), error }
    }

    fn isolate(
        &self,
        chunk: &Chunk,
        moment: Moment,
        fault: RowFault,
    ) -> Result<Prepared, EngineError> {
        let records = split_records(chunk);
        if records.is_empty() {
            let pipeline = self.pipeline.clone();
            return Err(EngineError::Compute { pipeline, message: fault.message });
        }
        let mut all = Prepared::default();
        for (chunk, raw) in records {
            let decoded = self.decoder.decode(&chunk).map_err(|error| self.source_error(error))?;
            all.rejects.extend(decoded.rejects);
            match self.compute(&decoded.rows, decoded.received_at.as_ref(), moment) {
                Ok(prepared) => all.absorb(prepared),
                Err(RowFault { reason, message }) => {
                    all.rejects.push(Reject { position: chunk.start, reason, message, raw });
                }
            }
        }
        Ok(all)
    }

    fn compute(
        &self,
        decoded: &RecordBatch,
        received_at: Option<&Int64Array>,
        moment: Moment,
    ) -> Result<Prepared, RowFault> {
        let count = decoded.num_rows();
        if count == 0 {
            return Ok(Prepared::default());
        }
        let mut columns = decoded.columns().to_vec();
        // They stay behind the columns that are generated.
        let kinds = if self.node.table.holds_changes() { columns.pop() } else { None };
        for expression in &self.node.generated {
            let column = expression.evaluate(decoded)?.into_array(count)?;
            let field = self.node.columns.field(columns.len());
            if column.null_count() > 0 && !field.is_nullable() {
                let name = field.name();
                let message = format!("column `{name}` is NOT NULL, but is computed to NULL");
                return Err(RowFault { reason: "missing_value", message });
            }
            columns.push(column);
        }
        columns.extend(kinds);
        let rows = new_batch(&self.node.columns, columns, count)?;
        let mut prepared = Prepared { rows: count as u64, ..Prepared::default() };
        let times = match &self.node.event_time {
            None => received_at.map_or_else(
                || TimestampNanosecondArray::from_value(0, count),
                |received| received.reinterpret_cast::<TimestampNanosecondType>(),
            ),
            Some(event_time) => {
                let times = nanoseconds(rows.column(event_time.column))?;
                let (first, last) = (arrow::compute::min(&times), arrow::compute::max(&times));
                let known =
                    |time: Option<i64>| time.is_some_and(|time| EVENT_TIMES.contains(&time));
                // NULL: what a coarser unit holds does not fit into nanoseconds.
                if times.null_count() > 0 || !known(first) || !known(last) {
                    let column = self.node.columns.field(event_time.column).name();
                    let message = format!("the event time `{column}` is not in 1678 to 2261");
                    return Err(RowFault { reason: "out_of_range", message });
                }
                self.check_skew(event_time.column, last, moment.clock)?;
                let promised = event_time.watermark.evaluate(&rows)?.into_array(count)?;
                prepared.watermark = largest(&nanoseconds(&promised)?, received_at);
                prepared.last_event_time = last;
                // What a row was before a change is older than that, and nobody drops it.
                let can_be_late = !self.node.table.holds_changes();
                if can_be_late
                    && first <= Some(moment.watermark.0)
                    && moment.watermark != Watermark::MIN
                {
                    let late = times.values().iter().filter(|&&time| time <= moment.watermark.0);
                    prepared.late = late.count() as u64;
                }
                times
            }
        };
        prepared.routed = self.router.route(&Batch { rows, times }, moment)?;
        Ok(prepared)
    }

    /// One event time from far ahead would complete every window before it.
    fn check_skew(
        &self,
        column: usize,
        last: Option<i64>,
        clock: ClockTime,
    ) -> Result<(), RowFault> {
        let Some(skew) = self.node.table.common.max_future_skew else { return Ok(()) };
        if last.is_none_or(|last| last <= clock.0.saturating_add(skew)) {
            return Ok(());
        }
        let column = self.node.columns.field(column).name();
        let skew = format_duration(skew);
        let message = format!("the event time `{column}` is more than {skew} ahead of the clock");
        Err(RowFault { reason: "future_skew", message })
    }
}

fn nanoseconds(
    column: &arrow::array::ArrayRef,
) -> Result<TimestampNanosecondArray, arrow::error::ArrowError> {
    let wanted = DataType::Timestamp(TimeUnit::Nanosecond, None);
    if *column.data_type() == wanted {
        return Ok(column.as_primitive::<TimestampNanosecondType>().clone());
    }
    Ok(cast(column, &wanted)?.as_primitive::<TimestampNanosecondType>().clone())
}

fn largest(
    promised: &TimestampNanosecondArray,
    received_at: Option<&Int64Array>,
) -> Option<(i64, Option<i64>)> {
    let value = arrow::compute::max(promised)?;
    let received = received_at.and_then(|received: &Int64Array| {
        let row = promised.iter().position(|other| other == Some(value))?;
        received.is_valid(row).then(|| received.value(row))
    });
    Some((value, received))
}

/// The records of a chunk, each as a chunk of its own with its bytes.
fn split_records(chunk: &Chunk) -> Vec<(Chunk, Bytes)> {
    match &chunk.data {
        ChunkData::Numbers => Vec::new(),
        ChunkData::Rows(rows) => (0..rows.num_rows())
            .map(|row| {
                let offset = chunk.start.offset + row as u64;
                let start = Position { part: chunk.start.part.clone(), offset };
                let row = rows.slice(row, 1);
                // What JSON can't hold is shown as nothing.
                let text = as_json(&row).unwrap_or_default();
                (Chunk { start, end: chunk.end.clone(), data: ChunkData::Rows(row) }, text)
            })
            .collect(),
        ChunkData::Records(records) => records
            .iter()
            .map(|record| {
                let start = record.position.clone();
                let data = ChunkData::Records(vec![record.clone()]);
                (Chunk { start, end: chunk.end.clone(), data }, record.body.clone())
            })
            .collect(),
        ChunkData::Lines(bytes) => {
            let mut records = Vec::new();
            let mut from = 0;
            while from < bytes.len() {
                let length = bytes[from..].iter().position(|&byte| byte == b'\n');
                let to = length.map_or(bytes.len(), |length| from + length + 1);
                let line = bytes.slice(from..to);
                let offset = chunk.start.offset + from as u64;
                let start = Position { part: chunk.start.part.clone(), offset };
                let data = ChunkData::Lines(line.clone());
                records.push((Chunk { start, end: chunk.end.clone(), data }, line));
                from = to;
            }
            records
        }
    }
}

impl fmt::Debug for Preparer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparer").field("table", &self.node.table.name).finish_non_exhaustive()
    }
}
