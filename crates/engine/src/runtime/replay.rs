//! The sealed epochs of a pipeline, read back from the log.

use arrow::{
    array::RecordBatch,
    row::{RowConverter, SortField},
};
use arrow_ipc::reader::StreamReader;
use postrider_core::{ClockTime, Epoch, EpochKind, Generation, Position, Watermark};
use postrider_store::{
    EpochSealed, Frame, FrameKind, Log, LogReader, Lsn, PipelineRecord, SealKind, SourceSeal,
    SourceStatus, TriggersRecord,
};

use super::ingest::CutKind;
use crate::{EngineError, watermark::Progress};

/// A sealed epoch and its trigger rows.
#[derive(Debug)]
pub(crate) struct SealedEpoch {
    pub(crate) record: EpochSealed,
    pub(crate) triggers: Vec<TriggersRecord>,
}

impl SealedEpoch {
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.record.epoch)
    }

    pub(crate) fn clock(&self) -> ClockTime {
        ClockTime(self.record.clock)
    }

    /// The number of the snapshot that was taken at its end.
    pub(crate) fn checkpoint(&self) -> Option<u64> {
        Some(self.record.checkpoint).filter(|number| *number > 0)
    }

    pub(crate) fn kind(&self) -> EpochKind {
        match self.record.kind() {
            SealKind::Observed => EpochKind::Observed,
            SealKind::End => EpochKind::End,
            SealKind::Input | SealKind::Unspecified => EpochKind::Input,
        }
    }

    /// What a source read and promised in this epoch.
    pub(crate) fn cut(&self, table: &str) -> Option<CutKind> {
        let seal = self.record.sources.iter().find(|seal| seal.table == table)?;
        Some(match self.kind() {
            EpochKind::Input => CutKind::Replay { until: end(seal), progress: progress(seal) },
            EpochKind::Observed | EpochKind::End => CutKind::Jump(Watermark(seal.watermark)),
        })
    }

    /// The rows and rejects that a source had in this epoch.
    pub(crate) fn counts(&self, table: &str) -> Option<(u64, u64)> {
        let seal = self.record.sources.iter().find(|seal| seal.table == table)?;
        Some((seal.rows, seal.rejects))
    }

    /// Whether an epoch's rows are the logged ones, as multisets.
    pub(crate) fn matches(&self, sink: &str, rows: &[RecordBatch]) -> Result<bool, String> {
        let mut logged = Vec::new();
        for record in self.triggers.iter().filter(|record| record.sink == sink) {
            let reader = StreamReader::try_new(record.rows.as_ref(), None);
            let batches = reader.and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
            logged.extend(batches.map_err(|error| error.to_string())?);
        }
        let sorted = |batches: &[RecordBatch]| sorted_rows(batches).map_err(|e| e.to_string());
        Ok(sorted(&logged)? == sorted(rows)?)
    }
}

/// What has to be known of a pipeline before its tasks start.
#[derive(Debug)]
pub(crate) struct Newest {
    /// The newest seal, with the position of every sink.
    pub(crate) seal: Option<EpochSealed>,
    /// The programs that its epochs are of.
    pub(crate) fingerprints: Vec<bytes::Bytes>,
    /// How often it was told to fire again.
    pub(crate) fire_series: u32,
}

/// Reads all that the log has of a pipeline from a position on.
pub(crate) fn newest_seal(log: &Log, from: Lsn, pipeline: &str) -> Result<Newest, EngineError> {
    let mut epochs = SealedEpochs::new(log, from, pipeline);
    let mut newest: Option<EpochSealed> = None;
    while let Some(sealed) = epochs.next_epoch()? {
        let mut record = sealed.record;
        // A sink that wrote nothing in an epoch keeps its position.
        for seal in newest.take().into_iter().flat_map(|record| record.sinks) {
            if !record.sinks.iter().any(|other| other.sink == seal.sink) {
                record.sinks.push(seal);
            }
        }
        newest = Some(record);
    }
    let SealedEpochs { fingerprints, fire_series, .. } = epochs;
    Ok(Newest { seal: newest, fingerprints, fire_series })
}

/// The position at which a sealed range begins.
pub(crate) fn start(seal: &SourceSeal) -> Position {
    Position { part: seal.start_part.clone(), offset: seal.start_offset }
}

/// The position behind a sealed range.
pub(crate) fn end(seal: &SourceSeal) -> Position {
    Position { part: seal.end_part.clone(), offset: seal.end_offset }
}

/// The progress at a seal.
pub(crate) fn progress(seal: &SourceSeal) -> Progress {
    let watermark = Watermark(seal.watermark);
    match seal.status() {
        SourceStatus::Idle => Progress::Idle(watermark),
        SourceStatus::Finished => Progress::Finished(watermark),
        SourceStatus::Active | SourceStatus::Unspecified => Progress::Active(watermark),
    }
}

fn sorted_rows(batches: &[RecordBatch]) -> Result<Vec<Vec<u8>>, arrow::error::ArrowError> {
    let mut sorted = Vec::new();
    for batch in batches {
        let fields = batch.columns().iter().map(|c| SortField::new(c.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(batch.columns())?;
        sorted.extend(rows.iter().map(|row| row.as_ref().to_vec()));
    }
    sorted.sort_unstable();
    Ok(sorted)
}

/// Reads one pipeline's sealed epochs in order.
pub(crate) struct SealedEpochs {
    reader: LogReader,
    pipeline: String,
    triggers: Vec<TriggersRecord>,
    generation: Generation,
    /// The programs whose frames were passed.
    pub(crate) fingerprints: Vec<bytes::Bytes>,
    /// How often it was told to fire again, as far as it was read.
    pub(crate) fire_series: u32,
}

impl SealedEpochs {
    /// Those that are sealed behind a position.
    pub(crate) fn new(log: &Log, from: Lsn, pipeline: &str) -> Self {
        let kinds = [FrameKind::EpochSealed, FrameKind::Triggers, FrameKind::Pipeline];
        Self {
            reader: log.reader(from).skip_payloads_except(&kinds),
            pipeline: pipeline.to_owned(),
            triggers: Vec::new(),
            generation: Generation(0),
            fingerprints: Vec::new(),
            fire_series: 0,
        }
    }

    /// The next sealed epoch; `None` at the end of the log.
    pub(crate) fn next_epoch(&mut self) -> Result<Option<SealedEpoch>, EngineError> {
        while let Some(frame) = self.reader.next_frame()? {
            if let Some(sealed) = self.take(&frame)? {
                return Ok(Some(sealed));
            }
        }
        Ok(None)
    }

    fn take(&mut self, frame: &Frame) -> Result<Option<SealedEpoch>, EngineError> {
        let damaged = |error: postrider_store::RecordError| EngineError::Bug {
            pipeline: self.pipeline.clone(),
            message: format!("the log holds a record that can't be read: {error}"),
        };
        match frame.kind {
            FrameKind::Pipeline => {
                let record = PipelineRecord::decode(&frame.payload).map_err(damaged)?;
                if record.pipeline == self.pipeline {
                    self.fingerprints.push(record.fingerprint);
                    self.fire_series = record.fire_series;
                }
            }
            FrameKind::Triggers => {
                let record = TriggersRecord::decode(&frame.payload).map_err(damaged)?;
                if record.pipeline == self.pipeline {
                    if frame.generation != self.generation {
                        // A process that died before its seal left rows that never became visible.
                        self.triggers.clear();
                        self.generation = frame.generation;
                    }
                    self.triggers.push(record);
                }
            }
            FrameKind::EpochSealed => {
                let record = EpochSealed::decode(&frame.payload).map_err(damaged)?;
                if record.pipeline == self.pipeline {
                    let mut triggers = std::mem::take(&mut self.triggers);
                    triggers.retain(|triggers| triggers.epoch == record.epoch);
                    if frame.generation != self.generation {
                        triggers.clear();
                    }
                    return Ok(Some(SealedEpoch { record, triggers }));
                }
            }
            _ => {}
        }
        Ok(None)
    }
}
