//! Reading across segments, chunks and damage.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::{SubjectId, WorkspaceId};

use crate::{
    FrameKind, Log, LogError, Lsn, NewFrame,
    files::{LogFiles, MemoryFiles},
    limits::READ_BYTES,
    log::Tuning,
};

fn frame(kind: FrameKind, payload: Vec<u8>) -> NewFrame {
    let payload = Bytes::from(payload);
    NewFrame { kind, workspace: WorkspaceId(9), subject: SubjectId([4; 16]), payload }
}

fn open(files: &MemoryFiles, segment_bytes: u64) -> Log {
    let tuning = Tuning { segment_bytes, ..Tuning::default() };
    Log::open_files(Arc::new(files.clone()), tuning, None).unwrap().log
}

#[tokio::test]
async fn a_reader_follows_across_many_tiny_segments() {
    let files = MemoryFiles::default();
    let log = open(&files, 1);
    let mut reader = log.reader(Lsn::ZERO);
    assert_eq!(reader.next_frame().unwrap().unwrap().kind, FrameKind::Opened);
    let mut places = Vec::new();
    for number in 0..200u8 {
        let appended = log.append(vec![frame(FrameKind::Event, vec![number; 3])]).await.unwrap();
        let read = reader.next_frame().unwrap().unwrap();
        assert_eq!((read.lsn, read.end), (appended.first, appended.end));
        assert_eq!(read.payload, vec![number; 3]);
        assert_eq!((read.workspace, read.subject), (WorkspaceId(9), SubjectId([4; 16])));
        assert_eq!(reader.next_frame().unwrap(), None);
        places.push(appended.first);
    }
    assert_eq!(files.bases().unwrap().len(), 201);
    for (number, place) in places.into_iter().enumerate() {
        let mut reader = log.reader(place);
        let rest = std::iter::from_fn(|| reader.next_frame().unwrap());
        assert_eq!(rest.count(), 200 - number);
    }
}

#[tokio::test]
async fn frames_larger_than_the_buffer_are_read() {
    let log = Log::in_memory();
    let sizes = [0, 1, READ_BYTES - 57, READ_BYTES - 56, READ_BYTES, 3 * READ_BYTES + 1, 5];
    let frames = sizes.iter().map(|size| frame(FrameKind::Event, vec![7; *size]));
    log.append(frames.collect()).await.unwrap();
    let mut reader = log.reader(Lsn::ZERO);
    reader.next_frame().unwrap();
    for size in sizes {
        assert_eq!(reader.next_frame().unwrap().unwrap().payload.len(), size);
    }
    assert_eq!(reader.next_frame().unwrap(), None);
}

#[tokio::test]
async fn payloads_that_nobody_asked_for_are_left_out() {
    let log = Log::in_memory();
    let event = frame(FrameKind::Event, vec![1; READ_BYTES * 2]);
    let intent = frame(FrameKind::Intent, vec![2; 10]);
    log.append(vec![event, intent]).await.unwrap();
    let mut reader = log.reader(Lsn::ZERO).skip_payloads_except(&[FrameKind::Intent]);
    let read: Vec<_> = std::iter::from_fn(|| reader.next_frame().unwrap())
        .map(|frame| (frame.kind, frame.sequence, frame.payload.len()))
        .collect();
    let expected =
        [(FrameKind::Opened, 0, 0), (FrameKind::Event, 1, 0), (FrameKind::Intent, 2, 10)];
    assert_eq!(read, expected);
}

#[tokio::test]
async fn damage_that_appears_later_is_refused_with_its_place() {
    let files = MemoryFiles::default();
    let log = open(&files, 10_000);
    let first = log.append(vec![frame(FrameKind::Event, vec![1; 8])]).await.unwrap();
    let second = log.append(vec![frame(FrameKind::Event, vec![2; 8])]).await.unwrap();
    let mut reader = log.reader(first.first);
    files.open(Lsn::ZERO).unwrap().write_all_at(b"x", 32 + second.first.0 + 60).unwrap();
    reader.next_frame().unwrap().unwrap();
    for _ in 0..2 {
        match reader.next_frame().unwrap_err() {
            LogError::Damaged { at, offset, .. } => {
                assert_eq!((at, offset), (second.first, 32 + second.first.0));
            }
            error => panic!("{error}"),
        }
        assert_eq!(reader.position(), second.first);
    }
}

#[tokio::test]
async fn a_reader_before_the_start_begins_at_the_start() {
    let files = MemoryFiles::default();
    let log = open(&files, 1);
    assert_eq!(log.start(), Lsn::ZERO);
    let ahead = log.reader(Lsn(1 << 40)).next_frame();
    assert_eq!(ahead.unwrap(), None);
}
