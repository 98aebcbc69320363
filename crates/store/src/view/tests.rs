//! Snapshots that are damaged, half-written, of another log, or in the way.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use postrider_core::{ErrorKind, SubjectId, WorkspaceId};

use super::{
    DiskViews, MemoryViews, Restored, View, ViewError, ViewFiles, Views, codec::Header,
    faulty::FaultyViews,
};
use crate::{
    FrameKind, Log, Lsn, NewFrame,
    files::MemoryFiles,
    limits::{SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_WRITE_BYTES},
};

const VIEW: View = View { name: "sums", version: 3 };

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
struct Chunk {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

fn chunk(text: &'static str) -> Chunk {
    Chunk { bytes: Bytes::from_static(text.as_bytes()) }
}

fn save(views: &Views, at: Lsn, sequence: Option<u64>, text: &'static str) {
    views
        .save(VIEW, at, sequence, |writer| {
            writer.chunk(&chunk("text"))?;
            writer.chunk(&chunk(text))
        })
        .unwrap();
}

fn restore(log: &Log) -> Result<Restored<String>, ViewError> {
    log.views().restore(VIEW, &log.reader(log.start()), |reader| {
        let mut texts = Vec::new();
        while let Some(Chunk { bytes }) = reader.chunk()? {
            texts.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        Ok(texts.join(" "))
    })
}

/// A log, its snapshots, and the positions of its frames.
async fn log_of(frames: usize) -> (Log, MemoryFiles, Vec<Lsn>) {
    let files = MemoryFiles::default();
    let log = Log::open_files(Arc::new(files.clone()), crate::log::Tuning::segments(1000), None)
        .unwrap()
        .log;
    let mut places = Vec::new();
    for number in 0..frames {
        places.push(log.append(vec![event(number)]).await.unwrap().first);
    }
    (log, files, places)
}

fn event(number: usize) -> NewFrame {
    let payload = Bytes::from(format!("event {number}"));
    let (workspace, subject) = (WorkspaceId::DEFAULT, SubjectId::NONE);
    NewFrame { kind: FrameKind::Event, workspace, subject, payload }
}

#[test]
fn the_bytes_of_a_snapshot_never_change_between_releases() {
    let memory = MemoryViews::default();
    save(&Views::new(Arc::new(memory.clone())), Lsn(0x0a0b), Some(7), "a");
    let bytes = memory.with(|all| all.first_key_value().unwrap().1.clone());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = [
        "706f737472736e70 01000000 03000000 0b0a000000000000 0700000000000000 80658d08",
        "06000000 21a426df 0a0474657874",
        "03000000 003f8e1f 0a0161",
        "00000000 003f8e1f",
    ];
    assert_eq!(hex, golden.concat().replace(' ', ""));
}

#[test]
fn a_header_that_changed_anywhere_or_is_of_a_later_version_is_refused() {
    let header = Header { version: 3, at: Lsn(9), sequence: None };
    assert_eq!(Header::decode(&header.encode()), Ok(header));
    for bit in 0..36 * 8 {
        let mut bytes = header.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&bytes).is_err(), "bit {bit}");
    }
    let mut bytes = header.encode();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Header::decode(&bytes).unwrap_err(), "it is a snapshot of version 2");
}

#[tokio::test]
async fn the_newest_two_are_kept_and_the_newest_is_used() {
    let (log, _, places) = log_of(5).await;
    for (number, at) in places.iter().enumerate() {
        // The first frame of the log is its opening.
        save(&log.views(), *at, Some(number as u64 + 1), "state");
    }
    assert_eq!(log.views().kept(VIEW).unwrap(), places[3..]);
    let restored = restore(&log).unwrap();
    assert_eq!(restored.found, Some(("text state".to_owned(), places[4])));
    assert!(restored.passed_over.is_empty());
}

#[tokio::test]
async fn no_flipped_bit_and_no_missing_byte_goes_unnoticed() {
    let (log, files, places) = log_of(2).await;
    save(&log.views(), places[0], Some(1), "old");
    save(&log.views(), places[1], Some(2), "new");
    let name = (VIEW.name.to_owned(), places[1]);
    let good = files.views.with(|all| all[&name].clone());
    let damaged = |bytes: Vec<u8>| {
        files.views.with(|all| all.insert(name.clone(), Bytes::from(bytes)));
        let restored = restore(&log).unwrap();
        assert_eq!(restored.passed_over.len(), 1);
        restored.found.unwrap()
    };
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(damaged(bytes), ("text old".to_owned(), places[0]), "bit {bit}");
    }
    for length in 0..good.len() {
        assert_eq!(damaged(good[..length].to_vec()).1, places[0], "{length} bytes");
    }
    assert_eq!(damaged([&good, &b"x"[..]].concat()).1, places[0]);
    // Chunks that changed places are not the same snapshot.
    let (head, text, new, end) = (&good[..36], &good[36..50], &good[50..63], &good[63..]);
    assert_eq!(damaged([head, new, text, end].concat()).1, places[0]);
    assert_eq!(damaged([head, new, end].concat()).1, places[0]);
}

#[tokio::test]
async fn without_a_usable_snapshot_a_whole_log_is_read_from_its_beginning() {
    let (log, files, places) = log_of(1).await;
    let restored = restore(&log).unwrap();
    assert!(restored.found.is_none() && restored.passed_over.is_empty());
    save(&log.views(), places[0], None, "state");
    files.views.with(|all| all.values_mut().for_each(|bytes| *bytes = bytes.slice(1..)));
    let restored = restore(&log).unwrap();
    assert!(restored.found.is_none());
    assert_eq!(
        restored.passed_over,
        ["memory/views/sums/00000000000000000056.snap can't be used: its header is not intact"]
    );
}

#[tokio::test]
async fn a_snapshot_of_another_log_or_version_is_passed_over() {
    let (log, _, places) = log_of(3).await;
    let reason = |at, sequence| {
        save(&log.views(), at, sequence, "state");
        let mut found = restore(&log).unwrap().passed_over;
        found.remove(0).split_once("used: ").unwrap().1.to_owned()
    };
    assert_eq!(reason(places[0], Some(9)), "it was not made of this log");
    assert_eq!(reason(Lsn(places[1].0 + 1), None), "it was not made of this log");
    let end = *log.durable().borrow();
    assert_eq!(reason(Lsn(end.0 + 1), None), format!("the log ends at position {end}, before it"));
    save(&log.views(), places[2], Some(3), "state");
    assert_eq!(restore(&log).unwrap().found.unwrap().1, places[2], "what was behind it is gone");
    let newer = View { version: 4, ..VIEW };
    let reader = log.reader(log.start());
    let restored = log.views().restore(newer, &reader, |_| Ok(())).unwrap();
    assert!(restored.passed_over[0].ends_with("it is of version 3, not 4"));
}

#[test]
fn a_write_that_fails_at_any_step_leaves_the_older_snapshots() {
    let files = FaultyViews::default();
    let views = Views::new(Arc::new(files.clone()));
    save(&views, Lsn(1), None, "old");
    let large = Chunk { bytes: Bytes::from(vec![1; SNAPSHOT_WRITE_BYTES]) };
    for fault in [&files.write, &files.publish] {
        fault.store(true, Ordering::SeqCst);
        let error = views.save(VIEW, Lsn(2), None, |writer| writer.chunk(&large)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("no space"), "{error}");
        assert_eq!(views.kept(VIEW).unwrap(), [Lsn(1)]);
        fault.store(false, Ordering::SeqCst);
    }
    files.remove.store(true, Ordering::SeqCst);
    for at in 2..=4 {
        save(&views, Lsn(at), None, "new");
    }
    assert_eq!(views.kept(VIEW).unwrap().len(), 4, "a snapshot counts also if old ones stay");
    files.remove.store(false, Ordering::SeqCst);
    save(&views, Lsn(5), None, "new");
    assert_eq!(views.kept(VIEW).unwrap(), [Lsn(4), Lsn(5)]);
}

#[test]
fn a_chunk_over_the_limit_is_refused() {
    let views = Views::new(Arc::new(MemoryViews::default()));
    let large = Chunk { bytes: Bytes::from(vec![1; SNAPSHOT_CHUNK_BYTES_MAX]) };
    let error = views.save(VIEW, Lsn(2), None, |writer| writer.chunk(&large)).unwrap_err();
    assert!(matches!(error, ViewError::TooLarge { .. }), "{error}");
}

fn conforms(files: &dyn ViewFiles) {
    assert_eq!(files.list("a").unwrap(), []);
    assert!(files.open("a", Lsn(1)).is_err());
    files.remove("a", Lsn(1)).unwrap();
    for (view, at, text) in [("a", 100, "x"), ("a", 7, "hello"), ("a", 7, "again"), ("b", 1, "y")] {
        let mut file = files.create(view, Lsn(at)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.publish().unwrap();
    }
    let mut abandoned = files.create("a", Lsn(8)).unwrap();
    abandoned.write_all(b"half").unwrap();
    assert_eq!(files.list("a").unwrap(), [Lsn(7), Lsn(100)], "no half ones");
    drop(abandoned);
    assert_eq!(files.list("b").unwrap(), [Lsn(1)]);
    let mut text = String::new();
    files.open("a", Lsn(7)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "again");
    files.remove("a", Lsn(7)).unwrap();
    assert_eq!(files.list("a").unwrap(), [Lsn(100)]);
    assert!(files.path("a", Lsn(7)).ends_with("a/00000000000000000007.snap"));
}

#[test]
fn memory_conforms() {
    conforms(&MemoryViews::default());
}

#[test]
fn a_directory_conforms_and_forgets_what_was_never_finished() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&DiskViews::new(dir.path().to_owned()));
    let left = dir.path().join("a/00000000000000000009-1.tmp");
    std::fs::write(&left, "half").unwrap();
    drop(DiskViews::new(dir.path().to_owned()).create("a", Lsn(1)).unwrap());
    assert!(!left.exists());
    assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
}
