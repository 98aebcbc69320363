//! The bytes of every record, and what is refused.

use bytes::Bytes;
use postrider_core::{SendId, SubjectId, WorkspaceId};

use super::{
    DecisionRecord, EpochSealed, EventRecord, IntentRecord, KeyRole, PipelineRecord,
    RememberedRecord, ResultRecord, RowRef, SealKind, SendOutcome, SinkSeal, SourceSeal,
    SourceStatus, TriggersRecord,
};
use crate::FrameKind;

const SEND: SendId = SendId(*b"0123456789abcdef");

/// Checks the bytes of a record against those that were released, and reads it from them.
macro_rules! check {
    ($record:expr, $type:ident, $golden:expr) => {{
        let (record, golden): ($type, &[&str]) = ($record, &$golden);
        let encoded = record.encode();
        let hex: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.concat().replace(" ", ""));
        assert_eq!($type::decode(&encoded).unwrap(), record);
        let frame = record.frame(WorkspaceId(3), SubjectId([1; 16]));
        assert_eq!((frame.kind, frame.payload), ($type::KIND, encoded));
    }};
}

fn row() -> RowRef {
    RowRef {
        pipeline: "p".to_owned(),
        sink: "s".to_owned(),
        epoch: 300,
        row: 1,
        recipient_key: "u1".to_owned(),
        dedupe_key: "cart".to_owned(),
    }
}

const ROW: &str = "0a0170120173 18ac02 2001 2a027531 320463617274";

#[test]
fn event() {
    let record = EventRecord {
        stream: "shop".to_owned(),
        message_id: "m1".to_owned(),
        role: KeyRole::Server.into(),
        received_at: 1_000,
        body: Bytes::from_static(b"{}"),
    };
    assert_eq!(EventRecord::KIND, FrameKind::Event);
    check!(
        record,
        EventRecord,
        ["0a0473686f70", "12026d31", "1802", "21e803000000000000", "2a027b7d"]
    );
}

#[test]
fn pipeline() {
    let record = PipelineRecord {
        pipeline: "p".to_owned(),
        fingerprint: Bytes::from_static(&[1, 2]),
        sql: "SELECT 1".to_owned(),
        fire_series: 5,
    };
    assert_eq!(PipelineRecord::KIND, FrameKind::Pipeline);
    check!(record, PipelineRecord, ["0a0170", "12020102", "1a0853454c4543542031", "2005"]);
}

#[test]
fn remembered() {
    let record = RememberedRecord { send_id: RememberedRecord::send_id(SendId([7; 16])) };
    assert_eq!(record.send(), SendId([7; 16]));
    assert_eq!(RememberedRecord::KIND, FrameKind::Remembered);
    check!(record, RememberedRecord, ["0a10", "07070707070707070707070707070707"]);
    assert!(RememberedRecord::decode(&Bytes::from_static(&[0x0a, 1, 7])).is_err());
}

#[test]
fn triggers() {
    let record = TriggersRecord {
        pipeline: "p".to_owned(),
        sink: "s".to_owned(),
        epoch: 1,
        count: 2,
        rows: Bytes::from_static(b"ipc"),
        fire_series: 3,
    };
    assert_eq!(TriggersRecord::KIND, FrameKind::Triggers);
    check!(record, TriggersRecord, ["0a0170", "120173", "1801", "2002", "2a03697063", "3003"]);
}

#[test]
fn epoch_sealed() {
    let source = SourceSeal {
        table: "t".to_owned(),
        start_part: "a".to_owned(),
        start_offset: 1,
        end_part: "b".to_owned(),
        end_offset: 2,
        rows: 3,
        rejects: 4,
        watermark: 5,
        status: SourceStatus::Idle.into(),
        last_event_time: i64::MIN,
        late: 14,
    };
    let record = EpochSealed {
        pipeline: "p".to_owned(),
        epoch: 7,
        kind: SealKind::Observed.into(),
        clock: 8,
        moved_at: 9,
        sources: vec![source],
        sinks: vec![SinkSeal { sink: "o".to_owned(), position: 10 }],
        late_rows: 11,
        trigger_rows: 12,
        watermark: -1,
        checkpoint: 13,
        counted_late: 15,
    };
    assert_eq!(EpochSealed::KIND, FrameKind::EpochSealed);
    check!(
        record,
        EpochSealed,
        [
            "0a0170",
            "1007",
            "1802",
            "210800000000000000",
            "290900000000000000",
            "3227",
            "0a017412016118012201622802300338044105000000000000004802510000000000000080580e",
            "3a05",
            "0a016f100a",
            "400b",
            "480c",
            "51ffffffffffffffff",
            "580d",
            "600f",
        ]
    );
}

#[test]
fn intent() {
    let record = IntentRecord {
        send_id: IntentRecord::send_id(SEND),
        attempt: 1,
        provider: "smtp".to_owned(),
        message_id: "<m@x>".to_owned(),
        message_hash: Bytes::from_static(&[9]),
        row: row(),
    };
    assert_eq!((IntentRecord::KIND, record.send()), (FrameKind::Intent, SEND));
    check!(
        record,
        IntentRecord,
        [
            "0a1030313233343536373839616263646566",
            "1001",
            "1a04736d7470",
            "22053c6d40783e",
            "2a0109",
            "3215",
            ROW,
        ]
    );
}

#[test]
fn send_result() {
    let record = ResultRecord {
        send_id: ResultRecord::send_id(SEND),
        attempt: 2,
        outcome: SendOutcome::InDoubt.into(),
        code: 451,
        detail: "late".to_owned(),
        at: 6,
    };
    assert_eq!((ResultRecord::KIND, record.send()), (FrameKind::SendResult, SEND));
    check!(
        record,
        ResultRecord,
        [
            "0a1030313233343536373839616263646566",
            "1002",
            "1804",
            "20c303",
            "2a046c617465",
            "310600000000000000",
        ]
    );
}

#[test]
fn decision() {
    let record = DecisionRecord {
        send_id: DecisionRecord::send_id(SEND),
        reason: "expired".to_owned(),
        detail: "d".to_owned(),
        row: row(),
    };
    assert_eq!((DecisionRecord::KIND, record.send()), (FrameKind::Decision, SEND));
    check!(
        record,
        DecisionRecord,
        ["0a1030313233343536373839616263646566", "120765787069726564", "1a0164", "2215", ROW]
    );
}

#[test]
fn what_protobuf_cant_say_is_checked() {
    let event = EventRecord { role: 9, ..EventRecord::default() };
    let error = EventRecord::decode(&event.encode()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "EventRecord can't be used: role 9 is unknown; report it together with the log"
    );
    let result = ResultRecord { send_id: Bytes::from_static(b"short"), ..ResultRecord::default() };
    assert!(ResultRecord::decode(&result.encode()).unwrap_err().reason.contains("16 bytes"));
    assert!(EpochSealed::decode(&Bytes::new()).is_err());
    assert!(TriggersRecord::decode(&Bytes::from_static(&[0xff])).is_err());
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    let mut bytes =
        PipelineRecord { pipeline: "p".to_owned(), ..PipelineRecord::default() }.encode().to_vec();
    bytes.extend([0x9a, 0x06, 0x01, b'x']); // tag 99, one byte
    assert_eq!(PipelineRecord::decode(&Bytes::from(bytes)).unwrap().pipeline, "p");
}
