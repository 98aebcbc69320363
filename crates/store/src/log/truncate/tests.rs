//! What is left of a log whose beginning was deleted, also by a process that died while it did so.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::{ErrorKind, SubjectId, WorkspaceId};

use crate::{
    Frame, FrameKind, Log, LogError, LogOptions, LogReader, Lsn, NewFrame,
    files::{LogFiles, MemoryFiles, faulty::FaultyFiles},
};

/// Every batch gets a segment of its own.
const SEGMENT_BYTES: u64 = 1;

fn event(text: &str) -> NewFrame {
    NewFrame {
        kind: FrameKind::Event,
        workspace: WorkspaceId::DEFAULT,
        subject: SubjectId::NONE,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn open(files: &dyn LogFilesClone) -> Log {
    Log::open_files(files.arc(), crate::log::Tuning::segments(SEGMENT_BYTES), None).unwrap().log
}

/// Files that tests share with a log.
trait LogFilesClone {
    fn arc(&self) -> Arc<dyn LogFiles>;
}

impl LogFilesClone for MemoryFiles {
    fn arc(&self) -> Arc<dyn LogFiles> {
        Arc::new(self.clone())
    }
}

impl LogFilesClone for FaultyFiles {
    fn arc(&self) -> Arc<dyn LogFiles> {
        Arc::new(self.clone())
    }
}

/// Appends events, one segment each.
async fn append(log: &Log, texts: std::ops::Range<usize>) -> Vec<Lsn> {
    let mut places = Vec::new();
    for text in texts {
        places.push(log.append(vec![event(&text.to_string())]).await.unwrap().first);
    }
    places
}

fn read(mut reader: LogReader) -> Vec<Frame> {
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

fn texts(log: &Log) -> Vec<usize> {
    let frames = read(log.reader(log.start()));
    assert!(frames.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
    let events = frames.into_iter().filter(|frame| frame.kind == FrameKind::Event);
    events
        .map(|frame| String::from_utf8(frame.payload.to_vec()).unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn whole_segments_before_the_place_are_deleted_and_a_restart_goes_on() {
    let files = MemoryFiles::default();
    let log = open(&files);
    let places = append(&log, 0..5).await;
    let (second, third) = (places[1], places[2]);
    let shortened = log.truncate_before(Lsn(third.0 - 1)).unwrap();
    assert_eq!((shortened.start, shortened.segments), (second, 2));
    assert_eq!(shortened.bytes, second.0);
    assert_eq!((log.start(), texts(&log)), (second, vec![1, 2, 3, 4]));
    assert_eq!(log.truncate_before(second).unwrap().segments, 0);
    assert_eq!(log.truncate_before(Lsn::ZERO).unwrap().start, second);
    append(&log, 5..6).await;
    log.close().await;

    let log = open(&files);
    assert_eq!((log.start(), texts(&log)), (second, vec![1, 2, 3, 4, 5]));
    append(&log, 6..7).await;
    log.truncate_before(third).unwrap();
    drop(log);
    assert_eq!(texts(&open(&files)), [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn the_newest_segment_always_stays() {
    let files = MemoryFiles::default();
    let log = open(&files);
    append(&log, 0..3).await;
    log.truncate_before(Lsn(u64::MAX)).unwrap();
    assert_eq!(texts(&log), [2]);
    drop(log);
    let log = open(&files);
    assert_eq!(texts(&log), [2]);
    assert_eq!(log.segments().unwrap().len(), 2, "the last event, and the opening");
}

#[tokio::test]
async fn a_crash_after_any_step_leaves_a_log_that_opens() {
    for steps in 0..=5 {
        let files = FaultyFiles::default();
        let log = open(&files);
        let places = append(&log, 0..6).await;
        *files.faults.steps.lock().unwrap() = Some(steps);
        let failed = log.truncate_before(places[3]).is_err();
        assert_eq!(failed, steps < 5, "one for the start, four for the segments");
        let begin = if steps == 0 { 0 } else { 3 };
        assert_eq!(texts(&log), (begin..6).collect::<Vec<_>>(), "the running log is whole");
        drop(log);
        *files.faults.steps.lock().unwrap() = None;
        let log = open(&files);
        assert_eq!(texts(&log), (begin..6).collect::<Vec<_>>(), "{steps} steps");
        assert_eq!(files.bases().unwrap()[0], log.start(), "what was left over is gone");
    }
}

#[tokio::test]
async fn a_call_that_failed_is_made_up_for_by_the_next() {
    let files = FaultyFiles::default();
    let log = open(&files);
    let places = append(&log, 0..6).await;
    *files.faults.steps.lock().unwrap() = Some(1);
    log.truncate_before(places[3]).unwrap_err();
    *files.faults.steps.lock().unwrap() = None;
    assert_eq!(log.truncate_before(places[4]).unwrap().segments, 5);
    assert_eq!(files.bases().unwrap()[0], places[4]);
}

#[tokio::test]
async fn deleted_segments_that_are_back_after_a_power_loss_are_not_part_of_the_log() {
    for kept in 0..1_u32 << 4 {
        let files = MemoryFiles::default();
        let log = open(&files);
        let places = append(&log, 0..6).await;
        let bases = files.bases().unwrap();
        let old: Vec<_> = bases.iter().map(|base| (*base, files.open(*base).unwrap())).collect();
        log.truncate_before(places[3]).unwrap();
        drop(log);
        for (number, (base, file)) in old.iter().take(4).enumerate() {
            if kept >> number & 1 == 1 {
                let mut bytes = vec![0; file.size().unwrap() as usize];
                file.read_at(&mut bytes, 0).unwrap();
                files.create(*base).unwrap().write_all_at(&bytes, 0).unwrap();
            }
        }
        let log = open(&files);
        assert_eq!(texts(&log), [3, 4, 5]);
        assert_eq!(files.bases().unwrap()[0], places[3]);
    }
}

fn open_error(files: &MemoryFiles) -> LogError {
    Log::open_files(Arc::new(files.clone()), crate::log::Tuning::segments(SEGMENT_BYTES), None)
        .unwrap_err()
}

#[tokio::test]
async fn a_first_segment_that_was_not_deleted_on_purpose_is_missed() {
    let files = MemoryFiles::default();
    let log = open(&files);
    let places = append(&log, 0..4).await;
    drop(log);
    files.remove(Lsn::ZERO).unwrap();
    let error = open_error(&files);
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.to_string(),
        format!(
            "the beginning of the log is missing: it has to begin at position 0, but its first segment begins at {}; \
             restore the .log files from a copy, together with memory/START",
            places[0]
        )
    );
}

#[tokio::test]
async fn a_segment_that_a_truncation_kept_is_missed() {
    let files = MemoryFiles::default();
    let log = open(&files);
    let places = append(&log, 0..4).await;
    log.truncate_before(places[1]).unwrap();
    drop(log);
    files.remove(places[2]).unwrap();
    let error = open_error(&files);
    assert!(matches!(error, LogError::Damaged { .. }), "one in the middle: {error}");
    files.remove(places[1]).unwrap();
    let error = open_error(&files);
    assert!(matches!(error, LogError::BeginningMissing { .. }), "the first: {error}");
    for base in files.bases().unwrap() {
        files.remove(base).unwrap();
    }
    let error = open_error(&files);
    assert!(error.to_string().contains("it has no segment from there on"), "all: {error}");
}

#[tokio::test]
async fn a_start_that_can_not_be_read_is_not_guessed() {
    let files = MemoryFiles::default();
    let log = open(&files);
    let places = append(&log, 0..4).await;
    log.truncate_before(places[2]).unwrap();
    drop(log);
    let mut start = files.read_start().unwrap().unwrap();
    start[12] ^= 1;
    files.write_start(&start).unwrap();
    let error = open_error(&files);
    assert_eq!(
        error.to_string(),
        "memory/START says which log this is and where it begins, and can't be used: it is not intact; restore it from a copy of the directory"
    );
}

#[tokio::test]
async fn a_reader_goes_on_to_the_end_of_its_deleted_segment_and_then_says_why_it_stops() {
    let files = MemoryFiles::default();
    let log = open(&files);
    let batch = (0..3).map(|text| event(&text.to_string())).collect();
    let first = log.append(batch).await.unwrap().first;
    let places = append(&log, 3..6).await;
    let mut reader = log.reader(first);
    reader.next_frame().unwrap().unwrap();
    let mut late = log.reader(first);
    log.truncate_before(places[1]).unwrap();
    for _ in 1..3 {
        reader.next_frame().unwrap().unwrap();
    }
    let error = reader.next_frame().unwrap_err();
    assert!(
        matches!(error, LogError::Truncated { at, start } if (at, start) == (places[0], places[1])),
        "{error}"
    );
    assert!(matches!(late.next_frame(), Err(LogError::Truncated { at, .. }) if at == first));
    assert!(matches!(log.reader(Lsn::ZERO).next_frame(), Err(LogError::Truncated { .. })));
}

#[tokio::test]
async fn a_closed_log_is_not_shortened() {
    let files = MemoryFiles::default();
    let log = open(&files);
    append(&log, 0..3).await;
    log.close().await;
    assert!(matches!(log.truncate_before(Lsn(u64::MAX)), Err(LogError::Closed)));
    assert_eq!(files.bases().unwrap().len(), 4);
}

#[tokio::test]
async fn a_directory_is_shortened_beside_a_reader_in_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let options = || LogOptions {
        dir: dir.path().to_owned(),
        segment_bytes: SEGMENT_BYTES,
        lease: crate::LEASE_DEFAULT,
        identity: None,
    };
    let log = Log::open(options()).unwrap().log;
    let places = append(&log, 0..5).await;
    let segments = log.segments().unwrap();
    assert_eq!(segments.len(), 6);
    assert!(segments.iter().all(|segment| segment.written_at.is_some()));
    assert!(segments.windows(2).all(|pair| pair[0].end == pair[1].base));
    let mut beside = LogReader::of_directory(dir.path()).unwrap();
    beside.next_frame().unwrap().unwrap();
    log.truncate_before(places[2]).unwrap();
    let error = beside.next_frame().unwrap_err();
    assert!(matches!(error, LogError::Truncated { start, .. } if start == places[2]), "{error}");
    let beside = LogReader::of_directory(dir.path()).unwrap();
    assert_eq!((beside.start(), read(beside).len()), (places[2], 3));
    log.close().await;
    drop(log);
    let log = Log::open(options()).unwrap().log;
    assert_eq!(texts(&log), [2, 3, 4]);
}
