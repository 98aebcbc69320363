//! The memory of message ids, read back from the log.

use postrider_store::{EventRecord, FrameKind, Log};

use super::{
    CollectorError, CollectorLimits,
    dedupe::{Key, Window},
    event::sent_id,
    intake::MINTED,
    snapshot,
};

/// The ids of all events of the log that are still within the window at `now`. Without a snapshot, those of the events that
/// the log still has: it is not shortened within the window before there is one.
pub(super) fn message_ids(
    log: &Log,
    limits: &CollectorLimits,
    now: i64,
) -> Result<Window, CollectorError> {
    let length = i64::try_from(limits.dedupe_window.as_nanos()).unwrap_or(i64::MAX);
    let empty = || Window::new(length, limits.dedupe_ids);
    let reader = log.reader(log.start());
    let restored = snapshot::restore(&reader, empty, now)?;
    for reason in restored.passed_over {
        tracing::warn!(reason, "a snapshot of message ids was passed over");
    }
    let (mut window, from) = restored.found.unwrap_or_else(|| (empty(), log.start()));
    let mut reader = reader.beginning_at(from).skip_payloads_except(&[FrameKind::Event]);
    while let Some(frame) = reader.next_frame()? {
        if frame.kind != FrameKind::Event {
            continue;
        }
        let record = EventRecord::decode(&frame.payload).map_err(|error| error.at(frame.lsn))?;
        if was_sent(&record) {
            let key = Key::of(frame.workspace, &record.stream, record.role(), &record.message_id);
            window.insert_recent(key, record.received_at, now);
        }
    }
    Ok(window)
}

/// Whether the id came with the event. One that was made up here can't be repeated, but a sender may send again what it
/// exported, made-up ids included.
fn was_sent(record: &EventRecord) -> bool {
    !record.message_id.is_empty()
        && (!record.message_id.starts_with(MINTED) || sent_id(&record.body).is_some())
}
