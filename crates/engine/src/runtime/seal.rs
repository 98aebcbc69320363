//! An epoch in the making: what its tasks reported, and the frames that seal it.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use postrider_core::{Barrier, ClockTime, EpochKind, SubjectId, Watermark, WorkspaceId};
use postrider_store::{
    EpochSealed, NewFrame, SealKind, SinkSeal, SourceSeal, SourceStatus, TriggersRecord,
};

use super::report::{SinkReport, SourceReport, StageReport};
use crate::{
    limits::{TRIGGER_APPEND_BYTES, TRIGGER_FRAME_BYTES, TRIGGER_ROWS_PER_FRAME},
    watermark::Progress,
};

/// An epoch between its cut and its seal.
#[derive(Debug)]
pub(crate) struct OpenEpoch {
    pub(crate) barrier: Barrier,
    /// When it was cut (wall clock).
    pub(crate) cut_at: ClockTime,
    pub(crate) sources: BTreeMap<usize, SourceReport>,
    pub(crate) stages: BTreeMap<(usize, usize), StageReport>,
    pub(crate) sinks: BTreeMap<usize, SinkReport>,
}

/// The size of a dataflow: how many reports make an epoch complete.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) sources: Vec<String>,
    /// What each stage is, in words.
    pub(crate) stages: Vec<String>,
    /// What each stage's state is kept under.
    pub(crate) identities: Vec<String>,
    pub(crate) sinks: Vec<String>,
    /// Instances of every stage.
    pub(crate) shards: usize,
}

impl OpenEpoch {
    pub(crate) fn new(barrier: Barrier, cut_at: ClockTime) -> Self {
        Self {
            barrier,
            cut_at,
            sources: BTreeMap::new(),
            stages: BTreeMap::new(),
            sinks: BTreeMap::new(),
        }
    }

    /// Whether every task reached the barrier.
    pub(crate) fn is_complete(&self, shape: &Shape) -> bool {
        self.sources.len() == shape.sources.len()
            && self.stages.len() == shape.stages.len() * shape.shards
            && self.sinks.len() == shape.sinks.len()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.sources.values().map(|report| report.rows).sum()
    }

    pub(crate) fn rejects(&self) -> u64 {
        let sources = self.sources.values().map(|report| report.rejects.len());
        let stages = self.stages.values().map(|report| report.rejects.len());
        sources.chain(stages).map(|count| count as u64).sum()
    }

    pub(crate) fn late_rows(&self) -> u64 {
        self.stages.values().map(|report| report.late_rows).sum()
    }

    pub(crate) fn counted_late(&self) -> u64 {
        self.stages.values().map(|report| report.counted_late).sum()
    }

    pub(crate) fn trigger_rows(&self) -> u64 {
        let batches = self.sinks.values().flat_map(|report| &report.rows);
        batches.map(|rows| rows.num_rows() as u64).sum()
    }

    /// The watermark behind the last operator: the smallest of all sinks.
    pub(crate) fn watermark(&self) -> Watermark {
        self.sinks.values().map(|report| report.watermark).min().unwrap_or(Watermark::MIN)
    }

    /// The smallest watermark at which some operator would emit.
    pub(crate) fn next_timer(&self) -> Option<Watermark> {
        self.stages.values().filter_map(|report| report.next_timer).min()
    }

    /// The first reading of the clock at which some operator would emit.
    pub(crate) fn next_clock(&self) -> Option<ClockTime> {
        self.stages.values().filter_map(|report| report.next_clock).min()
    }

    /// When the event that moved the watermark came, or the clock was read that did (wall clock); 0 if it did not move.
    pub(crate) fn moved_at(&self, before: Watermark) -> i64 {
        if self.watermark() == before {
            return 0;
        }
        let event = self.sources.values().filter_map(|report| report.moved_at).max();
        event.unwrap_or(self.cut_at.0)
    }

    /// The record that seals this epoch.
    pub(crate) fn record(&self, pipeline: &str, shape: &Shape, before: Watermark) -> EpochSealed {
        EpochSealed {
            pipeline: pipeline.to_owned(),
            epoch: self.barrier.epoch.0,
            kind: seal_kind(self.barrier.kind) as i32,
            clock: self.barrier.clock.0,
            moved_at: self.moved_at(before),
            sources: self.sources.values().map(|r| source_seal(&shape.sources, r)).collect(),
            sinks: self
                .sinks
                .values()
                .filter_map(|report| {
                    let sink = shape.sinks[report.sink].clone();
                    report.position.map(|position| SinkSeal { sink, position })
                })
                .collect(),
            late_rows: self.late_rows(),
            trigger_rows: self.trigger_rows(),
            watermark: self.watermark().0,
            checkpoint: self.barrier.checkpoint.unwrap_or(0),
            counted_late: self.counted_late(),
        }
    }

    /// The frames of the trigger rows, which stand before the seal, in appends of a bounded size: what stands
    /// before a seal is invisible, so they need not be one.
    pub(crate) fn trigger_frames(
        &self,
        pipeline: &str,
        shape: &Shape,
        workspace: WorkspaceId,
        fire_series: u32,
    ) -> Result<Vec<Vec<NewFrame>>, arrow::error::ArrowError> {
        let mut appends = vec![Vec::new()];
        let mut bytes = 0;
        for report in self.sinks.values() {
            for rows in &report.rows {
                for (count, rows) in encode_in_parts(rows, TRIGGER_ROWS_PER_FRAME)? {
                    bytes += rows.len();
                    if bytes > TRIGGER_APPEND_BYTES {
                        appends.push(Vec::new());
                        bytes = rows.len();
                    }
                    let record = TriggersRecord {
                        pipeline: pipeline.to_owned(),
                        sink: shape.sinks[report.sink].clone(),
                        epoch: self.barrier.epoch.0,
                        count,
                        rows,
                        fire_series,
                    };
                    let frame = record.frame(workspace, SubjectId::NONE);
                    match appends.last_mut() {
                        Some(append) => append.push(frame),
                        None => appends.push(vec![frame]),
                    }
                }
            }
        }
        Ok(appends)
    }
}

/// Rows as Arrow IPC streams and how many each holds: at most `most` rows, and few enough bytes for a log frame unless
/// one row alone has more.
fn encode_in_parts(
    rows: &RecordBatch,
    most: usize,
) -> Result<Vec<(u32, Bytes)>, arrow::error::ArrowError> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut most = most;
    while from < rows.num_rows() {
        let count = most.min(rows.num_rows() - from);
        let bytes = encode_rows(&rows.slice(from, count))?;
        if bytes.len() > TRIGGER_FRAME_BYTES && count > 1 {
            most = count / 2;
            continue;
        }
        parts.push((u32::try_from(count).unwrap_or(u32::MAX), bytes));
        from += count;
    }
    Ok(parts)
}

/// A batch as an Arrow IPC stream.
pub(crate) fn encode_rows(rows: &RecordBatch) -> Result<Bytes, arrow::error::ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes.into())
}

fn seal_kind(kind: EpochKind) -> SealKind {
    match kind {
        EpochKind::Input => SealKind::Input,
        EpochKind::Observed => SealKind::Observed,
        EpochKind::End => SealKind::End,
    }
}

fn source_seal(sources: &[String], report: &SourceReport) -> SourceSeal {
    let status = match report.progress {
        Progress::Active(_) => SourceStatus::Active,
        Progress::Idle(_) => SourceStatus::Idle,
        Progress::Finished(_) => SourceStatus::Finished,
    };
    SourceSeal {
        table: sources[report.source].clone(),
        start_part: report.start.part.clone(),
        start_offset: report.start.offset,
        end_part: report.end.part.clone(),
        end_offset: report.end.offset,
        rows: report.rows,
        rejects: report.rejects.len() as u64,
        watermark: report.progress.watermark().0,
        status: status as i32,
        last_event_time: report.last_event_time.unwrap_or(i64::MIN),
        late: report.late,
    }
}
