//! A process that is stopped at any instruction, taken over, and resumed.

use std::{path::Path, sync::Arc, thread, time::Duration};

use postrider_core::ErrorKind;

use super::{LogError, Lsn, Opened, Tuning, event, read_all, texts};
use crate::{
    Log,
    files::{DiskFiles, LogFiles, MemoryFiles, faulty::FaultyFiles},
    lock::DirectoryLock,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Opens a log whose heartbeat has an hour, and whose holder is watched in no time.
fn open(dir: &Path, files: impl LogFiles + 'static, segment_bytes: u64) -> Opened {
    let lock = DirectoryLock::take(dir, HOUR, |_| ()).unwrap();
    let tuning = Tuning { segment_bytes, disk_full_pause: Duration::ZERO, identity: None };
    Log::open_files(Arc::new(files), tuning, Some(lock)).unwrap()
}

/// All bytes of all files.
fn contents(files: &MemoryFiles) -> Vec<(Lsn, Vec<u8>)> {
    let bytes = |base| {
        let file = files.open(base).unwrap();
        let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        (base, bytes)
    };
    files.bases().unwrap().into_iter().map(bytes).collect()
}

fn append(log: &Log, text: &str) -> Result<(), LogError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(log.append(vec![event(text.to_owned()), event(format!("{text} too"))]))
        .map(drop)
}

/// Stops a process before one of the operations on files that an append makes, lets another one take over and
/// append, and resumes it. Returns whether the append had such an operation.
fn stopped_before(operation: u64, segment_bytes: u64) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let files = FaultyFiles::default();
    let zombie = open(dir.path(), files.clone(), segment_bytes).log;
    append(&zombie, "promised").unwrap();
    let faults = Arc::clone(&files.faults);
    let stopped = faults.stop_after(operation);
    let late = thread::spawn({
        let (log, faults) = (zombie.clone(), Arc::clone(&faults));
        move || {
            let appended = append(&log, "late");
            faults.done();
            appended
        }
    });
    if !faults.is_stopped() {
        drop(stopped);
        late.join().unwrap().unwrap();
        return false;
    }
    let successor = open(dir.path(), files.files.clone(), segment_bytes);
    assert!(successor.taken_from.is_some());
    append(&successor.log, "mine").unwrap();
    let before = contents(&files.files);

    drop(stopped);
    let error = late.join().unwrap().unwrap_err();
    assert!(matches!(error, LogError::Fenced { .. }), "operation {operation}: {error}");
    assert!(matches!(append(&zombie, "later"), Err(LogError::Fenced { .. })));
    drop(zombie);
    assert_eq!(contents(&files.files), before, "operation {operation}: it changed what has a name");

    append(&successor.log, "mine again").unwrap();
    let found = texts(&read_all(successor.log.reader(Lsn::ZERO)));
    drop(successor);
    let reopened = open(dir.path(), files.files.clone(), segment_bytes);
    assert_eq!((reopened.truncated, reopened.taken_from), (None, None));
    assert_eq!(texts(&read_all(reopened.log.reader(Lsn::ZERO))), found);
    // What was written and not promised may be there, as after a crash.
    let mut expected = vec!["promised", "promised too"];
    if found.len() == 8 {
        expected.extend(["late", "late too"]);
    }
    expected.extend(["mine", "mine too", "mine again", "mine again too"]);
    assert_eq!(found, expected, "operation {operation}");
    true
}

#[test]
fn whatever_a_zombie_was_about_to_do_its_successor_keeps_its_log() {
    // In one segment: write, sync. In a new one: create, header, sync, names, cut, write, sync.
    for (segment_bytes, operations) in [(100_000, 2), (1, 7)] {
        for operation in 0..operations {
            assert!(stopped_before(operation, segment_bytes), "{operation} of {operations}");
        }
        assert!(!stopped_before(operations, segment_bytes), "more than {operations}");
    }
}

#[tokio::test]
async fn a_zombie_without_work_learns_it_with_its_next_beat() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(50);
    let lock = DirectoryLock::take(dir.path(), lease, |_| ()).unwrap();
    let files = DiskFiles::new(dir.path().to_owned());
    let tuning = Tuning::default();
    let zombie = Log::open_files(Arc::new(files), tuning, Some(lock)).unwrap().log;
    zombie.check_fence().unwrap();
    // Its thread beats, so nobody takes it over by watching; without its file nobody need watch.
    std::fs::remove_file(dir.path().join("LOCK")).unwrap();
    let successor = DirectoryLock::take(dir.path(), HOUR, |_| ()).unwrap();
    let error = zombie.ended().await;
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("taken over by"), "{error}");
    assert!(matches!(zombie.check_fence(), Err(LogError::Fenced { .. })));
    assert!(matches!(zombie.append(vec![event("a")]).await, Err(LogError::Fenced { .. })));
    successor.fence().check().unwrap();
}

#[tokio::test]
async fn a_log_in_memory_is_never_fenced_and_a_closed_one_says_so() {
    let log = Log::in_memory();
    log.check_fence().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), DiskFiles::new(dir.path().to_owned()), 1_000).log;
    log.check_fence().unwrap();
    log.close().await;
    assert!(matches!(log.check_fence(), Err(LogError::Closed)));
    assert!(matches!(log.ended().await, LogError::Closed));
}
