//! The bytes of a snapshot, what is refused, and where a log and its snapshots don't fit together.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::{Generation, SendId, SubjectId, WorkspaceId};

use super::{super::OutboxReader, Loader, Outbox, OutboxChunk};
use crate::{
    DecisionRecord, EpochSealed, IntentRecord, Log, Lsn, NewFrame, ResultRecord, RowRef, SealKind,
    SendOutcome, TriggersRecord, Views, view::MemoryViews,
};

const SUBJECT: SubjectId = SubjectId([8; 16]);

fn row(row: u32) -> RowRef {
    let (pipeline, sink) = ("p".to_owned(), "s".to_owned());
    RowRef { pipeline, sink, epoch: 1, row, ..RowRef::default() }
}

fn send(number: u8) -> SendId {
    SendId([number; 16])
}

fn triggers(epoch: u64, count: u32) -> NewFrame {
    let record = TriggersRecord {
        pipeline: "p".to_owned(),
        sink: "s".to_owned(),
        epoch,
        count,
        rows: Bytes::from_static(b"ipc"),
        fire_series: 0,
    };
    record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)
}

fn seal(epoch: u64, trigger_rows: u64) -> NewFrame {
    let record = EpochSealed {
        pipeline: "p".to_owned(),
        epoch,
        kind: SealKind::Input.into(),
        clock: 5,
        moved_at: 6,
        trigger_rows,
        ..EpochSealed::default()
    };
    record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)
}

fn intent(number: u8) -> NewFrame {
    let record = IntentRecord {
        send_id: IntentRecord::send_id(send(number)),
        attempt: 1,
        row: row(u32::from(number)),
        ..IntentRecord::default()
    };
    record.frame(WorkspaceId::DEFAULT, SUBJECT)
}

fn result(number: u8, outcome: SendOutcome) -> NewFrame {
    let record = ResultRecord {
        send_id: ResultRecord::send_id(send(number)),
        attempt: 1,
        outcome: outcome.into(),
        ..ResultRecord::default()
    };
    record.frame(WorkspaceId::DEFAULT, SUBJECT)
}

fn decision(number: u8) -> NewFrame {
    let record = DecisionRecord {
        send_id: DecisionRecord::send_id(send(number)),
        reason: "quiet".to_owned(),
        detail: String::new(),
        row: row(u32::from(number)),
    };
    record.frame(WorkspaceId::DEFAULT, SUBJECT)
}

/// A log with a send in every state, and an outbox of it.
async fn every_state(log: &Log) -> Outbox {
    let mut frames = vec![triggers(1, 7), seal(1, 7)];
    frames.extend((0..5).map(intent));
    frames.push(result(1, SendOutcome::Accepted));
    frames.push(result(2, SendOutcome::Rejected));
    frames.push(result(3, SendOutcome::Retry));
    frames.push(result(4, SendOutcome::InDoubt));
    frames.push(decision(5));
    frames.push(triggers(2, 1));
    log.append(frames).await.unwrap();
    Outbox::read(&log.reader(log.start())).unwrap()
}

fn snapshots() -> (MemoryViews, Views) {
    let memory = MemoryViews::default();
    (memory.clone(), Views::new(Arc::new(memory)))
}

#[tokio::test]
async fn the_bytes_of_a_snapshot_never_change_between_releases() {
    let outbox = every_state(&Log::in_memory()).await;
    let (memory, views) = snapshots();
    let written = outbox.save(&views).unwrap();
    let bytes = memory.with(|all| all.first_key_value().unwrap().1.clone());
    assert_eq!(written, bytes.len() as u64);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden.hex").replace(char::is_whitespace, ""));
}

#[test]
fn the_number_of_doubtful_rows_has_its_tag() {
    let record = super::RowSetRecord { doubtful: Some(3), ..super::RowSetRecord::default() };
    let bytes = prost::Message::encode_to_vec(&record);
    assert_eq!(bytes[bytes.len() - 2..], [9 << 3, 3]);
}

#[tokio::test]
async fn a_restart_knows_what_is_unanswered_and_for_whom() {
    let outbox = every_state(&Log::in_memory()).await;
    let (_, views) = snapshots();
    outbox.save(&views).unwrap();
    let restored = views.read_alone(Outbox::VIEW, outbox.position(), Outbox::load).unwrap();
    let open: Vec<_> = restored.unanswered().map(|(send, subject, _)| (send, subject)).collect();
    assert_eq!(open, [(send(0), SUBJECT)]);
    let rows = restored.rows_of(send(3)).unwrap();
    assert_eq!((rows.clock, rows.moved_at, &*rows.rows), (5, 6, &b"ipc"[..]));
    assert!(restored.rows_of(send(1)).is_none() && restored.rows_of(send(5)).is_none());
    assert_eq!(restored.generation, Some(Generation(1)));
}

#[tokio::test]
async fn reading_goes_on_behind_a_snapshot_and_knows_the_log_before_it() {
    let log = Log::in_memory();
    every_state(&log).await.save(&log.views()).unwrap();
    log.append(vec![seal(2, 1), result(0, SendOutcome::Accepted)]).await.unwrap();

    let reader = log.reader(log.start());
    let mut tail = OutboxReader::tail(&reader).unwrap();
    let mut read = 0;
    while tail.next_frame().unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, 2);
    let mut whole = OutboxReader::whole(&reader).unwrap();
    let mut released = Vec::new();
    let mut frames = 0;
    while let Some((_, rows)) = whole.next_frame().unwrap() {
        released.extend(rows);
        frames += 1;
    }
    assert_eq!((frames, released.len()), (16, 1));
    for outbox in [tail.outbox(), whole.outbox()] {
        assert_eq!((outbox.counts().accepted, outbox.counts().trigger_rows), (2, 8));
        assert!(outbox.counts().conserved());
    }
}

#[test]
fn chunks_that_do_not_fit_together_are_refused() {
    let chunk = |columns| OutboxChunk { sends: Some(columns), ..OutboxChunk::default() };
    let ids = Bytes::from_static(&[1; 16]);
    let columns = super::SendColumns {
        ids,
        triggers: vec![0],
        epochs: vec![1],
        rows: vec![0],
        states: Bytes::from_static(&[2]),
        ..super::SendColumns::default()
    };
    let error = Loader::default().take(chunk(columns)).unwrap_err();
    assert_eq!(error, "its columns of sends do not fit together", "no such trigger");
    let head = super::Head { sends: 3, ..super::Head::default() };
    let mut loader = Loader::default();
    loader.take(OutboxChunk { head: Some(head), ..OutboxChunk::default() }).unwrap();
    assert_eq!(loader.finish().unwrap_err(), "it has 0 of 3 sends");
    let head = super::Head { trigger_rows: 1, ..super::Head::default() };
    let mut loader = Loader::default();
    loader.take(OutboxChunk { head: Some(head), ..OutboxChunk::default() }).unwrap();
    assert_eq!(loader.finish().unwrap_err(), "its counts contradict its rows");
    assert_eq!(Outbox::default().position(), Lsn::ZERO);
}
