//! The memory of message ids as a snapshot, so that a start reads only the end of the log.
//!
//! The memory is not a fold at one place of the log: requests settle their ids in any order, once their events are durable.
//! A snapshot is therefore taken of a place that was the durable end when it began, once every request has settled that had
//! ids claimed then. It has every id of the events before that place, and some of those behind it, which change nothing when
//! they are read again.

use bytes::{Bytes, BytesMut};
use postrider_store::{KeptView, LogReader, Lsn, Restored, SnapshotWriter, View, ViewError};
use prost::Message;

use super::{
    Collector, CollectorLimits, Shared,
    dedupe::{Key, Window},
};
use crate::limits::SNAPSHOT_CHUNK_IDS;

/// The snapshots. The version also stands for how a key is made of an id.
const MESSAGE_IDS: View = View { name: "message_ids", version: 1 };

/// Some ids, in the order in which they are forgotten.
#[derive(Clone, PartialEq, Message)]
struct IdsChunk {
    /// 16 bytes each.
    #[prost(bytes = "bytes", tag = "1")]
    keys: Bytes,
    /// When each was received (wall clock).
    #[prost(sfixed64, repeated, tag = "2")]
    received_at: Vec<i64>,
    /// Ids that had been forgotten too early, in the last chunk.
    #[prost(uint64, tag = "3")]
    forgotten: u64,
}

impl Collector {
    /// What housekeeping has to know about a collector's memory of message ids, whether a collector runs or not.
    pub const fn kept_view(limits: &CollectorLimits) -> KeptView {
        KeptView { view: MESSAGE_IDS, memory: Some(limits.dedupe_window) }
    }

    /// Writes the memory of message ids down, as of the log's present end, which it returns. Requests go on meanwhile.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn snapshot(&self) -> Result<Lsn, ViewError> {
        self.write_snapshot().await.map(|(at, _)| at)
    }

    /// Writes a snapshot whenever the log has grown enough for one to be worth it, until the log is closed. One that fails is
    /// reported, and tried again later.
    pub async fn write_snapshots(self) {
        let mut durable = self.shared.log.durable();
        let log_bytes = self.shared.limits.snapshot_log_bytes;
        let kept = self.shared.log.views().kept(MESSAGE_IDS).unwrap_or_default();
        let (mut newest, mut bytes) = (kept.last().copied().unwrap_or_default(), 0);
        loop {
            let due = Lsn(newest.0.saturating_add(log_bytes.max(bytes)));
            if durable.reaches(due).await.is_err() {
                return;
            }
            (newest, bytes) = match self.write_snapshot().await {
                Ok(written) => written,
                Err(error) => {
                    tracing::warn!(%error, "message ids could not be written down; the next start reads more of the log");
                    (due, bytes)
                }
            };
        }
    }

    async fn write_snapshot(&self) -> Result<(Lsn, u64), ViewError> {
        let at = *self.shared.log.durable().borrow();
        self.shared.dedupe.claims().ended().await;
        let shared = std::sync::Arc::clone(&self.shared);
        let saved = tokio::task::spawn_blocking(move || shared.save_ids(at)).await;
        let bytes = saved.map_err(|error| ViewError::Failed { reason: error.to_string() })??;
        Ok((at, bytes))
    }
}

impl Shared {
    fn save_ids(&self, at: Lsn) -> Result<u64, ViewError> {
        let now = self.wall.now().0;
        self.log.views().save(MESSAGE_IDS, at, None, |writer| {
            for shard in 0..Window::SHARDS {
                // A shard at a time, so that no request waits for long.
                write_ids(&self.dedupe.ids(shard, now), writer)?;
            }
            let forgotten = self.dedupe.forgotten();
            writer.chunk(&IdsChunk { forgotten, ..IdsChunk::default() })
        })
    }
}

fn write_ids(ids: &[(Key, i64)], writer: &mut SnapshotWriter) -> Result<(), ViewError> {
    for part in ids.chunks(SNAPSHOT_CHUNK_IDS) {
        let mut keys = BytesMut::with_capacity(16 * part.len());
        for (key, _) in part {
            keys.extend_from_slice(&key.bytes());
        }
        let received_at = part.iter().map(|(_, received_at)| *received_at).collect();
        writer.chunk(&IdsChunk { keys: keys.freeze(), received_at, forgotten: 0 })?;
    }
    Ok(())
}

/// The memory of the newest snapshot of a log, without what is expired at `now`.
pub(super) fn restore(
    reader: &LogReader,
    empty: impl Fn() -> Window,
    now: i64,
) -> Result<Restored<Window>, ViewError> {
    reader.views().restore(MESSAGE_IDS, reader, |snapshot| {
        let mut window = empty();
        while let Some(chunk) = snapshot.chunk()? {
            take(&chunk, &mut window, now).map_err(|reason| snapshot.unfit(reason))?;
        }
        Ok(window)
    })
}

fn take(chunk: &IdsChunk, window: &mut Window, now: i64) -> Result<(), &'static str> {
    let (keys, rest) = chunk.keys.as_chunks::<16>();
    if !rest.is_empty() || keys.len() != chunk.received_at.len() {
        return Err("its ids and their times do not fit together");
    }
    for (key, received_at) in keys.iter().zip(&chunk.received_at) {
        window.insert_recent(Key::of_bytes(*key), *received_at, now);
    }
    window.had_forgotten(chunk.forgotten);
    Ok(())
}

#[cfg(test)]
mod tests;
