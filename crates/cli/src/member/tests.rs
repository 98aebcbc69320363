//! Faults of Postrider in one pipeline.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use object_store::memory::InMemory;
use postrider_core::{
    Chunk, ClockTime, DataSink, Decoded, Decoder, Diagnostics, PipelineName, Reject, SinkError,
    SourceError,
};
use postrider_engine::{Connectors, ManualClock, NoObserver, SourceParts};
use postrider_plan::Table;
use postrider_store::Log;

use super::{Member, RESTART_WINDOW_NS, Restarts, Starter};
use crate::{
    checkpoints::CheckpointSettings,
    project::{Beside, LoadedPipeline, PipelineText, check_text},
    wiring::Wiring,
};

/// Opens tables whose decoder has so many faults left.
struct Faulty(Wiring, Arc<AtomicUsize>);

impl Connectors for Faulty {
    fn source(&self, table: &Table, schema: SchemaRef) -> Result<SourceParts, Diagnostics> {
        let SourceParts { source, decoder } = self.0.source(table, schema)?;
        let faults = Arc::clone(&self.1);
        Ok(SourceParts { source, decoder: Arc::new(FaultyDecoder { decoder, faults }) })
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

#[derive(Debug)]
struct FaultyDecoder {
    decoder: Arc<dyn Decoder>,
    faults: Arc<AtomicUsize>,
}

impl Decoder for FaultyDecoder {
    fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded, SourceError> {
        let left = |faults: usize| faults.checked_sub(1);
        let fault = self.faults.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        assert!(fault.is_err(), "a fault");
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

/// A pipeline that meets so many faults, and the clock by which they are counted.
async fn member(faults: usize, clock: &ManualClock) -> Member {
    let log = Log::in_memory();
    let faults = Arc::new(AtomicUsize::new(faults));
    let wiring = log.clone();
    let starter = Starter {
        parallelism: 1,
        wall: Arc::new(clock.clone()),
        clock: Arc::new(clock.clone()),
        checkpoints: Some(CheckpointSettings::new(Arc::new(InMemory::new()), i64::MAX)),
        connectors: Arc::new(move |loaded| {
            let wiring = Wiring {
                log: wiring.clone(),
                clock: Arc::new(ManualClock::new(ClockTime(0))),
                dir: loaded.dir.clone(),
                dead_letters: None,
            };
            Arc::new(Faulty(wiring, Arc::clone(&faults)))
        }),
        observer: Arc::new(NoObserver),
        log,
    };
    Member::start(pipeline(), starter, false).await.unwrap()
}

#[tokio::test]
async fn three_faults_are_mended_by_starting_again() {
    let mut member = member(3, &ManualClock::new(ClockTime(0))).await;
    member.ended().await.unwrap();
    assert_eq!(member.into_summary().unwrap().rows, 500);
}

#[tokio::test]
async fn the_fourth_fault_takes_the_pipeline_out_alone() {
    let mut member = member(4, &ManualClock::new(ClockTime(0))).await;
    // Not an error of the process: others go on.
    member.ended().await.unwrap();
    let failure = member.into_summary().unwrap_err();
    assert!(failure.text.contains("a fault"), "{}", failure.text);
}

#[test]
fn faults_that_are_rare_are_mended_for_ever() {
    let mut restarts = Restarts::default();
    for fault in 0..100 {
        assert!(restarts.allow(fault * RESTART_WINDOW_NS / 3));
    }
    assert!(!restarts.allow(99 * RESTART_WINDOW_NS / 3));
}
