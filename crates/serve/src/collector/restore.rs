//! The memory of message ids, read back from the log.

use postrider_store::{EventRecord, FrameKind, Log};

use super::{
    CollectorError, CollectorLimits,
    dedupe::{Key, Window},
    event::sent_id,
    intake::MINTED,
};

/// The ids of all events of the log that are still within the window at `now`.
pub(super) fn message_ids(
    log: &Log,
    limits: &CollectorLimits,
    now: i64,
) -> Result<Window, CollectorError> {
    let length = i64::try_from(limits.dedupe_window.as_nanos()).unwrap_or(i64::MAX);
    let mut window = Window::new(length, limits.dedupe_ids);
    let mut reader = log.reader(log.start()).skip_payloads_except(&[FrameKind::Event]);
    while let Some(frame) = reader.next_frame()? {
        if frame.kind != FrameKind::Event {
            continue;
        }
        let record = EventRecord::decode(&frame.payload).map_err(|error| error.at(frame.lsn))?;
        let is_recent = now.saturating_sub(record.received_at) < length;
        if is_recent && was_sent(&record) {
            let key = Key::of(frame.workspace, &record.stream, record.role(), &record.message_id);
            window.insert(key, record.received_at, now);
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
