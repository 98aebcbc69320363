//! The fold, case by case and against a naive model.

mod model;

use bytes::Bytes;
use postrider_core::{Generation, SendId, SubjectId, WorkspaceId};

use super::{Counts, Outbox, SealedTriggers, SendState};
use crate::{
    DecisionRecord, EpochSealed, Frame, FrameKind, IntentRecord, Lsn, NewFrame, RecordError,
    RememberedRecord, ResultRecord, RowRef, SealKind, SendOutcome, TriggersRecord,
};

/// An outbox and the log that it folds.
struct Fold {
    outbox: Outbox,
    generation: u64,
    sequence: u64,
}

impl Fold {
    fn new() -> Self {
        let mut fold = Self { outbox: Outbox::default(), generation: 0, sequence: 0 };
        fold.restart();
        fold
    }

    fn apply(&mut self, frame: NewFrame) -> Result<Vec<SealedTriggers>, RecordError> {
        let lsn = Lsn(self.sequence * 100);
        self.sequence += 1;
        self.outbox.apply(&Frame {
            lsn,
            end: Lsn(lsn.0 + 100),
            kind: frame.kind,
            generation: Generation(self.generation),
            sequence: self.sequence,
            workspace: frame.workspace,
            subject: frame.subject,
            key_id: 0,
            payload: frame.payload,
        })
    }

    fn restart(&mut self) {
        self.generation += 1;
        let payload = Bytes::new();
        let (workspace, subject) = (WorkspaceId::DEFAULT, SubjectId::NONE);
        self.apply(NewFrame { kind: FrameKind::Opened, workspace, subject, payload }).unwrap();
    }

    fn triggers(&mut self, sink: &str, epoch: u64, count: u32) {
        let record = TriggersRecord {
            pipeline: "carts".to_owned(),
            sink: sink.to_owned(),
            epoch,
            count,
            rows: Bytes::from(format!("{sink} {epoch} {count}")),
            fire_series: 0,
        };
        let released = self.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).unwrap();
        assert_eq!(released, [], "nothing is visible before its seal");
    }

    fn seal(&mut self, epoch: u64, rows: u64) -> Result<Vec<SealedTriggers>, RecordError> {
        let record = EpochSealed {
            pipeline: "carts".to_owned(),
            epoch,
            kind: SealKind::Input.into(),
            moved_at: 77,
            trigger_rows: rows,
            ..EpochSealed::default()
        };
        self.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE))
    }

    fn intent(&mut self, send: SendId, attempt: u32, row: &RowRef) -> Result<(), RecordError> {
        let record = IntentRecord {
            send_id: IntentRecord::send_id(send),
            attempt,
            row: row.clone(),
            ..IntentRecord::default()
        };
        self.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).map(drop)
    }

    fn result(
        &mut self,
        send: SendId,
        attempt: u32,
        outcome: SendOutcome,
    ) -> Result<(), RecordError> {
        let record = ResultRecord {
            send_id: ResultRecord::send_id(send),
            attempt,
            outcome: outcome.into(),
            ..ResultRecord::default()
        };
        self.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).map(drop)
    }

    fn decision(&mut self, send: SendId, reason: &str, row: &RowRef) -> Result<(), RecordError> {
        let record = DecisionRecord {
            send_id: DecisionRecord::send_id(send),
            reason: reason.to_owned(),
            detail: String::new(),
            row: row.clone(),
        };
        self.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).map(drop)
    }

    fn pending(&self) -> Vec<(String, u64, Vec<u32>)> {
        let rows = self.outbox.pending();
        rows.map(|rows| (rows.triggers.sink.clone(), rows.triggers.epoch.0, rows.undecided))
            .collect()
    }

    fn counts(&self) -> &Counts {
        assert!(self.outbox.counts().conserved(), "{:?}", self.outbox.counts());
        self.outbox.counts()
    }
}

fn row(sink: &str, epoch: u64, row: u32) -> RowRef {
    let (pipeline, sink) = ("carts".to_owned(), sink.to_owned());
    RowRef { pipeline, sink, epoch, row, ..RowRef::default() }
}

fn send(number: u8) -> SendId {
    SendId([number; 16])
}

#[test]
fn rows_are_released_by_the_seal_of_their_epoch() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    fold.triggers("hook", 1, 1);
    fold.triggers("mail", 2, 9);
    fold.triggers("mail", 1, 3);
    assert_eq!(fold.counts(), &Counts::default());

    let released = fold.seal(1, 6).unwrap();
    let seen: Vec<_> = released
        .iter()
        .map(|rows| (rows.sink.as_str(), rows.epoch.0, rows.first_row, rows.count, &*rows.rows))
        .collect();
    assert_eq!(
        seen,
        [
            ("mail", 1, 0, 2, &b"mail 1 2"[..]),
            ("hook", 1, 0, 1, b"hook 1 1"),
            ("mail", 1, 2, 3, b"mail 1 3"),
        ]
    );
    assert!(released.iter().all(|rows| rows.moved_at == 77 && !rows.replayed));
    assert_eq!((fold.counts().trigger_rows, fold.counts().undecided), (6, 6));

    fold.intent(send(1), 1, &row("mail", 1, 3)).unwrap();
    let mail = |rows: &[u32]| ("mail".to_owned(), 1, rows.to_vec());
    assert_eq!(fold.pending(), [mail(&[0, 1]), mail(&[2, 4]), ("hook".to_owned(), 1, vec![0])]);
}

#[test]
fn rows_of_a_dead_generation_that_were_not_sealed_never_come_to_light() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    fold.restart();
    fold.triggers("mail", 1, 1);
    let released = fold.seal(1, 1).unwrap();
    assert_eq!(released.len(), 1);
    assert_eq!(&*released[0].rows, b"mail 1 1");
    assert_eq!(fold.counts().trigger_rows, 1);
}

#[test]
fn an_epoch_that_is_sealed_again_releases_nothing_new() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    fold.seal(1, 2).unwrap();
    fold.intent(send(1), 1, &row("mail", 1, 0)).unwrap();
    let before = fold.counts().clone();
    for _ in 0..2 {
        fold.triggers("mail", 1, 2);
        let released = fold.seal(1, 2).unwrap();
        assert!(released.iter().all(|rows| rows.replayed));
        assert_eq!(fold.counts(), &before);
        assert_eq!(fold.pending(), [("mail".to_owned(), 1, vec![1])]);
    }
}

#[test]
fn a_seal_that_counts_other_rows_than_the_log_has_is_refused() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    let error = fold.seal(1, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "EpochSealed at position 200 of the log can't be used: the seal of epoch 1 of `carts` \
         counts 3 trigger rows, the log has 2; report it together with the log"
    );
    assert_eq!(fold.counts(), &Counts::default());
    assert_eq!(fold.seal(1, 2).unwrap().len(), 1);
}

#[test]
fn an_open_intent_is_in_doubt_after_a_new_generation() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 3);
    fold.seal(1, 3).unwrap();
    fold.intent(send(1), 1, &row("mail", 1, 0)).unwrap();
    fold.intent(send(2), 1, &row("mail", 1, 1)).unwrap();
    fold.result(send(2), 1, SendOutcome::Accepted).unwrap();
    let intended = SendState::Intended { attempt: 1, generation: Generation(1) };
    assert_eq!(fold.outbox.state(send(1)), Some(&intended));

    fold.restart();
    assert_eq!(fold.outbox.state(send(1)), Some(&SendState::InDoubt { attempt: 1 }));
    assert_eq!(fold.outbox.state(send(2)), Some(&SendState::Accepted));
    assert_eq!(fold.outbox.state(send(3)), None);
    assert_eq!(
        (fold.counts().in_doubt, fold.counts().accepted, fold.counts().undecided),
        (1, 1, 1)
    );
    assert_eq!(fold.pending(), [("mail".to_owned(), 1, vec![2])]);

    fold.intent(send(1), 2, &row("mail", 1, 0)).unwrap();
    fold.result(send(1), 2, SendOutcome::Rejected).unwrap();
    assert_eq!((fold.counts().in_doubt, fold.counts().rejected), (0, 1));
}

#[test]
fn a_repeated_key_is_counted_and_leaves_the_first_send_alone() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    fold.seal(1, 2).unwrap();
    fold.intent(send(1), 1, &row("mail", 1, 0)).unwrap();
    fold.decision(send(1), "duplicate", &row("mail", 1, 1)).unwrap();
    fold.result(send(1), 1, SendOutcome::Accepted).unwrap();
    assert_eq!(fold.outbox.state(send(1)), Some(&SendState::Accepted));
    let entry = fold.outbox.send(send(1)).unwrap();
    assert_eq!((entry.pipeline, entry.sink, entry.epoch.0, entry.row), ("carts", "mail", 1, 0));
    assert_eq!(fold.counts().not_sent["duplicate"], 1);
    assert_eq!(fold.counts().pending(), 0);
}

#[test]
fn a_key_that_was_decided_against_may_be_sent_by_a_later_row() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    fold.seal(1, 2).unwrap();
    fold.decision(send(1), "quiet", &row("mail", 1, 0)).unwrap();
    fold.intent(send(1), 1, &row("mail", 1, 1)).unwrap();
    fold.result(send(1), 1, SendOutcome::Accepted).unwrap();
    assert_eq!((fold.counts().accepted, fold.counts().not_sent_total()), (1, 1));
}

#[test]
fn results_that_come_late_change_nothing_but_accepted_is_a_fact() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 1);
    fold.seal(1, 1).unwrap();
    let only = row("mail", 1, 0);
    fold.intent(send(1), 1, &only).unwrap();
    fold.result(send(1), 1, SendOutcome::Retry).unwrap();
    assert_eq!(fold.outbox.state(send(1)), Some(&SendState::Retry { attempt: 1 }));
    fold.intent(send(1), 2, &only).unwrap();
    fold.result(send(1), 1, SendOutcome::Rejected).unwrap();
    assert_eq!(fold.counts().in_flight, 1, "attempt 1 is over");
    fold.result(send(1), 2, SendOutcome::Retry).unwrap();
    fold.decision(send(1), "gave_up", &only).unwrap();
    assert_eq!(fold.counts().not_sent["gave_up"], 1);
    fold.result(send(1), 2, SendOutcome::Rejected).unwrap();
    assert_eq!(fold.counts().not_sent["gave_up"], 1);
    fold.result(send(1), 1, SendOutcome::Accepted).unwrap();
    assert_eq!((fold.counts().accepted, fold.counts().not_sent.len()), (1, 0));
}

#[test]
fn what_may_have_been_delivered_is_never_not_sent() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 1);
    fold.seal(1, 1).unwrap();
    let only = row("mail", 1, 0);
    fold.intent(send(1), 1, &only).unwrap();
    assert!(fold.decision(send(1), "expired", &only).is_err(), "being called");
    fold.result(send(1), 1, SendOutcome::InDoubt).unwrap();
    assert!(fold.decision(send(1), "expired", &only).is_err(), "in doubt");
    assert_eq!((fold.counts().in_doubt, fold.counts().not_sent_total()), (1, 0));
}

#[test]
fn frames_that_contradict_earlier_ones_are_refused_and_change_nothing() {
    let mut fold = Fold::new();
    fold.triggers("mail", 1, 2);
    let first = row("mail", 1, 0);
    assert!(fold.intent(send(1), 1, &first).is_err(), "not sealed");
    fold.seal(1, 2).unwrap();
    assert!(fold.intent(send(1), 1, &row("mail", 1, 2)).is_err(), "no such row");
    assert!(fold.intent(send(1), 1, &row("mail", 2, 0)).is_err(), "no such epoch");
    assert!(fold.intent(send(1), 1, &row("hook", 1, 0)).is_err(), "no such sink");
    assert!(fold.result(send(1), 1, SendOutcome::Accepted).is_err(), "no intent");

    fold.intent(send(1), 1, &first).unwrap();
    assert!(fold.intent(send(1), 1, &first).is_err(), "the same attempt");
    assert!(fold.intent(send(2), 1, &first).is_err(), "the row has a send");
    assert!(fold.intent(send(1), 1, &row("mail", 1, 1)).is_err(), "the send has a row");
    fold.result(send(1), 1, SendOutcome::Accepted).unwrap();
    assert!(fold.intent(send(1), 2, &first).is_err(), "accepted");
    assert!(fold.decision(send(1), "late", &first).is_err(), "accepted");
    assert_eq!((fold.counts().accepted, fold.counts().undecided), (1, 1));
}

#[test]
fn rows_do_not_hold_the_buffer_of_the_reader() {
    let mut fold = Fold::new();
    let chunk = Bytes::from(vec![7; 1000]);
    let record = TriggersRecord {
        pipeline: "carts".to_owned(),
        sink: "mail".to_owned(),
        epoch: 1,
        count: 1,
        rows: chunk.slice(..10),
        fire_series: 0,
    };
    fold.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).unwrap();
    let rows = fold.seal(1, 1).unwrap().remove(0).rows;
    drop(fold);
    assert!(rows.is_unique() && rows.try_into_mut().unwrap().capacity() < 100);
}

#[test]
fn the_oldest_of_too_many_doubtful_rows_are_let_go_and_stay_in_doubt() {
    let mut fold = Fold::new();
    // Four times 15 MiB are kept, a fifth time is too much.
    for epoch in 1..=6 {
        let record = TriggersRecord {
            pipeline: "carts".to_owned(),
            sink: "mail".to_owned(),
            epoch,
            count: 1,
            rows: Bytes::from(vec![7; 15 << 20]),
            fire_series: 0,
        };
        fold.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).unwrap();
        fold.seal(epoch, 1).unwrap();
        let number = u8::try_from(epoch).unwrap();
        fold.intent(send(number), 1, &row("mail", epoch, 0)).unwrap();
        if epoch == 1 {
            fold.result(send(1), 1, SendOutcome::Retry).unwrap();
        } else {
            fold.result(send(number), 1, SendOutcome::InDoubt).unwrap();
        }
    }
    let kept = |fold: &Fold| {
        (1..=6).filter(|number| fold.outbox.rows_of(send(*number)).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(kept(&fold), [1, 3, 4, 5, 6], "one that is tried again is never let go");
    // What is tried again does not count.
    fold.intent(send(3), 2, &row("mail", 3, 0)).unwrap();
    fold.intent(send(1), 2, &row("mail", 1, 0)).unwrap();
    fold.result(send(1), 2, SendOutcome::InDoubt).unwrap();
    assert_eq!(kept(&fold), [1, 3, 4, 5, 6]);
    fold.restart();
    assert_eq!(kept(&fold), [1, 3, 5, 6], "4 is in doubt for longest");
    fold.result(send(2), 1, SendOutcome::Accepted).unwrap();
    fold.result(send(3), 2, SendOutcome::Accepted).unwrap();
    assert_eq!((fold.counts().in_doubt, fold.counts().accepted), (4, 2));
    assert_eq!(kept(&fold), [1, 5, 6]);
}

#[test]
fn a_remembered_send_is_in_doubt_whatever_is_decided_later() {
    let mut fold = Fold::new();
    let record = RememberedRecord { send_id: RememberedRecord::send_id(send(1)) };
    fold.apply(record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)).unwrap();
    let in_doubt = SendState::InDoubt { attempt: 0 };
    assert_eq!(fold.outbox.state(send(1)), Some(&in_doubt));
    assert_eq!(fold.counts().in_doubt, 0, "it has no row");
    fold.triggers("mail", 1, 2);
    fold.seal(1, 2).unwrap();
    fold.decision(send(1), "duplicate", &row("mail", 1, 0)).unwrap();
    assert_eq!(fold.outbox.state(send(1)), Some(&in_doubt), "the next row is a duplicate, too");
    fold.intent(send(2), 1, &row("mail", 1, 1)).unwrap();
    assert!(matches!(fold.outbox.state(send(2)), Some(SendState::Intended { .. })));
    assert_eq!(fold.counts().not_sent.values().sum::<u64>(), 1);
}
