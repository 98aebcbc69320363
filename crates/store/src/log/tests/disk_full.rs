//! A disk that is full for a while.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use postrider_core::ErrorKind;

use super::{LogError, Lsn, Tuning, event, read_all, texts};
use crate::{Log, files::faulty::FaultyFiles, segment::SEGMENT_HEADER_BYTES};

fn open(files: &FaultyFiles, segment_bytes: u64) -> Log {
    let tuning = Tuning { segment_bytes, disk_full_pause: Duration::ZERO, identity: None };
    Log::open_files(Arc::new(files.clone()), tuning, None).unwrap().log
}

/// What a collector does.
async fn offer(log: &Log, text: &str) -> Result<(), LogError> {
    log.submit_if_room(vec![event(text.to_owned())]).await.unwrap().durable().await.map(drop)
}

/// Everything but what was refused is there, once and in order, also for the next process.
fn holds(files: &FaultyFiles, log: Log, expected: &[&str]) {
    assert_eq!(texts(&read_all(log.reader(Lsn::ZERO))), expected);
    drop(log);
    let reopened = Log::open_files(Arc::new(files.clone()), Tuning::default(), None).unwrap();
    assert_eq!(reopened.truncated, None);
    let frames = read_all(reopened.log.reader(Lsn::ZERO));
    assert_eq!(texts(&frames), expected);
    assert!(frames.iter().zip(0..).all(|(frame, number)| frame.sequence == number));
}

#[tokio::test]
async fn what_may_be_refused_is_and_the_rest_waits_for_room() {
    for (segment_bytes, finds_by_write, room) in
        [(100_000, false, 0), (100_000, true, 0), (100_000, true, 60), (1, false, 0), (1, true, 20)]
    {
        let files = FaultyFiles::default();
        let log = open(&files, segment_bytes);
        offer(&log, "before").await.unwrap();
        files.faults.no_reserve.store(finds_by_write, Ordering::SeqCst);
        files.faults.set_room(Some(room));
        let error = offer(&log, "refused").await.unwrap_err();
        assert!(matches!(error, LogError::DiskFull { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Retry);

        let sealed = log.submit(vec![event("sealed"), event("sealed too")]).await.unwrap();
        let full = files.faults.await_full(0);
        // Nobody waits behind what waits.
        offer(&log, "refused as well").await.unwrap_err();
        let sent = log.submit(vec![event("sent")]).await.unwrap();
        files.faults.await_full(full);
        assert_eq!(texts(&read_all(log.reader(Lsn::ZERO))), ["before"]);

        files.faults.set_room(None);
        sealed.durable().await.unwrap();
        sent.durable().await.unwrap();
        offer(&log, "after").await.unwrap();
        holds(&files, log, &["before", "sealed", "sealed too", "sent", "after"]);
    }
}

#[tokio::test]
async fn what_fits_is_stored_although_more_would_not() {
    let files = FaultyFiles::default();
    let log = open(&files, 100_000);
    let gate = files.faults.close_gate();
    let first = log.submit(vec![event("first")]).await.unwrap();
    files.faults.await_sync();
    files.faults.set_room(Some(100));
    let offered = log.submit_if_room(vec![event("x".repeat(200))]).await.unwrap();
    let small = log.submit(vec![event("small")]).await.unwrap();
    drop(gate);
    first.durable().await.unwrap();
    assert!(matches!(offered.durable().await, Err(LogError::DiskFull { .. })));
    small.durable().await.unwrap();
    files.faults.set_room(None);
    holds(&files, log, &["first", "small"]);
}

#[tokio::test]
async fn a_full_disk_does_not_keep_a_log_from_being_closed() {
    let files = FaultyFiles::default();
    let log = open(&files, 100_000);
    files.faults.set_room(Some(0));
    let waiting = log.submit(vec![event("waiting")]).await.unwrap();
    files.faults.await_full(0);
    log.close().await;
    assert!(matches!(waiting.durable().await, Err(LogError::Closed)));

    let files = FaultyFiles::default();
    let log = open(&files, 100_000);
    files.faults.set_room(Some(0));
    let waiting = log.submit(vec![event("waiting")]).await.unwrap();
    files.faults.await_full(0);
    drop(log);
    assert!(matches!(waiting.durable().await, Err(LogError::Closed)));
}

/// After a failed sync nothing is known, whatever the reason.
#[tokio::test]
async fn a_disk_that_a_sync_finds_full_ends_the_log() {
    let files = FaultyFiles::default();
    let log = open(&files, 100_000);
    offer(&log, "before").await.unwrap();
    files.faults.sync_full.store(true, Ordering::SeqCst);
    let error = offer(&log, "unknown").await.unwrap_err();
    assert!(matches!(error, LogError::Dead { .. }), "{error}");
}

#[tokio::test]
async fn a_disk_without_room_for_a_start_is_reported() {
    let files = FaultyFiles::default();
    files.faults.set_room(Some(SEGMENT_HEADER_BYTES + 10));
    let opened = Log::open_files(Arc::new(files.clone()), Tuning::default(), None);
    assert!(matches!(opened, Err(LogError::DiskFull { .. })), "{opened:?}");
    files.faults.set_room(None);
    holds(&files, open(&files, 100_000), &[]);
}
