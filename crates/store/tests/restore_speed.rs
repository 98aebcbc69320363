//! Measures how long an outbox of a million sends takes to come back: from a snapshot, and from the log. Run by hand, in
//! release: `cargo test --release -p postrider-store --test restore_speed -- --ignored --nocapture`

use std::time::Instant;

use bytes::Bytes;
use postrider_core::{SendId, SubjectId, WorkspaceId};
use postrider_store::{
    EpochSealed, IntentRecord, Log, LogOptions, NewFrame, Outbox, OutboxReader, ResultRecord,
    RowRef, SealKind, SendOutcome, TriggersRecord,
};

const ROWS_PER_EPOCH: u32 = 100;
const EPOCHS: u64 = 10_000;
/// What a trigger row of the gallery takes in its frame.
const ROW_BYTES: usize = 150;

/// Ids are hashes: spread over all their bits.
fn send(epoch: u64, row: u32) -> SendId {
    let number = u128::from(epoch) << 32 | u128::from(row);
    SendId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

fn epoch(epoch: u64) -> Vec<NewFrame> {
    let (workspace, pipeline, sink) = (WorkspaceId::DEFAULT, "carts", "mails");
    let triggers = TriggersRecord {
        fire_series: 0,
        pipeline: pipeline.to_owned(),
        sink: sink.to_owned(),
        epoch,
        count: ROWS_PER_EPOCH,
        rows: Bytes::from(vec![7; ROWS_PER_EPOCH as usize * ROW_BYTES]),
    };
    let seal = EpochSealed {
        pipeline: pipeline.to_owned(),
        epoch,
        kind: SealKind::Input.into(),
        trigger_rows: u64::from(ROWS_PER_EPOCH),
        ..EpochSealed::default()
    };
    let subject = SubjectId::NONE;
    let mut frames = vec![triggers.frame(workspace, subject), seal.frame(workspace, subject)];
    for row in 0..ROWS_PER_EPOCH {
        let id = send(epoch, row);
        let intent = IntentRecord {
            send_id: IntentRecord::send_id(id),
            attempt: 1,
            provider: "default".to_owned(),
            message_id: format!("<{id}@shop.example>"),
            message_hash: Bytes::from_static(&[3; 32]),
            row: RowRef {
                pipeline: pipeline.to_owned(),
                sink: sink.to_owned(),
                epoch,
                row,
                recipient_key: format!("user-{epoch}-{row}"),
                dedupe_key: format!("cart:{epoch}-{row}"),
            },
        };
        let result = ResultRecord {
            send_id: ResultRecord::send_id(id),
            attempt: 1,
            outcome: SendOutcome::Accepted.into(),
            detail: "250 2.0.0 Ok: queued as 4XKw5z2bYqz".to_owned(),
            ..ResultRecord::default()
        };
        frames.extend([intent.frame(workspace, subject), result.frame(workspace, subject)]);
    }
    frames
}

#[tokio::test]
#[ignore = "a measurement"]
async fn a_million_sends_from_a_snapshot_and_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(LogOptions::new(dir.path())).unwrap().log;
    for number in 1..=EPOCHS {
        // Waiting for each fsync would only take time.
        drop(log.submit(epoch(number)).await.unwrap());
    }
    log.append(Vec::new()).await.unwrap();
    let bytes = log.durable().borrow().0;
    let sends = EPOCHS * u64::from(ROWS_PER_EPOCH);
    println!("a log of {} MiB with {sends} sends", bytes >> 20);

    let begin = Instant::now();
    let folded = Outbox::read(&log.reader(log.start())).unwrap();
    println!("folded from the log in {:?}", begin.elapsed());
    let begin = Instant::now();
    let clone = folded.clone();
    println!("cloned in {:?}", begin.elapsed());
    let begin = Instant::now();
    let written = clone.save(&log.views()).unwrap();
    println!("a snapshot of {} MiB written in {:?}", written >> 20, begin.elapsed());
    let begin = Instant::now();
    let mut reader = OutboxReader::tail(&log.reader(log.start())).unwrap();
    assert!(reader.next_frame().unwrap().is_none(), "nothing follows");
    println!("restored from it in {:?}", begin.elapsed());
    assert_eq!(reader.outbox().counts(), folded.counts());
    assert_eq!(folded.counts().accepted, sends);
}
