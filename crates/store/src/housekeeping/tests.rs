//! What is deleted of a log whose outbox nobody, or a dispatcher, writes down.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use postrider_core::{SendId, SubjectId, WorkspaceId};

use super::{Housekeeping, KeptView, Tidied};
use crate::{
    DecisionRecord, EpochSealed, EventRecord, Holder, KeepLog, KeyRole, Log, LogError, Lsn, Outbox,
    PipelineNeeds, RowRef, SealKind, TriggersRecord, View, ViewError, files::MemoryFiles,
};

const NOTHING: KeepLog = KeepLog { time: Duration::ZERO, bytes: 0 };
const MIB: usize = 1 << 20;

fn open(files: &MemoryFiles) -> Log {
    Log::open_files(Arc::new(files.clone()), crate::log::Tuning::segments(8 * MIB as u64), None)
        .unwrap()
        .log
}

fn send(number: u64) -> SendId {
    SendId(u128::from(number).to_be_bytes())
}

/// One epoch with a row that is decided against.
async fn epoch(log: &Log, epoch: u64) {
    let (pipeline, sink) = ("shop".to_owned(), "mails".to_owned());
    let triggers = TriggersRecord {
        pipeline: pipeline.clone(),
        sink: sink.clone(),
        epoch,
        count: 1,
        rows: Bytes::from_static(b"ipc"),
        fire_series: 0,
    };
    let seal = EpochSealed {
        pipeline: pipeline.clone(),
        epoch,
        kind: SealKind::Input.into(),
        trigger_rows: 1,
        ..EpochSealed::default()
    };
    let decision = DecisionRecord {
        send_id: DecisionRecord::send_id(send(epoch)),
        reason: "quiet".to_owned(),
        detail: String::new(),
        row: RowRef { pipeline, sink, epoch, ..RowRef::default() },
    };
    let (workspace, subject) = (WorkspaceId::DEFAULT, SubjectId::NONE);
    let frames = vec![
        triggers.frame(workspace, subject),
        seal.frame(workspace, subject),
        decision.frame(workspace, subject),
    ];
    log.append(frames).await.unwrap();
}

/// Appends events of this many MiB.
async fn events(log: &Log, mib: usize) {
    for _ in 0..mib {
        let event = EventRecord {
            stream: "default".to_owned(),
            role: KeyRole::Server.into(),
            body: Bytes::from(vec![b' '; MIB]),
            ..EventRecord::default()
        };
        log.append(vec![event.frame(WorkspaceId::DEFAULT, SubjectId::NONE)]).await.unwrap();
    }
}

/// All segments were last written to at the beginning of time.
fn age(files: &MemoryFiles, log: &Log) {
    let bases = log.segments().unwrap().into_iter().map(|segment| segment.base);
    files.times.write().unwrap().extend(bases.map(|base| (base, 0)));
}

fn checkpoint(at: Lsn) -> [PipelineNeeds; 1] {
    [PipelineNeeds { pipeline: "shop".to_owned(), positions: vec![at] }]
}

fn tidy(log: &Log, pipelines: &[PipelineNeeds], dispatcher_runs: bool) -> Tidied {
    let (keep, now) = (NOTHING, 1);
    Housekeeping { pipelines, views: &[], dispatcher_runs, keep, now }.run(log).unwrap()
}

fn end(log: &Log) -> Lsn {
    *log.durable().borrow()
}

#[tokio::test]
async fn what_an_earlier_program_sent_is_not_forgotten_where_no_dispatcher_runs() {
    let files = MemoryFiles::default();
    let log = open(&files);
    epoch(&log, 1).await;
    events(&log, 70).await;
    age(&files, &log);
    let tidied = tidy(&log, &checkpoint(end(&log)), false);
    assert_eq!(tidied.point.held_by, Holder::View("outbox"), "one snapshot might be damaged");
    assert_eq!(tidied.shortened.segments, 0);
    epoch(&log, 2).await;
    events(&log, 70).await;
    age(&files, &log);
    let tidied = tidy(&log, &checkpoint(end(&log)), false);
    assert!(tidied.shortened.bytes >= 60 * MIB as u64, "{tidied:?}");
    assert_eq!(log.start(), tidied.shortened.start);
    drop(log);

    let log = open(&files);
    let outbox = Outbox::read(&log.reader(log.start())).unwrap();
    assert_eq!(outbox.counts().not_sent["quiet"], 2);
    assert!(outbox.state(send(1)).is_some() && outbox.state(send(2)).is_some());
    files.views.with(|all| all.pop_last());
    let outbox = Outbox::read(&log.reader(log.start())).unwrap();
    assert_eq!(outbox.counts().not_sent["quiet"], 2, "the one before will do");
    files.views.with(std::collections::BTreeMap::clear);
    let error = Outbox::read(&log.reader(log.start())).unwrap_err();
    assert!(matches!(error, ViewError::Missing { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "the view `outbox` can't be rebuilt: the log begins at position {}, what was before was deleted, and no \
             snapshot in memory/views/outbox can be used (there is none); restore that folder from a copy, or start anew \
             with another state directory, which knows nothing of earlier sends",
            log.start()
        )
    );
}

#[tokio::test]
async fn where_a_dispatcher_runs_its_snapshots_are_used() {
    let files = MemoryFiles::default();
    let log = open(&files);
    epoch(&log, 1).await;
    events(&log, 70).await;
    age(&files, &log);
    let tidied = tidy(&log, &checkpoint(end(&log)), true);
    assert!(log.views().kept(Outbox::VIEW).unwrap().is_empty());
    assert_eq!((tidied.point.at, tidied.shortened.segments), (Lsn::ZERO, 0));
    for _ in 0..2 {
        epoch(&log, log.views().kept(Outbox::VIEW).unwrap().len() as u64 + 2).await;
        Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
    }
    let tidied = tidy(&log, &checkpoint(end(&log)), true);
    assert_eq!(tidied.point.at, log.views().kept(Outbox::VIEW).unwrap()[0]);
    assert_eq!(tidied.shortened.segments, 8);
}

#[tokio::test]
async fn a_pipeline_that_the_log_knows_and_nobody_asks_for_keeps_its_log() {
    let files = MemoryFiles::default();
    let log = open(&files);
    for number in 1..=2 {
        epoch(&log, number).await;
        events(&log, 70).await;
        age(&files, &log);
        let tidied = tidy(&log, &[], false);
        assert_eq!(tidied.shortened.segments, 0);
        if number == 2 {
            let holder = Holder::PipelineWithoutCheckpoint("shop".to_owned());
            assert_eq!(tidied.point.held_by, holder);
        }
    }
    assert_eq!(log.start(), Lsn::ZERO);
}

#[tokio::test]
async fn a_view_that_forgets_holds_young_frames_until_it_is_written_down() {
    const IDS: View = View { name: "ids", version: 1 };
    let files = MemoryFiles::default();
    let log = open(&files);
    epoch(&log, 1).await;
    events(&log, 70).await;
    Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
    events(&log, 1).await;
    Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
    age(&files, &log);
    let tidy = |now| {
        let views = &[KeptView { view: IDS, memory: Some(Duration::from_nanos(10)) }];
        let pipelines = &checkpoint(end(&log));
        let house = Housekeeping { pipelines, views, dispatcher_runs: true, keep: NOTHING, now };
        house.run(&log).unwrap()
    };
    assert_eq!(tidy(9).point.held_by, Holder::View("ids"));
    assert_eq!(log.start(), Lsn::ZERO);
    for at in [Lsn(end(&log).0 - 1), end(&log)] {
        log.views().save(IDS, at, None, |_| Ok(())).unwrap();
    }
    assert_eq!(tidy(9).point.held_by, Holder::View("outbox"));
    assert!(log.start() > Lsn::ZERO);
}

#[tokio::test]
async fn a_closed_log_is_left_alone() {
    let files = MemoryFiles::default();
    let log = open(&files);
    epoch(&log, 1).await;
    events(&log, 20).await;
    for _ in 0..2 {
        events(&log, 1).await;
        Outbox::read(&log.reader(log.start())).unwrap().save(&log.views()).unwrap();
    }
    age(&files, &log);
    log.close().await;
    let pipelines = &checkpoint(end(&log));
    let house =
        Housekeeping { pipelines, views: &[], dispatcher_runs: true, keep: NOTHING, now: 1 };
    assert!(matches!(house.run(&log), Err(ViewError::Log(LogError::Closed))));
    assert_eq!(log.start(), Lsn::ZERO);
}
