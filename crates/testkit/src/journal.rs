//! All frames that a log ever had, kept where no crash reaches them: what was durable once has to be there ever after.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampNanosecondType},
};
use arrow_ipc::reader::StreamReader;
use postrider_store::{EpochSealed, EventRecord, Frame, FrameKind, Log, TriggersRecord};

use crate::{Event, Violation};

/// The frames, by number.
#[derive(Debug, Default)]
pub struct Journal {
    frames: BTreeMap<u64, Frame>,
}

/// A trigger row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The customer.
    pub user: String,
    /// Where the window begins (ns).
    pub opened: i64,
    /// Events in it.
    pub count: i64,
    /// The sum of their values.
    pub total: i64,
}

/// A sealed epoch and its trigger rows, by sink and sorted.
#[derive(Debug)]
pub struct Sealed {
    /// The seal.
    pub seal: EpochSealed,
    /// The rows.
    pub rows: BTreeMap<String, Vec<Row>>,
}

impl Journal {
    /// Takes what a log has now, and compares it with what it had.
    ///
    /// # Errors
    /// Something durable is gone or was changed, or the log can't be read.
    pub fn take(&mut self, log: &Log) -> Result<(), Violation> {
        let mut reader = log.reader(log.start());
        let mut next = None;
        while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
            if let Some(next) = next.filter(|next| *next != frame.sequence) {
                let what = format!("frame {next} should be where {} is", frame.sequence);
                return Err(Violation::differs(next, frame.sequence, what));
            }
            next = Some(frame.sequence + 1);
            match self.frames.get(&frame.sequence) {
                Some(known) if *known != frame => {
                    let what = format!("frame {} was {known:?} and is {frame:?}", frame.sequence);
                    return Err(Violation::lost(1, what));
                }
                Some(_) => {}
                None => drop(self.frames.insert(frame.sequence, frame)),
            }
        }
        let known = self.frames.last_key_value().map(|(sequence, _)| sequence + 1);
        if known > next {
            let lost = known.unwrap_or_default() - next.unwrap_or_default();
            return Err(Violation::lost(
                lost,
                format!("the log had {known:?} frames and has {next:?}"),
            ));
        }
        Ok(())
    }

    /// All frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.values()
    }

    /// All events, with their places.
    ///
    /// # Errors
    /// A frame can't be read.
    pub fn events(&self) -> Result<Vec<(u64, Event)>, String> {
        let events = self.frames().filter(|frame| frame.kind == FrameKind::Event);
        events.map(|frame| Ok((frame.lsn.0, event(frame)?))).collect()
    }

    /// All epochs, in the order of their seals.
    ///
    /// # Errors
    /// A frame can't be read.
    pub fn epochs(&self) -> Result<Vec<Sealed>, String> {
        let (mut epochs, mut open) = (Vec::new(), Vec::new());
        let mut generation = None;
        for frame in self.frames() {
            if generation.replace(frame.generation) != Some(frame.generation) {
                open.clear();
            }
            match frame.kind {
                FrameKind::Triggers => {
                    open.push(TriggersRecord::decode(&frame.payload).map_err(|e| e.to_string())?);
                }
                FrameKind::EpochSealed => {
                    let seal = EpochSealed::decode(&frame.payload).map_err(|e| e.to_string())?;
                    epochs.push(sealed(seal, &mut open)?);
                }
                _ => {}
            }
        }
        Ok(epochs)
    }

    /// A fingerprint of all bytes that were ever durable.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for frame in self.frames() {
            hasher.update(format!("{frame:?}").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn event(frame: &Frame) -> Result<Event, String> {
    let record = EventRecord::decode(&frame.payload).map_err(|error| error.to_string())?;
    let body: serde_json::Value =
        serde_json::from_slice(&record.body).map_err(|error| error.to_string())?;
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Ok(Event {
        id: record.message_id,
        user: text("user_id"),
        ts: seconds(&text("ts"))? * crate::time::SECOND,
        value: body["v"].as_i64().unwrap_or_default(),
    })
}

/// Seconds since 1970 of `2026-11-24T12:34:56Z`, on one of two days.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text} is no time of this simulation");
    let number = |from: usize| text.get(from..from + 2)?.parse::<i64>().ok();
    let of_day = || Some(number(11)? * 3_600 + number(14)? * 60 + number(17)?);
    let day = match text.get(..10) {
        Some("2026-11-24") => 1_795_478_400,
        Some("2026-11-25") => 1_795_564_800,
        _ => return Err(wrong()),
    };
    Ok(day + of_day().ok_or_else(wrong)?)
}

fn sealed(seal: EpochSealed, open: &mut Vec<TriggersRecord>) -> Result<Sealed, String> {
    let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut count = 0;
    for record in open.drain(..).filter(|record| record.epoch == seal.epoch) {
        let reader = StreamReader::try_new(record.rows.as_ref(), None);
        for batch in reader.map_err(|error| error.to_string())? {
            let batch = batch.map_err(|error| error.to_string())?;
            count += batch.num_rows() as u64;
            rows.entry(record.sink.clone()).or_default().extend(decoded(&batch)?);
        }
    }
    rows.values_mut().for_each(|rows| rows.sort_unstable());
    if count != seal.trigger_rows {
        return Err(format!("epoch {} has {count} rows, not {}", seal.epoch, seal.trigger_rows));
    }
    Ok(Sealed { seal, rows })
}

fn decoded(batch: &RecordBatch) -> Result<Vec<Row>, String> {
    let column = |name: &str| {
        let column = batch.column_by_name(name);
        let column = column.ok_or_else(|| format!("no column {name}"))?;
        if column.null_count() == 0 { Ok(column) } else { Err(format!("{name} has NULL")) }
    };
    let users = arrow::compute::cast(column("recipient_key")?, &arrow::datatypes::DataType::Utf8)
        .map_err(|error| error.to_string())?;
    let users = users.as_string::<i32>();
    let opened = column("opened")?.as_primitive::<TimestampNanosecondType>();
    let counts = column("n")?.as_primitive::<Int64Type>();
    let totals = column("total")?.as_primitive::<Int64Type>();
    let row = |index: usize| Row {
        user: users.value(index).to_owned(),
        opened: opened.value(index),
        count: counts.value(index),
        total: totals.value(index),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
