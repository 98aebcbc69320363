//! The source of pushed events: reads what the collector journaled in the log.

use async_trait::async_trait;
use postrider_core::{
    Chunk, ChunkData, ClockTime, ErrorKind, Polled, Position, Record, Source, SourceError,
};
use postrider_store::{DurableEnd, EventRecord, FrameKind, KeyRole, Log, LogReader, Lsn};

use crate::limits::{JOURNAL_CHUNK_BYTES, JOURNAL_CHUNK_RECORDS};

/// Reads the events of one stream from the log, in order. Unbounded; positions are log positions.
///
/// A chunk that is short because no more was durable is followed by one `Empty`, so that the chunks
/// of an epoch depend on the epoch's range alone.
pub struct JournalSource {
    log: Log,
    durable: DurableEnd,
    reader: LogReader,
    stream: String,
    browser_events: bool,
    /// The next record, read ahead.
    next: Option<Record>,
    /// Where the frame of the next record ends.
    next_end: u64,
    /// Everything before this position was read; a frame starts here.
    position: u64,
    short: bool,
}

impl std::fmt::Debug for JournalSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalSource").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl JournalSource {
    /// Reads `stream`; events posted with a browser key only if `browser_events`.
    pub fn new(log: &Log, stream: impl Into<String>, browser_events: bool) -> Self {
        Self {
            durable: log.durable(),
            reader: log.reader(log.start()).skip_payloads_except(&[FrameKind::Event]),
            log: log.clone(),
            stream: stream.into(),
            browser_events,
            next: None,
            next_end: 0,
            position: log.start().0,
            short: false,
        }
    }

    /// Reads ahead to the next event of the stream, if one is durable.
    async fn fill(&mut self) -> Result<bool, SourceError> {
        let failed = |message: String| SourceError { kind: ErrorKind::Data, message };
        while self.next.is_none() {
            let frame = self.reader.next_frame().map_err(|error| failed(error.to_string()))?;
            let Some(frame) = frame else { return Ok(false) };
            // The frames of others may be gigabytes: other tasks get their turn between them.
            tokio::task::consume_budget().await;
            if frame.kind != FrameKind::Event {
                continue;
            }
            let event =
                EventRecord::decode(&frame.payload).map_err(|error| failed(error.to_string()))?;
            let wanted = event.role() != KeyRole::Browser || self.browser_events;
            if event.stream == self.stream && wanted {
                self.next = Some(Record {
                    key_role: event.role().word(),
                    message_id: event.message_id,
                    received_at: ClockTime(event.received_at),
                    body: event.body,
                    position: Position::at(frame.lsn.0),
                });
                self.next_end = frame.end.0;
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl Source for JournalSource {
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        let from = position.map_or_else(|| self.log.start(), |position| Lsn(position.offset));
        self.reader = self.log.reader(from).skip_payloads_except(&[FrameKind::Event]);
        (self.next, self.position, self.short) = (None, from.0, false);
        Ok(())
    }

    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError> {
        if std::mem::take(&mut self.short) && until.is_none() {
            return Ok(Polled::Empty);
        }
        let start = Position::at(self.position);
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < JOURNAL_CHUNK_RECORDS && bytes < JOURNAL_CHUNK_BYTES {
            let more = self.fill().await?;
            let reached = |record: &Record| until.is_some_and(|until| record.position >= *until);
            match self.next.take() {
                Some(record) if !reached(&record) => {
                    bytes += record.body.len();
                    self.position = self.next_end;
                    records.push(record);
                }
                put_back => {
                    self.next = put_back;
                    self.short = !more;
                    break;
                }
            }
        }
        if records.is_empty() {
            self.short = false;
            return Ok(Polled::Empty);
        }
        let end = Position::at(self.position);
        Ok(Polled::Chunk(Chunk { start, end, data: ChunkData::Records(records) }))
    }

    fn looked_up_to(&self) -> Option<Position> {
        let ahead = self.next.as_ref().map(|record| record.position.clone());
        Some(ahead.unwrap_or_else(|| Position::at(self.reader.position().0)))
    }

    async fn ready(&mut self) {
        // What can't be read is found and reported by `poll`.
        while !self.short && matches!(self.fill().await, Ok(false)) {
            if self.durable.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::{ChunkData, Polled, Source, SubjectId, WorkspaceId};
    use postrider_store::{EventRecord, KeyRole, Log};

    use super::JournalSource;

    async fn post(log: &Log) {
        let event = EventRecord {
            stream: "default".to_owned(),
            role: KeyRole::Server as i32,
            ..EventRecord::default()
        };
        log.append(vec![event.frame(WorkspaceId::DEFAULT, SubjectId::NONE)]).await.unwrap();
    }

    /// How many records the next poll has; `None` if it says that there are none.
    async fn polled(source: &mut JournalSource) -> Option<usize> {
        match source.poll(None).await.unwrap() {
            Polled::Chunk(chunk) => match chunk.data {
                ChunkData::Records(records) => Some(records.len()),
                other => panic!("pushed events came as {other:?}"),
            },
            Polled::Empty => None,
            Polled::Ended => panic!("pushed events have no end"),
        }
    }

    #[tokio::test]
    async fn an_event_is_seen_by_the_first_poll_after_an_empty_one() {
        let log = Log::in_memory();
        let mut source = JournalSource::new(&log, "default", false);
        assert_eq!(polled(&mut source).await, None);
        post(&log).await;
        assert_eq!(polled(&mut source).await, Some(1));
    }

    #[tokio::test]
    async fn reading_goes_on_at_the_end_of_any_chunk() {
        let log = Log::in_memory();
        let mut source = JournalSource::new(&log, "default", false);
        post(&log).await;
        let Polled::Chunk(first) = source.poll(None).await.unwrap() else { panic!("no chunk") };
        post(&log).await;
        let mut other = JournalSource::new(&log, "default", false);
        other.seek(Some(first.end)).await.unwrap();
        assert_eq!(polled(&mut other).await, Some(1));
    }

    #[tokio::test]
    async fn a_short_chunk_ends_its_epoch() {
        let log = Log::in_memory();
        let mut source = JournalSource::new(&log, "default", false);
        post(&log).await;
        post(&log).await;
        assert_eq!(polled(&mut source).await, Some(2));
        post(&log).await;
        assert_eq!(polled(&mut source).await, None);
        assert_eq!(polled(&mut source).await, Some(1));
        assert_eq!(polled(&mut source).await, None);
        assert_eq!(polled(&mut source).await, None);
    }
}
