//! Appending, group commit, failures, and the lock.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use postrider_core::{ErrorKind, Generation, SubjectId, WorkspaceId};

use super::{Log, LogOptions, Opened, Ticket, Tuning};
use crate::{
    FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind, LogError, LogReader, Lsn, NewFrame,
    files::{faulty::FaultyFiles, page_cache::CachedFiles},
};

mod disk_full;
mod identity;
mod model;
mod takeover;

fn event(text: impl Into<Bytes>) -> NewFrame {
    NewFrame {
        kind: FrameKind::Event,
        workspace: WorkspaceId::DEFAULT,
        subject: SubjectId::NONE,
        payload: text.into(),
    }
}

fn open(files: &FaultyFiles) -> Opened {
    let tuning = Tuning { segment_bytes: 200, disk_full_pause: Duration::ZERO, identity: None };
    Log::open_files(Arc::new(files.clone()), tuning, None).unwrap()
}

fn read_all(mut reader: LogReader) -> Vec<Frame> {
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

fn texts(frames: &[Frame]) -> Vec<String> {
    let events = frames.iter().filter(|frame| frame.kind == FrameKind::Event);
    events.map(|frame| String::from_utf8(frame.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_reopened_log_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state/log");
    let options = || LogOptions { segment_bytes: 300, ..LogOptions::new(&dir) };
    let mut ends = Vec::new();
    for generation in 1..=3 {
        let opened = Log::open(options()).unwrap();
        assert_eq!(opened.generation, Generation(generation));
        assert_eq!(opened.log.generation(), Generation(generation));
        assert_eq!(opened.truncated, None);
        for number in 0..5 {
            let text = format!("{generation}.{number}");
            ends.push(opened.log.append(vec![event(text)]).await.unwrap().end);
        }
        opened.log.close().await;
    }

    let opened = Log::open(options()).unwrap();
    let frames = read_all(opened.log.reader(Lsn::ZERO));
    assert_eq!(texts(&frames).len(), 15);
    assert!(texts(&frames).is_sorted());
    assert_eq!(frames.iter().filter(|frame| frame.kind == FrameKind::Opened).count(), 4);
    assert!(frames.iter().zip(0..).all(|(frame, number)| frame.sequence == number));
    assert!(frames.windows(2).all(|pair| pair[0].end == pair[1].lsn));
    assert!(frames.iter().is_sorted_by_key(|frame| frame.generation));
    let read_ends = frames.iter().filter(|frame| frame.kind == FrameKind::Event);
    assert_eq!(read_ends.map(|frame| frame.end).collect::<Vec<_>>(), ends);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_concurrent_appenders_stay_together() {
    const APPENDERS: usize = 8;
    const BATCHES: usize = 50;
    let log = Log::in_memory();
    let tasks = (0..APPENDERS).map(|appender| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut places = Vec::new();
            for batch in 0..BATCHES {
                let frames = (0..3).map(|part| event(format!("{appender} {batch} {part}")));
                let appended = log.append(frames.collect()).await.unwrap();
                assert!(*log.durable().borrow() >= appended.end);
                places.push(appended);
            }
            places
        })
    });
    for (appender, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
        for (batch, appended) in task.await.unwrap().into_iter().enumerate() {
            let mut reader = log.reader(appended.first);
            for part in 0..3 {
                let frame = reader.next_frame().unwrap().unwrap();
                assert_eq!(frame.payload, format!("{appender} {batch} {part}"));
            }
            assert_eq!(reader.position(), appended.end);
        }
    }
    assert_eq!(read_all(log.reader(Lsn::ZERO)).len(), 1 + APPENDERS * BATCHES * 3);
}

#[tokio::test]
async fn frames_are_seen_only_once_they_are_durable() {
    let files = FaultyFiles::default();
    let log = open(&files).log;
    let start = *log.durable().borrow();
    let mut reader = log.reader(start);
    let mut durable = log.durable();
    durable.borrow_and_update();

    let gate = files.faults.close_gate();
    let mut first = log.submit(vec![event("a")]).await.unwrap();
    files.faults.await_sync();
    let second = log.submit(vec![event("b"), event("c")]).await.unwrap();
    // The bytes of "a" are in the file, but not durable.
    assert_eq!(reader.next_frame().unwrap(), None);
    assert_eq!(*durable.borrow(), start);
    assert!(first.done.try_recv().is_err());

    drop(gate);
    let second = second.durable().await.unwrap();
    assert_eq!(first.durable().await.unwrap().end, second.first);
    assert_eq!(*durable.borrow_and_update(), second.end);
    assert_eq!(texts(&read_all(reader)), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_empty_batch_waits_for_everything_before_it() {
    let log = Log::in_memory();
    let before = log.submit(vec![event("a")]).await.unwrap();
    let empty = log.append(Vec::new()).await.unwrap();
    assert_eq!(empty.first, empty.end);
    assert_eq!(empty.first, before.durable().await.unwrap().end);
}

/// Kills a log by a fault, then checks that it stays dead and that a new process recovers what was promised.
async fn killed_by(fault: impl Fn(&FaultyFiles, bool), reason: &str) {
    let files = FaultyFiles::default();
    let log = open(&files).log;
    log.append(vec![event("kept"), event("x".repeat(150))]).await.unwrap();
    let mut durable = log.durable();
    let end = *durable.borrow_and_update();

    fault(&files, true);
    let error = log.append(vec![event("lost"), event("lost too")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains(reason), "{error}");
    assert!(durable.changed().await.is_err(), "followers are told");
    assert_eq!(*durable.borrow(), end);

    fault(&files, false);
    let again = match log.submit(vec![event("refused")]).await {
        Ok(ticket) => ticket.durable().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(again.to_string(), error.to_string(), "it stays dead");
    assert_eq!(texts(&read_all(log.reader(Lsn::ZERO)))[0], "kept");
    log.close().await;
    drop(log);

    let reopened = open(&files).log;
    let found = texts(&read_all(reopened.reader(Lsn::ZERO)));
    assert_eq!(found[0], "kept");
    assert!(!found.contains(&"refused".to_owned()));
}

#[tokio::test]
async fn a_failed_write_kills_the_log() {
    let fault = |files: &FaultyFiles, on| files.faults.write.store(on, Ordering::SeqCst);
    killed_by(fault, "can't write").await;
}

#[tokio::test]
async fn a_failed_sync_kills_the_log() {
    let fault = |files: &FaultyFiles, on| files.faults.sync.store(on, Ordering::SeqCst);
    killed_by(fault, "bad block").await;
}

/// After a failed sync the page cache still holds what the disk does not, and the next sync has nothing to write.
#[tokio::test]
async fn what_a_reopened_log_holds_is_on_the_disk_even_after_a_failed_sync() {
    let files = CachedFiles::default();
    let open = || Log::open_files(Arc::new(files.clone()), Tuning::default(), None);
    let log = open().unwrap().log;
    log.append(vec![event("kept")]).await.unwrap();
    files.set_failing(true);
    let lost = vec![event("lost"), event("x".repeat(3_000)), event("lost too")];
    log.append(lost).await.unwrap_err();
    log.close().await;

    assert!(open().is_err(), "the disk still fails");
    files.set_failing(false);
    let reopened = open().unwrap().log;
    let found = read_all(reopened.reader(Lsn::ZERO));
    assert_eq!(texts(&found).len(), 4, "the cache has them all");
    reopened.append(vec![event("later")]).await.unwrap();
    reopened.close().await;

    files.lose_power(&mut || false);
    let reopened = open().unwrap().log;
    let after = read_all(reopened.reader(Lsn::ZERO));
    assert_eq!(after[..found.len()], found);
    assert_eq!(texts(&after)[4], "later");
}

#[tokio::test]
async fn a_segment_that_cant_be_created_kills_the_log() {
    let fault = |files: &FaultyFiles, on| files.faults.create.store(on, Ordering::SeqCst);
    killed_by(fault, "can't create").await;
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(200);
    let first = Log::open(LogOptions { lease, ..LogOptions::new(dir.path()) }).unwrap();
    let error = Log::open(LogOptions::new(dir.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.to_string(),
        format!(
            "the log in {} is in use by process {}; stop that process, or give this one a state \
             directory of its own",
            dir.path().display(),
            std::process::id()
        )
    );
    first.log.close().await;
    let second = Log::open(LogOptions::new(dir.path())).unwrap();
    let queued = second.log.submit(vec![event("a")]).await.unwrap();
    drop(second);
    queued.durable().await.unwrap();
    assert_eq!(Log::open(LogOptions::new(dir.path())).unwrap().generation, Generation(3));
}

#[tokio::test]
async fn a_closed_log_refuses_frames_and_can_still_be_read() {
    let log = Log::in_memory();
    let queued = log.submit(vec![event("a")]).await.unwrap();
    log.close().await;
    log.close().await;
    queued.durable().await.unwrap();
    let error = log.append(vec![event("b")]).await.unwrap_err();
    assert!(matches!(error, LogError::Closed));
    assert_eq!(texts(&read_all(log.reader(log.start()))), ["a"]);
}

#[tokio::test]
async fn oversized_frames_and_batches_are_refused() {
    let log = Log::in_memory();
    let largest = Bytes::from(vec![0; FRAME_PAYLOAD_BYTES_MAX]);
    let frame = event(vec![0; FRAME_PAYLOAD_BYTES_MAX + 1]);
    let error = log.append(vec![frame]).await.unwrap_err();
    assert!(matches!(error, LogError::TooLarge { what: "frame", .. }));
    let batch = vec![event(largest.clone()); 4];
    let error = log.append(batch).await.unwrap_err();
    assert!(matches!(error, LogError::TooLarge { what: "batch", .. }));
    log.append(vec![event(largest)]).await.unwrap();
    assert_eq!(read_all(log.reader(Lsn::ZERO)).len(), 2);
}

/// Polls once.
fn poll(submit: impl Future<Output = Result<Ticket, LogError>>) -> Poll<()> {
    pin!(submit).poll(&mut Context::from_waker(Waker::noop())).map(|ticket| drop(ticket.unwrap()))
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes() {
    let files = FaultyFiles::default();
    let log = open(&files).log;
    let large = event(vec![0; FRAME_PAYLOAD_BYTES_MAX]);
    let gate = files.faults.close_gate();
    for _ in 0..3 {
        assert!(poll(log.submit(vec![large.clone()])).is_ready());
    }
    assert!(poll(log.submit(vec![large.clone()])).is_pending());
    drop(gate);
    log.append(vec![large]).await.unwrap();
    assert_eq!(
        read_all(log.reader(Lsn::ZERO)).len(),
        1 + 3 + 1,
        "the cancelled call queued nothing"
    );
}
