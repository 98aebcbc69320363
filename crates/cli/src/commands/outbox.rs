//! `postrider outbox`: what became of every trigger row, read from the newest snapshot and the log.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io::ErrorKind,
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use postrider_core::SendId;
use postrider_store::{
    Counts, DecisionRecord, Frame, FrameKind, IntentRecord, LogReader, Lsn, Outbox, OutboxReader,
    RowRef, SendEntry, SendState,
};

use super::rows;
use crate::{
    args::OutboxArgs,
    console::{self, count, counted},
    outcome::{Failure, Outcome},
};

/// The file in a state directory that whoever writes its log has locked.
const LOCK_FILE: &str = "LOCK";

/// How often a log is looked at whose beginning goes away.
const LOOKS_MAX: usize = 10;

/// The outbox of a log, and what became of each of its rows. Rows with the same dedupe key share a send.
pub(crate) struct Sends {
    pub(crate) outbox: Outbox,
    rows: BTreeMap<RowKey, Fate>,
}

/// Names a trigger row: pipeline, epoch, sink, number. The order is the one of lists.
type RowKey = (String, u64, String, u32);

/// The last thing that was written down about a row.
struct Fate {
    send: SendId,
    row: RowRef,
    /// Set if the row is not sent; otherwise it has the state of its send.
    not_sent: Option<String>,
}

/// One row and its send as they are listed.
pub(crate) struct SendRow {
    pub(crate) send_id: SendId,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    pub(crate) row: RowRef,
}

impl Sends {
    /// Folds a log, as far as it goes now. Where it has `ended`, nobody is writing: an intent without a
    /// result is in doubt.
    ///
    /// Rows that were decided in a part of the log that was deleted come from the snapshot, which does not have their keys.
    pub(crate) fn read(log: &LogReader, ended: impl FnOnce() -> bool) -> Outcome<Self> {
        let damaged = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
        let mut reader = OutboxReader::whole(log).map_err(|error| damaged(&error))?;
        for reason in reader.passed_over() {
            console::note(&format!("a snapshot of the outbox was passed over: {reason}"));
        }
        let mut rows = forgotten(reader.outbox());
        let mut last: Option<Frame> = None;
        while let Some((frame, _)) = reader.next_frame().map_err(|error| damaged(&error))? {
            let fate = match frame.kind {
                FrameKind::Intent => IntentRecord::decode(&frame.payload)
                    .map(|record| Some((record.send(), record.row, None))),
                FrameKind::Decision => DecisionRecord::decode(&frame.payload)
                    .map(|record| Some((record.send(), record.row, Some(record.reason)))),
                _ => Ok(None),
            };
            if let Some((send, row, not_sent)) = fate.map_err(|error| damaged(&error))? {
                let key = (row.pipeline.clone(), row.epoch, row.sink.clone(), row.row);
                rows.insert(key, Fate { send, row, not_sent });
            }
            last = Some(frame);
        }
        let mut outbox = reader.into_outbox();
        if let Some(mut frame) = last.filter(|_| ended()) {
            // What the next process will find: its generation takes over from the writer.
            frame.kind = FrameKind::Opened;
            frame.generation.0 += 1;
            outbox.apply(&frame).map_err(|error| damaged(&error))?;
        }
        Ok(Self { outbox, rows })
    }

    /// Every row that was decided, in order.
    pub(crate) fn list(&self) -> Vec<SendRow> {
        let listed = |fate: &Fate| {
            let (state, reason) = match (&fate.not_sent, self.outbox.state(fate.send)) {
                (Some(reason), _) => ("not_sent", reason.clone()),
                (None, Some(state)) => words(state),
                (None, None) => ("intended", String::new()),
            };
            SendRow { send_id: fate.send, state, reason, row: fate.row.clone() }
        };
        self.rows.values().map(listed).collect()
    }

    /// A list as rows: `send_id`, `state`, `reason`, `pipeline`, `sink`, `recipient_key`,
    /// `dedupe_key` (Utf8), `epoch` (UInt64), `row` (UInt32).
    pub(crate) fn batch(list: &[SendRow]) -> Outcome<RecordBatch> {
        let text = |name| Field::new(name, DataType::Utf8, false);
        let names =
            ["send_id", "state", "reason", "pipeline", "sink", "recipient_key", "dedupe_key"];
        let mut fields: Vec<_> = names.into_iter().map(text).collect();
        fields.push(Field::new("epoch", DataType::UInt64, false));
        fields.push(Field::new("row", DataType::UInt32, false));
        let column = |value: fn(&SendRow) -> String| {
            Arc::new(StringArray::from_iter_values(list.iter().map(value))) as ArrayRef
        };
        let columns = vec![
            column(|send| send.send_id.to_string()),
            column(|send| send.state.to_owned()),
            column(|send| send.reason.clone()),
            column(|send| send.row.pipeline.clone()),
            column(|send| send.row.sink.clone()),
            column(|send| send.row.recipient_key.clone()),
            column(|send| send.row.dedupe_key.clone()),
            Arc::new(UInt64Array::from_iter_values(list.iter().map(|send| send.row.epoch))),
            Arc::new(UInt32Array::from_iter_values(list.iter().map(|send| send.row.row))),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| Failure::failed(error.to_string()))
    }
}

/// The sends of a snapshot, as far as it tells of them: without keys, and without rows that repeat the key of another. What
/// the log still has takes their places.
fn forgotten(outbox: &Outbox) -> BTreeMap<RowKey, Fate> {
    let fate = |(send, entry): (SendId, SendEntry<'_>)| {
        let (pipeline, sink) = (entry.pipeline.to_owned(), entry.sink.to_owned());
        let (epoch, row) = (entry.epoch.0, entry.row);
        let key = (pipeline.clone(), epoch, sink.clone(), row);
        let row = RowRef { pipeline, sink, epoch, row, ..RowRef::default() };
        (key, Fate { send, row, not_sent: None })
    };
    outbox.sends().map(fate).collect()
}

fn words(state: &SendState) -> (&'static str, String) {
    match state {
        SendState::Intended { .. } => ("intended", String::new()),
        SendState::Accepted => ("accepted", String::new()),
        SendState::Rejected => ("rejected", String::new()),
        SendState::Retry { attempt } => ("retry", format!("attempt {attempt} failed")),
        SendState::InDoubt { .. } => ("in_doubt", "the provider may have it".to_owned()),
        SendState::NotSent { reason } => ("not_sent", reason.to_string()),
    }
}

/// Lists the outbox of a state directory.
pub(crate) fn run(args: &OutboxArgs) -> Outcome {
    let sends = open(&args.state_dir)?;
    let mut list = sends.list();
    if let Some(state) = &args.state {
        list.retain(|send| send.state == state);
    }
    let batch = Sends::batch(&list)?;
    rows::print(&batch.schema(), &[batch], args.format)?;
    console::note(&describe(sends.outbox.counts()));
    Ok(())
}

fn open(dir: &Path) -> Outcome<Sends> {
    if !dir.is_dir() {
        let shown = dir.display();
        return Err(Failure::invalid(format!(
            "there is no directory {shown}; give the --state-dir of a run"
        )));
    }
    let begins = || -> Outcome<Lsn> { Ok(LogReader::of_directory(dir)?.start()) };
    steadily(|| look(dir), begins)
}

/// One look, and where the log began.
fn look(dir: &Path) -> Outcome<(Outcome<Sends>, Lsn)> {
    // A run that starts or ends while the log is read leaves its intents to the next look.
    let was_free = is_free(dir)?;
    let reader = LogReader::of_directory(dir)?;
    let sends = Sends::read(&reader, || was_free && is_free(dir).unwrap_or(false));
    Ok((sends, reader.start()))
}

/// Looks again if a look failed and the log begins elsewhere now: a live process deleted what was about to be read.
fn steadily<T>(
    mut look: impl FnMut() -> Outcome<(Outcome<T>, Lsn)>,
    mut begins: impl FnMut() -> Outcome<Lsn>,
) -> Outcome<T> {
    for _ in 1..LOOKS_MAX {
        match look()? {
            (Err(_), from) if begins()? > from => {}
            (outcome, _) => return outcome,
        }
    }
    look()?.0
}

/// Whether no process writes to this log. The look itself is shared and takes no time, so it hinders no run.
fn is_free(dir: &Path) -> Outcome<bool> {
    let path = dir.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => {
            Err(Failure::failed(format!("{}: {error}", path.display())))
        }
    }
}

/// Prints how many trigger rows are in which state, if there are any.
pub(crate) fn print_counts(dir: &Path) -> Outcome {
    let sends = open(dir)?;
    if sends.outbox.counts().trigger_rows > 0 {
        console::note(&describe(sends.outbox.counts()));
    }
    Ok(())
}

/// Counts in words.
fn describe(counts: &Counts) -> String {
    let parts = fates(counts, "accepted");
    format!("{}: {parts}", counted(counts.trigger_rows, "trigger row"))
}

/// How many rows came to which end, those that the provider has under the word `accepted`.
pub(crate) fn fates(counts: &Counts, accepted: &str) -> String {
    let mut parts = vec![format!("{} {accepted}", count(counts.accepted))];
    for (reason, rows) in &counts.not_sent {
        parts.push(format!("{} not sent: {reason}", count(*rows)));
    }
    for (rows, word) in [
        (counts.rejected, "rejected"),
        (counts.in_doubt, "in doubt"),
        (counts.pending(), "still to do"),
    ] {
        if rows > 0 {
            parts.push(format!("{} {word}", count(rows)));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Failure, LOOKS_MAX, Lsn, Outcome, steadily};

    /// What comes of looks that fail so many times at a log, and how many there were. The log loses its beginning at every look
    /// or at none.
    fn looked(failing: usize, is_shortened: bool) -> (Outcome<&'static str>, usize) {
        let mut looks = 0;
        let look = || {
            looks += 1;
            if looks <= failing {
                return Ok((Err(Failure::failed("position 5 of the log was deleted")), Lsn(5)));
            }
            Ok((Ok("all rows"), Lsn(5)))
        };
        let outcome = steadily(look, || Ok(Lsn(if is_shortened { 6 } else { 5 })));
        (outcome, looks)
    }

    #[test]
    fn a_log_that_loses_its_beginning_meanwhile_is_looked_at_again() {
        assert!(matches!(looked(0, true), (Ok("all rows"), 1)));
        assert!(matches!(looked(2, true), (Ok("all rows"), 3)));
        assert!(matches!(looked(usize::MAX, true), (Err(_), LOOKS_MAX)));
    }

    #[test]
    fn a_look_that_fails_for_another_reason_is_the_last() {
        assert!(matches!(looked(1, false), (Err(_), 1)));
    }
}
