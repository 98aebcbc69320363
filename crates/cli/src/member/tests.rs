//! Faults of Postrider in one pipeline.

mod away;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use object_store::{ObjectStore, memory::InMemory};
use postrider_core::{
    Chunk, ClockTime, DataSink, Decoded, Decoder, Diagnostics, PipelineName, Polled, Position,
    Reject, SinkError, Source, SourceError,
};
use postrider_engine::{Connectors, ManualClock, NoObserver, SourceParts};
use postrider_plan::Table;
use postrider_store::{FrameKind, Log, PipelineRecord};

use super::{Member, RESTART_WINDOW_NS, Restarts, Starter};
use crate::{
    checkpoints::CheckpointSettings,
    outcome::Outcome,
    project::{Beside, LoadedPipeline, PipelineText, check_text},
    wiring::Wiring,
};

/// How often a panic is still to come, in the place where each is looked at. Clones share it.
#[derive(Debug, Clone, Default)]
struct Panics {
    /// Before a source has read anything.
    seek: Arc<AtomicUsize>,
    decode: Arc<AtomicUsize>,
}

/// Panics, if that is still to come.
fn pass(panics: &AtomicUsize) {
    let left = |panics: usize| panics.checked_sub(1);
    let fault = panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
    assert!(fault.is_err(), "a fault");
}

/// Opens tables that panic.
struct Faulty(Wiring, Panics);

impl Connectors for Faulty {
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        let SourceParts { source, decoder } = self.0.source(table, schema)?;
        let (source, panics) = (FaultySource(source, self.1.clone()), self.1.clone());
        let decoder = Arc::new(FaultyDecoder { decoder, panics });
        Ok(SourceParts { source: Box::new(source), decoder })
    }

    fn sink(&self, table: &Table, schema: SchemaRef) -> Result<Box<dyn DataSink>, Diagnostics> {
        self.0.sink(table, schema)
    }

    fn print(&self, schema: SchemaRef) -> Box<dyn DataSink> {
        self.0.print(schema)
    }

    fn dead_letters(&self, pipeline: &PipelineName) -> Result<Box<dyn DataSink>, Diagnostics> {
        self.0.dead_letters(pipeline)
    }

    fn dead_letter_rows(&self, table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError> {
        self.0.dead_letter_rows(table, rejects)
    }
}

struct FaultySource(Box<dyn Source>, Panics);

#[async_trait]
impl Source for FaultySource {
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        pass(&self.1.seek);
        self.0.seek(position).await
    }

    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError> {
        self.0.poll(until).await
    }

    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

#[derive(Debug)]
struct FaultyDecoder {
    decoder: Arc<dyn Decoder>,
    panics: Panics,
}

impl Decoder for FaultyDecoder {
    fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        pass(&self.panics.decode);
        self.decoder.decode(chunk)
    }
}

fn pipeline() -> LoadedPipeline {
    let sql = "CREATE TABLE t (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 500);
        CREATE TABLE nowhere WITH (connector = 'blackhole'); INSERT INTO nowhere SELECT n FROM t;";
    let text = PipelineText {
        path: "test.sql",
        sql,
        name: PipelineName("test".to_owned()),
        dir: PathBuf::new(),
        templates: &Beside(PathBuf::new()),
    };
    check_text(&text, |_| ()).unwrap_or_else(|found| panic!("{found:?}"))
}

/// What a pipeline that is started again and again keeps, and what it meets.
struct Home {
    log: Log,
    objects: Arc<dyn ObjectStore>,
    panics: Panics,
    clock: ManualClock,
}

impl Home {
    fn new() -> Self {
        Self {
            log: Log::in_memory(),
            objects: Arc::new(InMemory::new()),
            panics: Panics::default(),
            clock: ManualClock::new(ClockTime(0)),
        }
    }

    async fn start(&self, refire: bool) -> Outcome<Member> {
        let (log, panics) = (self.log.clone(), self.panics.clone());
        let checkpoints = CheckpointSettings::new(Arc::clone(&self.objects), i64::MAX);
        let starter = Starter {
            parallelism: 1,
            wall: Arc::new(self.clock.clone()),
            clock: Arc::new(self.clock.clone()),
            checkpoints: Some(CheckpointSettings { refire, ..checkpoints }),
            connectors: Arc::new(move |loaded| {
                let wiring = Wiring {
                    log: log.clone(),
                    clock: Arc::new(ManualClock::new(ClockTime(0))),
                    dir: loaded.dir.clone(),
                    dead_letters: None,
                };
                Arc::new(Faulty(wiring, panics.clone()))
            }),
            observer: Arc::new(NoObserver),
            log: self.log.clone(),
        };
        Member::start(pipeline(), starter, false).await
    }

    /// Runs it to its end; how many rows it read since its last start.
    async fn rows(&self, refire: bool) -> Outcome<u64> {
        let mut member = self.start(refire).await?;
        // A fault is not an error of the process: others go on.
        member.ended().await?;
        member.into_summary().map(|summary| summary.rows)
    }

    /// The fire series that the log names, in order.
    fn fire_series(&self) -> Vec<u32> {
        let mut reader = self.log.reader(self.log.start());
        let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
        let named = frames.filter(|frame| frame.kind == FrameKind::Pipeline);
        named.map(|frame| PipelineRecord::decode(&frame.payload).unwrap().fire_series).collect()
    }
}

#[tokio::test]
async fn three_faults_are_mended_by_starting_again() {
    let home = Home::new();
    home.panics.decode.store(3, Ordering::Relaxed);
    assert_eq!(home.rows(false).await.unwrap(), 500);
}

#[tokio::test]
async fn the_fourth_fault_takes_the_pipeline_out_alone() {
    let home = Home::new();
    home.panics.decode.store(4, Ordering::Relaxed);
    let failure = home.rows(false).await.unwrap_err();
    assert!(failure.text.contains("a fault"), "{}", failure.text);
}

#[tokio::test]
async fn firing_again_is_not_forgotten_by_a_fault_before_it_began() {
    let home = Home::new();
    assert_eq!(home.rows(false).await.unwrap(), 500);
    home.panics.seek.store(2, Ordering::Relaxed);
    assert_eq!(home.rows(true).await.unwrap(), 500, "all of it is read again");
    assert_eq!(home.fire_series(), [0, 1]);
    assert_eq!(home.rows(false).await.unwrap(), 0, "and never by itself");
}

#[tokio::test]
async fn firing_again_is_not_repeated_by_a_fault_after_it_began() {
    let home = Home::new();
    assert_eq!(home.rows(false).await.unwrap(), 500);
    home.panics.decode.store(3, Ordering::Relaxed);
    assert_eq!(home.rows(true).await.unwrap(), 500);
    assert_eq!(home.fire_series(), [0, 1]);
}

#[test]
fn faults_that_are_rare_are_mended_for_ever() {
    let mut restarts = Restarts::default();
    for fault in 0..100 {
        assert!(restarts.allow(fault * RESTART_WINDOW_NS / 3));
    }
    assert!(!restarts.allow(99 * RESTART_WINDOW_NS / 3));
}
