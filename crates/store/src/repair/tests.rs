//! Damage anywhere, what is said about it, and the log after its repair.

use std::{fs, path::Path};

use bytes::Bytes;
use postrider_core::{SendId, SubjectId, WorkspaceId};

use super::LogRepair;
use crate::{
    EpochSealed, FrameKind, IntentRecord, Log, LogError, LogOptions, Lsn, NewFrame, Outbox, RowRef,
    SealKind, SendState, verify,
};

const SENDS: u8 = 12;

fn event(text: String) -> NewFrame {
    NewFrame {
        kind: FrameKind::Event,
        workspace: WorkspaceId::DEFAULT,
        subject: SubjectId::NONE,
        payload: Bytes::from(text),
    }
}

fn intent(number: u8) -> NewFrame {
    let record = IntentRecord {
        send_id: IntentRecord::send_id(SendId([number; 16])),
        attempt: 1,
        provider: "p".to_owned(),
        message_id: "m".to_owned(),
        message_hash: Bytes::new(),
        row: RowRef {
            pipeline: "shop".to_owned(),
            sink: "mails".to_owned(),
            epoch: u64::from(number),
            row: 0,
            recipient_key: "r".to_owned(),
            dedupe_key: "d".to_owned(),
        },
    };
    record.frame(WorkspaceId::DEFAULT, SubjectId([number; 16]))
}

fn seal(number: u8) -> NewFrame {
    let record = EpochSealed {
        pipeline: "shop".to_owned(),
        epoch: u64::from(number),
        kind: SealKind::Input as i32,
        ..EpochSealed::default()
    };
    record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)
}

/// Three frames a send, each group of its own, in segments of some hundred bytes.
async fn write(dir: &Path) {
    let options = LogOptions { segment_bytes: 350, ..LogOptions::new(dir) };
    let log = Log::open(options).unwrap().log;
    for number in 0..SENDS {
        for frame in [event(format!("event {number}")), seal(number), intent(number)] {
            log.append(vec![frame]).await.unwrap();
        }
    }
    log.close().await;
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The ids that a log knows, by intents and by memory.
fn known(dir: &Path) -> usize {
    let mut reader = crate::LogReader::of_directory(dir).unwrap();
    let mut outbox = Outbox::default();
    let mut known = std::collections::BTreeSet::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        match frame.kind {
            FrameKind::Intent => {
                known.insert(IntentRecord::decode(&frame.payload).unwrap().send());
            }
            FrameKind::Remembered => {
                outbox.apply(&frame).unwrap();
            }
            _ => {}
        }
    }
    let all = (0..SENDS).map(|number| SendId([number; 16]));
    all.filter(|send| match outbox.state(*send) {
        Some(SendState::InDoubt { .. }) => true,
        _ => known.contains(send),
    })
    .count()
}

#[tokio::test]
async fn a_log_with_a_flipped_bit_anywhere_is_cut_there_and_remembers_its_sends() {
    let origin = tempfile::tempdir().unwrap();
    write(origin.path()).await;
    let count = segments(origin.path()).len();
    assert!(count > 4, "{count}");
    for segment in 0..count - 1 {
        let size = usize::try_from(fs::metadata(&segments(origin.path())[segment]).unwrap().len());
        for byte in (0..size.unwrap()).step_by(211) {
            let dir = tempfile::tempdir().unwrap();
            for path in segments(origin.path()) {
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
            let path = &segments(dir.path())[segment];
            flip(path, byte);
            let damaged: Vec<_> =
                segments(dir.path()).iter().map(|p| fs::read(p).unwrap()).collect();

            let report = verify(dir.path()).unwrap();
            let damage = report.damage.unwrap();
            assert!(matches!(&damage, LogError::Damaged { path: found, .. } if found == path));
            let repair = LogRepair::begin(dir.path()).unwrap().unwrap();
            assert_eq!(repair.damage().to_string(), damage.to_string());
            let lost = usize::try_from(repair.forgotten().sends()).unwrap();
            let unreadable = repair.forgotten().unreadable_bytes;
            let repaired = repair.drop_damaged().unwrap();
            assert_eq!(repaired.remembered, lost as u64);
            assert_eq!(repaired.kept.len(), count - segment, "{:?}", repaired.kept);
            let kept = repaired.kept.iter().map(|path| fs::read(path).unwrap());
            assert!(kept.eq(damaged[segment..].iter().cloned()), "files stay as they were");

            let after = verify(dir.path()).unwrap();
            assert!(after.damage.is_none(), "{segment}.{byte}: {:?}", after.damage);
            // At most the one frame that was hit is gone.
            assert!(known(dir.path()) >= usize::from(SENDS) - 1);
            assert!(unreadable < 300, "{unreadable}");
            assert!(LogRepair::begin(dir.path()).unwrap().is_none(), "it is intact");
            let log = Log::open(LogOptions::new(dir.path())).unwrap();
            assert_eq!(log.truncated, None);
            log.log.append(vec![event("later".to_owned())]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_forgotten_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    flip(&segments(dir.path())[0], 40);
    let repair = LogRepair::begin(dir.path()).unwrap().unwrap();
    let forgotten = repair.forgotten();
    assert_eq!(forgotten.frames[&FrameKind::Event], u64::from(SENDS));
    assert_eq!(forgotten.epochs["shop"], (0, u64::from(SENDS) - 1));
    assert_eq!((forgotten.sends(), forgotten.unreadable_bytes), (u64::from(SENDS), 56));
    drop(repair);
    assert!(verify(dir.path()).unwrap().damage.is_some(), "nothing has changed");
}

#[tokio::test]
async fn a_missing_segment_is_damage_that_can_be_repaired() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    fs::remove_file(&segments(dir.path())[1]).unwrap();
    LogRepair::begin(dir.path()).unwrap().unwrap().drop_damaged().unwrap();
    assert!(verify(dir.path()).unwrap().damage.is_none());
    assert!(known(dir.path()) > usize::from(SENDS) / 2);
    assert_eq!(verify(dir.path()).unwrap().start, Lsn::ZERO);
}

#[tokio::test]
async fn a_log_in_use_is_verified_and_not_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(LogOptions {
        lease: std::time::Duration::from_millis(200),
        ..LogOptions::new(dir.path())
    })
    .unwrap()
    .log;
    log.append(vec![event("a".to_owned())]).await.unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.writer, Some(format!("process {}", std::process::id())));
    assert_eq!(report.segments[0].frames[&FrameKind::Event], 1);
    assert!(matches!(LogRepair::begin(dir.path()), Err(LogError::Locked { .. })));
}
