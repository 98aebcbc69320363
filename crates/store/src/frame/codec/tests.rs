//! Round trips, golden bytes, and faults.

use proptest::{collection::vec, prelude::*};

use super::{
    Bytes, FRAME_PAYLOAD_BYTES_MAX, Fault, Frame, FrameKind, Generation, HEADER_BYTES, InGroup,
    Lsn, NewFrame, Stamp, SubjectId, WorkspaceId, decode, decode_header, encode, in_group,
    may_follow, size,
};

fn encoded(frame: &NewFrame, stamp: Stamp) -> Vec<u8> {
    let mut out = Vec::new();
    encode(frame, stamp, InGroup::First, &mut out);
    out
}

fn example() -> (NewFrame, Stamp) {
    let frame = NewFrame {
        kind: FrameKind::Intent,
        workspace: WorkspaceId(7),
        subject: SubjectId(*b"sixteen bytes id"),
        payload: Bytes::from_static(b"hello"),
    };
    (frame, Stamp { generation: Generation(3), sequence: 0x0102 })
}

#[test]
fn the_bytes_of_a_frame_never_change_between_releases() {
    let (frame, stamp) = example();
    let golden = [
        "05000000",                         // length
        "7f38e169",                         // checksum
        "04010000",                         // kind, version, flags
        "07000000",                         // workspace
        "0300000000000000",                 // generation
        "0201000000000000",                 // sequence
        "7369787465656e206279746573206964", // subject
        "00000000",                         // key id
        "00000000",                         // reserved
        "68656c6c6f",                       // payload
    ];
    let hex: String = encoded(&frame, stamp).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden.concat());
}

#[test]
fn a_later_frame_of_a_group_differs_by_one_bit_under_the_checksum() {
    let (frame, stamp) = example();
    let first = encoded(&frame, stamp);
    let mut later = Vec::new();
    encode(&frame, stamp, InGroup::Later, &mut later);
    assert_eq!((in_group(&first), in_group(&later)), (InGroup::First, InGroup::Later));
    assert_eq!(later[8..12], [4, 1, 1, 0]);
    assert_eq!((&later[..4], &later[12..]), (&first[..4], &first[12..]));
    let frame = |bytes| decode(Lsn::ZERO, &Bytes::from(bytes)).unwrap();
    assert_eq!(frame(later), frame(first));
}

#[test]
fn zeros_are_no_frame() {
    let zeros = Bytes::from_static(&[0; HEADER_BYTES]);
    assert_eq!(decode(Lsn::ZERO, &zeros), Err(Fault::Checksum));
}

#[test]
fn a_length_over_the_limit_is_refused_before_memory_is_taken() {
    let mut header = [0; HEADER_BYTES];
    let length = FRAME_PAYLOAD_BYTES_MAX as u32 + 1;
    header[0..4].copy_from_slice(&length.to_le_bytes());
    assert_eq!(size(&header), Err(Fault::Length(length)));
}

#[test]
fn a_later_version_and_an_unknown_kind_are_named() {
    let (frame, stamp) = example();
    for (at, value, reason) in [(9, 2, "frame version 2"), (8, 200, "frame kind 200")] {
        let mut bytes = encoded(&frame, stamp);
        bytes[at] = value;
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        let fault = decode(Lsn::ZERO, &Bytes::from(bytes)).unwrap_err();
        assert_eq!(fault, Fault::TooNew(reason.to_owned()));
    }
}

fn frames() -> impl Strategy<Value = (NewFrame, Stamp)> {
    (0..8usize, any::<u32>(), any::<[u8; 16]>(), vec(any::<u8>(), 0..300), any::<(u64, u64)>())
        .prop_map(|(kind, workspace, subject, payload, (generation, sequence))| {
            let frame = NewFrame {
                kind: FrameKind::ALL[kind],
                workspace: WorkspaceId(workspace),
                subject: SubjectId(subject),
                payload: Bytes::from(payload),
            };
            (frame, Stamp { generation: Generation(generation), sequence })
        })
}

proptest! {
    #[test]
    fn a_decoded_frame_is_the_encoded_one((frame, stamp) in frames(), lsn in 0..u64::MAX / 2) {
        let bytes = Bytes::from(encoded(&frame, stamp));
        prop_assert_eq!(size(&bytes), Ok(bytes.len()));
        let expected = Frame {
            lsn: Lsn(lsn),
            end: Lsn(lsn + bytes.len() as u64),
            kind: frame.kind,
            generation: stamp.generation,
            sequence: stamp.sequence,
            workspace: frame.workspace,
            subject: frame.subject,
            key_id: 0,
            payload: frame.payload,
        };
        prop_assert_eq!(decode(Lsn(lsn), &bytes), Ok(expected.clone()));
        let header = decode_header(Lsn(lsn), &bytes[..HEADER_BYTES]);
        prop_assert_eq!(header, Ok(Frame { payload: Bytes::new(), ..expected }));
        let before = Stamp { sequence: stamp.sequence.saturating_sub(1), ..stamp };
        prop_assert_eq!(may_follow(&bytes, before), stamp.sequence > 0);
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed((frame, stamp) in frames(), at in any::<prop::sample::Index>()) {
        let mut bytes = encoded(&frame, stamp);
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A changed length makes the reader check other bytes than were written; here only what is there.
        let noticed = match size(&bytes) {
            Ok(size) if size <= bytes.len() => {
                decode(Lsn::ZERO, &Bytes::from(bytes).slice(..size)).is_err()
            }
            _ => true,
        };
        prop_assert!(noticed);
    }
}
