//! Who gets a log, who is refused, and who learns that it is lost. Nothing waits for real time: a lease of an hour has no
//! beats of its own here, and the watching side's waits are calls.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process,
    sync::mpsc,
    time::Duration,
};

use super::{DirectoryLock, Fenced, LOCK, OPENING};
use crate::LogError;

const HOUR: Duration = Duration::from_secs(3_600);

fn take(dir: &Path, wait: impl FnMut(Duration)) -> Result<DirectoryLock, LogError> {
    DirectoryLock::take(dir, HOUR, wait)
}

/// The lock of a process that has opened its log.
fn opened(dir: &Path) -> DirectoryLock {
    let mut lock = take(dir, |_| panic!("nobody has it")).unwrap();
    lock.opened();
    lock
}

/// What the holder's thread does.
fn beat(dir: &Path, number: u64) {
    let text = format!("beat {number:020}\n");
    let path = dir.join(LOCK);
    let size = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(text.as_bytes(), size - text.len() as u64).unwrap();
}

fn refused(result: Result<DirectoryLock, LogError>) -> String {
    match result {
        Err(LogError::Locked { holder, .. }) => holder,
        other => panic!("{other:?}"),
    }
}

fn this_process() -> String {
    format!("process {}", process::id())
}

#[test]
fn who_meets_a_beating_holder_is_refused_with_the_next_beat() {
    let dir = tempfile::tempdir().unwrap();
    let holder = opened(dir.path());
    let mut waits = 0;
    let second = take(dir.path(), |_| {
        waits += 1;
        if waits == 7 {
            beat(dir.path(), 1);
        }
    });
    assert_eq!(refused(second), this_process());
    assert_eq!(waits, 7);
    holder.fence().check().unwrap();
}

#[test]
fn a_holder_without_a_beat_for_a_whole_lease_is_taken_over_and_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let holder = opened(dir.path());
    let fence = holder.fence();
    let mut watched = Duration::ZERO;
    let successor = take(dir.path(), |wait| {
        fence.check().unwrap();
        watched += wait;
    })
    .unwrap();
    assert_eq!(watched, HOUR);
    assert_eq!(successor.taken_from(), Some(this_process().as_str()));
    successor.fence().check().unwrap();
    match fence.check() {
        Err(Fenced::By { holder, .. }) => assert_eq!(holder, this_process()),
        other => panic!("{other:?}"),
    }
    // The end of the zombie takes nothing from its successor.
    drop(holder);
    successor.fence().check().unwrap();
}

#[test]
fn a_holder_that_ends_meanwhile_is_followed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Some(opened(dir.path()));
    let fence = holder.as_ref().unwrap().fence();
    let mut waits = 0;
    let second = take(dir.path(), |_| {
        waits += 1;
        holder = None;
    });
    assert_eq!((waits, second.unwrap().taken_from()), (1, None));
    assert!(matches!(fence.check(), Err(Fenced::Released)));
}

#[test]
fn the_lease_of_the_holder_counts() {
    let dir = tempfile::tempdir().unwrap();
    let _holder = opened(dir.path());
    let mut watched = Duration::ZERO;
    DirectoryLock::take(dir.path(), Duration::from_millis(1), |wait| watched += wait).unwrap();
    assert_eq!(watched, HOUR);
}

#[test]
fn nobody_takes_what_is_being_taken_or_opened() {
    let dir = tempfile::tempdir().unwrap();
    let _holder = opened(dir.path());
    let mut tried = false;
    let mut successor = take(dir.path(), |_| {
        tried = true;
        let third = refused(take(dir.path(), |_| panic!("it is refused at once")));
        assert!(third.starts_with(&format!("{}, which is opening it", this_process())), "{third}");
    })
    .unwrap();
    assert!(tried);
    // It may be stopped while it recovers, when another one would meet its changes to names of files.
    refused(take(dir.path(), |_| panic!("it is refused at once")));
    successor.opened();
    let third = take(dir.path(), |_| ()).unwrap();
    assert!(successor.fence().check().is_err());
    third.fence().check().unwrap();
}

#[test]
fn a_holder_that_knows_no_lease_is_never_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join(LOCK)).unwrap();
    file.write_all_at(b"process 42\n", 0).unwrap();
    file.lock().unwrap();
    assert_eq!(refused(take(dir.path(), |_| panic!("it is refused at once"))), "process 42");
    drop(file);
    take(dir.path(), |_| panic!("it has ended")).unwrap();
}

#[test]
fn who_loses_its_lock_file_is_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let holder = opened(dir.path());
    fs::remove_file(dir.path().join(LOCK)).unwrap();
    match holder.fence().check() {
        Err(Fenced::By { holder, .. }) => assert!(holder.contains("removed"), "{holder}"),
        other => panic!("{other:?}"),
    }
    take(dir.path(), |_| panic!("nobody has it")).unwrap();
}

#[test]
fn a_killed_process_leaves_a_free_log() {
    let dir = tempfile::tempdir().unwrap();
    for name in [LOCK, "LOCK.new", OPENING] {
        let text = "process 1\nlease 5000 ms\nbeat 00000000000000000007\n";
        fs::write(dir.path().join(name), text).unwrap();
    }
    assert_eq!(take(dir.path(), |_| panic!("nobody has it")).unwrap().taken_from(), None);
}

#[test]
fn a_fenced_process_learns_of_it_without_asking() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(50);
    let mut holder = DirectoryLock::take(dir.path(), lease, |_| ()).unwrap();
    holder.opened();
    let (told, lost) = mpsc::channel();
    holder.fence().on_loss(move || told.send(()).unwrap_or_default());
    let path = dir.path().join(LOCK);
    let before = fs::metadata(&path).unwrap().len();
    // Another process's file comes in its place.
    fs::write(dir.path().join("other"), "process 7\n").unwrap();
    fs::rename(dir.path().join("other"), &path).unwrap();
    lost.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "process 7\n", "beats go to its own file");
    assert_eq!(holder.fence().file().metadata().unwrap().len(), before, "beats take no room");
}
