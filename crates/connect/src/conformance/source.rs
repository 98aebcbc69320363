//! The contract of `Source`, tested.

use std::{
    future::poll_fn,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use postrider_core::{Chunk, ChunkData, Clock, ClockTime, Format, Polled, Position, Sleep, Source};

use super::options;
use crate::{SourceParts, SourceSpec, open_source};

/// A clock that a test moves.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoppedClock(pub(crate) Arc<AtomicI64>);

impl Clock for StoppedClock {
    fn now(&self) -> ClockTime {
        ClockTime(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, time: ClockTime) -> Sleep {
        let now = Arc::clone(&self.0);
        Box::pin(poll_fn(move |_| {
            if now.load(Ordering::SeqCst) >= time.0 { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
}

/// A bounded table to test.
pub(crate) struct SourceCase {
    pub(crate) connector: &'static str,
    pub(crate) format: Format,
    pub(crate) options: &'static [(&'static str, &'static str)],
    pub(crate) schema: fn() -> SchemaRef,
    /// Makes the files it reads.
    pub(crate) prepare: fn(&Path),
    /// How many chunks it has at least.
    pub(crate) chunks: usize,
}

struct World<'c> {
    case: &'c SourceCase,
    dir: tempfile::TempDir,
}

/// A chunk in a form that compares.
#[derive(Debug, PartialEq, Clone)]
pub(crate) struct Seen {
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) bytes: Option<Bytes>,
    pub(crate) rows: Option<RecordBatch>,
}

impl From<Chunk> for Seen {
    fn from(chunk: Chunk) -> Self {
        let (bytes, rows) = match chunk.data {
            ChunkData::Lines(bytes) => (Some(bytes), None),
            ChunkData::Rows(rows) => (None, Some(rows)),
            _ => (None, None),
        };
        Self { start: chunk.start, end: chunk.end, bytes, rows }
    }
}

impl<'c> World<'c> {
    fn new(case: &'c SourceCase) -> Self {
        let dir = tempfile::tempdir().unwrap();
        (case.prepare)(dir.path());
        Self { case, dir }
    }

    fn open(&self) -> SourceParts {
        open_source(
            self.case.connector,
            SourceSpec {
                options: options(self.case.options),
                format: self.case.format,
                json: postrider_core::JsonForm::default(),
                schema: (self.case.schema)(),
                base_dir: self.dir.path(),
                env: &|_| None,
                clock: Arc::new(StoppedClock::default()),
            },
        )
        .unwrap()
    }

    async fn all(&self) -> Vec<Seen> {
        let chunks = rest(&mut *self.open().source).await;
        assert!(chunks.len() >= self.case.chunks, "{} chunks test too little", chunks.len());
        chunks
    }
}

/// Everything up to the end.
pub(crate) async fn rest(source: &mut dyn Source) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        match source.poll(None).await.unwrap() {
            Polled::Chunk(chunk) => seen.push(Seen::from(chunk)),
            Polled::Ended => return seen,
            Polled::Empty => panic!("a bounded source has nothing and has not ended"),
        }
    }
}

/// Everything up to `until`.
async fn up_to(source: &mut dyn Source, until: &Position) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Polled::Chunk(chunk) = source.poll(Some(until)).await.unwrap() {
        assert!(chunk.end <= *until, "{} is past {until}", chunk.end);
        seen.push(Seen::from(chunk));
    }
    seen
}

pub(crate) fn is_ready(source: &mut dyn Source) -> bool {
    let mut ready = pin!(source.ready());
    ready.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

pub(crate) async fn same_chunks(case: &SourceCase) {
    let world = World::new(case);
    let first = world.all().await;
    assert_eq!(first, world.all().await);
    for pair in first.windows(2) {
        assert!(pair[0].start < pair[0].end && pair[0].end <= pair[1].start);
    }
    let decoder = world.open().decoder;
    assert_eq!(decoder.schema(), (case.schema)());
}

pub(crate) async fn resumes(case: &SourceCase) {
    let world = World::new(case);
    let all = world.all().await;
    for (index, chunk) in all.iter().enumerate() {
        let mut source = world.open().source;
        source.seek(Some(chunk.start.clone())).await.unwrap();
        assert_eq!(rest(&mut *source).await, all[index..]);
        source.seek(Some(chunk.end.clone())).await.unwrap();
        assert_eq!(rest(&mut *source).await, all[index + 1..]);
    }
}

pub(crate) async fn stops_at_until(case: &SourceCase) {
    let world = World::new(case);
    let all = world.all().await;
    let mut source = world.open().source;
    for (from, first) in all.iter().enumerate() {
        for (to, last) in all.iter().enumerate().skip(from) {
            source.seek(Some(first.start.clone())).await.unwrap();
            assert_eq!(up_to(&mut *source, &last.end).await, all[from..=to]);
            // Live reading goes on where the replay stopped.
            assert_eq!(rest(&mut *source).await, all[to + 1..]);
        }
    }
    source.seek(None).await.unwrap();
    assert_eq!(up_to(&mut *source, &all[0].start).await, []);
}

pub(crate) async fn ends(case: &SourceCase) {
    let world = World::new(case);
    let SourceParts { mut source, bounded, .. } = world.open();
    assert!(bounded);
    assert!(is_ready(&mut *source), "there is something to read");
    let all = rest(&mut *source).await;
    assert!(matches!(source.poll(None).await.unwrap(), Polled::Ended));
    assert!(!is_ready(&mut *source), "an ended source is never ready");
    source.seek(None).await.unwrap();
    assert_eq!(rest(&mut *source).await, all);
}

/// For files: a position in the middle of a line. Sources of numbered rows have no such place.
pub(crate) async fn seeks_forward(case: &SourceCase) {
    let world = World::new(case);
    let all = world.all().await;
    let Some(bytes) = all[0].bytes.clone() else { return };
    let second = memchr::memchr(b'\n', &bytes).unwrap() + 1;
    let mut source = world.open().source;
    for offset in [1, second / 2, second - 1, second] {
        let Position { part, offset: begin } = all[0].start.clone();
        source.seek(Some(Position { part, offset: begin + offset as u64 })).await.unwrap();
        match source.poll(Some(&all[0].end)).await.unwrap() {
            Polled::Chunk(chunk) => assert_eq!(chunk.start.offset, begin + second as u64),
            other => panic!("{other:?}"),
        }
    }
}
