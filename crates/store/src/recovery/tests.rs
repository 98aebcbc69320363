//! Unfinished ends, damage, and what tells them apart.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::{ErrorKind, Generation, SubjectId, WorkspaceId};
use proptest::prelude::*;

use super::{Recovered, recover, scan, trusted};
use crate::{
    FrameKind, LogError, Lsn, NewFrame, Truncated,
    files::{LogFiles, MemoryFiles},
    frame::codec::{self, Stamp},
    segment::SEGMENT_HEADER_BYTES,
    writer::Writer,
};

fn frame(text: &str) -> NewFrame {
    NewFrame {
        kind: FrameKind::Event,
        workspace: WorkspaceId::DEFAULT,
        subject: SubjectId::NONE,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// Writes each group with one sync, as the next generation, and returns where the frames begin and end.
fn write(files: &MemoryFiles, groups: &[&[&str]], segment_bytes: u64) -> Vec<Lsn> {
    let recovered = recover(files).unwrap();
    let next =
        Stamp { generation: Generation(recovered.generation.0 + 1), sequence: recovered.sequence };
    let mut places = vec![recovered.end];
    let mut writer =
        Writer::open(Arc::new(files.clone()), recovered, next, segment_bytes, None).unwrap();
    for group in groups {
        for text in *group {
            places.push(writer.add(&[frame(text)]).end);
        }
        writer.commit().unwrap();
    }
    places
}

fn size(files: &MemoryFiles, base: Lsn) -> u64 {
    files.open(base).unwrap().size().unwrap()
}

fn flip(files: &MemoryFiles, base: Lsn, bit: u64) {
    let file = files.open(base).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

fn offset(at: Lsn) -> u64 {
    SEGMENT_HEADER_BYTES + at.0
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let expected = Recovered {
        bases: vec![],
        end: Lsn::ZERO,
        sequence: 0,
        generation: Generation(0),
        truncated: None,
        identity: None,
    };
    assert_eq!(recover(&MemoryFiles::default()).unwrap(), expected);
}

#[test]
fn an_end_that_stops_at_any_byte_is_cut_off_and_reported() {
    let whole = MemoryFiles::default();
    let places = write(&whole, &[&["one", "two"], &["the last frame"]], 10_000);
    let (last, end) = (places[2], places[3]);
    for kept in 0..end.0 - last.0 {
        let files = MemoryFiles::default();
        write(&files, &[&["one", "two"], &["the last frame"]], 10_000);
        files.open(Lsn::ZERO).unwrap().truncate(offset(last) + kept).unwrap();
        let found = recover(&files).unwrap();
        let truncated = (kept > 0).then_some(Truncated { at: last, bytes: kept });
        assert_eq!((found.end, found.sequence, found.truncated), (last, 2, truncated));
        assert_eq!(size(&files, Lsn::ZERO), offset(last));
        assert_eq!(recover(&files).unwrap().truncated, None);
    }
}

#[test]
fn an_end_of_zeros_or_garbage_is_cut_off() {
    for byte in [0, 0xff, 1] {
        let files = MemoryFiles::default();
        let end = *write(&files, &[&["one", "two"]], 10_000).last().unwrap();
        files.open(Lsn::ZERO).unwrap().write_all_at(&[byte; 500], offset(end)).unwrap();
        let found = recover(&files).unwrap();
        assert_eq!(found.truncated, Some(Truncated { at: end, bytes: 500 }));
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_middle_frame_is_refused_with_its_place() {
    let files = MemoryFiles::default();
    let places = write(&files, &[&["one"], &["middle"], &["last"]], 10_000);
    let (at, end) = (places[1], places[2]);
    for bit in offset(at) * 8..offset(end) * 8 {
        flip(&files, Lsn::ZERO, bit);
        match recover(&files).unwrap_err() {
            LogError::Damaged { at: found, offset: byte, .. } => {
                assert_eq!((found, byte), (at, offset(at)), "bit {bit}");
            }
            error => panic!("bit {bit}: {error}"),
        }
        flip(&files, Lsn::ZERO, bit);
    }
    assert_eq!(recover(&files).unwrap().sequence, 3);
}

#[test]
fn a_group_that_lost_any_of_its_sectors_is_an_unfinished_end() {
    const SECTOR: u64 = 512;
    let long =
        ["a".repeat(100), "b".repeat(700), "c".repeat(300), "d".repeat(1_500), "e".repeat(9)];
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let groups: [&[&str]; 3] = [&["one", "two"], &["three"], &long];
    let whole = MemoryFiles::default();
    let places = write(&whole, &groups, 100_000);
    let (synced, end) = (places[3], *places.last().unwrap());
    let (first, last) = (offset(synced) / SECTOR, (offset(end) - 1) / SECTOR);
    assert_eq!(last - first, 6);

    for lost in 0..1_u32 << (last - first + 1) {
        let files = MemoryFiles::default();
        write(&files, &groups, 100_000);
        let file = files.open(Lsn::ZERO).unwrap();
        let mut intact = end;
        for sector in (first..=last).rev().filter(|sector| lost >> (sector - first) & 1 == 1) {
            let from = (sector * SECTOR).max(offset(synced));
            let to = ((sector + 1) * SECTOR).min(offset(end));
            file.write_all_at(&vec![0; (to - from) as usize], from).unwrap();
            // The frames in front of the first lost byte stay: they may.
            intact = *places.iter().rfind(|place| offset(**place) <= from).unwrap();
        }
        let found = recover(&files).unwrap();
        assert_eq!((found.end, places[found.sequence as usize]), (intact, intact), "{lost:b}");
        assert!(found.end >= synced);
        let bytes = end.0 - intact.0;
        let truncated = (bytes > 0).then_some(Truncated { at: intact, bytes });
        assert_eq!(found.truncated, truncated, "{lost:b}");
        write(&files, &[&["again"]], 100_000);
        assert_eq!(recover(&files).unwrap().truncated, None);
    }
}

/// What the documentation of `Truncated` admits.
#[test]
fn a_flipped_bit_in_the_last_group_looks_like_an_unfinished_end() {
    let files = MemoryFiles::default();
    let places = write(&files, &[&["one"], &["two", "three", "four"]], 10_000);
    flip(&files, Lsn::ZERO, offset(places[3]) * 8 - 1);
    let found = recover(&files).unwrap();
    let bytes = places[4].0 - places[2].0;
    assert_eq!(found.truncated, Some(Truncated { at: places[2], bytes }));
}

#[test]
fn a_flipped_bit_in_an_earlier_group_is_damage_whatever_its_place() {
    let files = MemoryFiles::default();
    let places = write(&files, &[&["one", "two", "three"], &["four", "five"]], 10_000);
    for bit in offset(places[0]) * 8..offset(places[3]) * 8 {
        flip(&files, Lsn::ZERO, bit);
        let error = recover(&files).unwrap_err();
        let broken = places.iter().rfind(|place| offset(**place) * 8 <= bit).unwrap();
        assert!(
            matches!(error, LogError::Damaged { at, .. } if at == *broken),
            "bit {bit}: {error}"
        );
        flip(&files, Lsn::ZERO, bit);
    }
}

/// Logs of earlier releases have no marks, so that every frame seems to begin a group.
#[test]
fn in_a_log_without_marks_every_broken_frame_before_an_intact_one_is_damage() {
    let files = MemoryFiles::default();
    let places = write(&files, &[&["one", "two", "three"]], 10_000);
    for place in &places[1..3] {
        clear_mark(&files, *place);
    }
    assert_eq!(recover(&files).unwrap().sequence, 3);
    flip(&files, Lsn::ZERO, offset(places[1]) * 8 - 1);
    let error = recover(&files).unwrap_err();
    assert!(matches!(error, LogError::Damaged { at, .. } if at == places[0]), "{error}");
}

/// Makes a frame look as earlier releases wrote it.
fn clear_mark(files: &MemoryFiles, at: Lsn) {
    let file = files.open(Lsn::ZERO).unwrap();
    let mut frame = vec![0; (size(files, Lsn::ZERO) - offset(at)) as usize];
    file.read_at(&mut frame, offset(at)).unwrap();
    frame.truncate(codec::size(&frame).unwrap());
    assert_eq!(frame[10..12], [1, 0]);
    frame[10] = 0;
    let crc = crc32c::crc32c(&frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&frame, offset(at)).unwrap();
}

#[test]
fn damage_is_described_with_its_place_and_a_way_out() {
    let files = MemoryFiles::default();
    let places = write(&files, &[&["one"], &["two"]], 10_000);
    flip(&files, Lsn::ZERO, offset(places[1]) * 8 - 1);
    let error = recover(&files).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.to_string(),
        "the log is damaged at byte 32 of memory/00000000000000000000.log (position 0): this \
         frame is not intact, and frame 1 behind it is; restore the file from a copy, or see what giving up \
         everything from there on would cost: postrider log repair memory"
    );
}

#[test]
fn the_end_of_an_earlier_segment_is_never_cut_off() {
    let files = MemoryFiles::default();
    let places = write(&files, &[&["one"], &["two"]], 10_000);
    write(&files, &[&["three"]], 10_000);
    files.open(Lsn::ZERO).unwrap().truncate(offset(places[1]) + 9).unwrap();
    let error = recover(&files).unwrap_err();
    assert!(matches!(error, LogError::Damaged { at, .. } if at == places[1]), "{error}");
    assert_eq!(size(&files, Lsn::ZERO), offset(places[1]) + 9, "the evidence is left alone");
    // Cut at a border between frames, only the gap before the next segment tells.
    files.open(Lsn::ZERO).unwrap().truncate(offset(places[1])).unwrap();
    let error = recover(&files).unwrap_err();
    assert!(matches!(error, LogError::Damaged { at, .. } if at == places[1]), "{error}");
}

#[test]
fn what_has_much_behind_it_is_measured_and_not_read() {
    let bases: Vec<_> = [0, 10, 20, 30, 40].map(Lsn).into();
    assert_eq!(trusted(&bases, 100), 0);
    assert_eq!(trusted(&bases, 10), 2);
    assert_eq!(trusted(&bases, 0), 3, "the last two are always read");
    assert_eq!(trusted(&bases[..1], 0), 0);
    assert_eq!(trusted(&[], 0), 0);

    let files = MemoryFiles::default();
    let groups: Vec<&[&str]> = vec![&["a", "b"], &["c"], &["d", "e", "f"], &["g"], &["h"]];
    let starts = write(&files, &groups, 1);
    let open = |bytes| scan(&files, Some(bytes), &mut |_| ());
    assert_eq!(open(0).unwrap(), open(u64::MAX).unwrap());
    flip(&files, starts[0], 8 * (SEGMENT_HEADER_BYTES + 40));
    assert_eq!(open(0).unwrap().sequence, 8, "whoever reads the first segment will notice");
    assert!(matches!(open(u64::MAX), Err(LogError::Damaged { .. })));
    files.open(Lsn(0)).unwrap().truncate(100).unwrap();
    assert!(matches!(open(0), Err(LogError::Damaged { .. })), "it is too short");
}

#[test]
fn a_renamed_segment_is_refused() {
    let files = MemoryFiles::default();
    write(&files, &[&["one"]], 10_000);
    let header = [7; 100];
    files.create(Lsn(59)).unwrap().write_all_at(&header, 0).unwrap();
    let error = recover(&files).unwrap_err();
    assert!(error.to_string().contains("the header of the file is not intact"), "{error}");
}

#[test]
fn a_segment_that_was_being_created_is_created_again() {
    for bytes in 0..=SEGMENT_HEADER_BYTES as usize {
        let files = MemoryFiles::default();
        let end = *write(&files, &[&["one"]], 10_000).last().unwrap();
        files.create(end).unwrap().write_all_at(&vec![0; bytes], 0).unwrap();
        write(&files, &[&["two"]], 10_000);
        let found = recover(&files).unwrap();
        assert_eq!((found.bases, found.sequence), (vec![Lsn::ZERO, end], 2));
    }
}

#[test]
fn a_generation_counts_even_if_it_wrote_nothing() {
    let files = MemoryFiles::default();
    for generation in 0..3 {
        let found = recover(&files).unwrap();
        assert_eq!((found.generation, found.bases), (Generation(generation), vec![]));
        write(&files, &[], 10_000);
    }
}

proptest! {
    /// Whatever is cut off a log, what is left is a prefix of its frames, or is refused.
    #[test]
    fn a_cut_log_is_a_prefix_or_refused(
        groups in prop::collection::vec(prop::collection::vec("[a-z]{0,40}", 1..4), 1..12),
        segment_bytes in 100..600u64,
        segment in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let files = MemoryFiles::default();
        let groups: Vec<Vec<&str>> =
            groups.iter().map(|group| group.iter().map(String::as_str).collect()).collect();
        let groups: Vec<&[&str]> = groups.iter().map(Vec::as_slice).collect();
        let places = write(&files, &groups, segment_bytes);
        let whole = recover(&files).unwrap();
        prop_assert_eq!(whole.end, *places.last().unwrap());

        let base = whole.bases[segment.index(whole.bases.len())];
        let kept = cut.index(size(&files, base) as usize) as u64;
        files.open(base).unwrap().truncate(kept).unwrap();
        match recover(&files) {
            Ok(found) => {
                prop_assert_eq!(Some(&base), whole.bases.last());
                prop_assert_eq!(places[found.sequence as usize], found.end);
                let inside = base.0 + kept.saturating_sub(SEGMENT_HEADER_BYTES);
                let expected = places.iter().filter(|place| place.0 <= inside).max();
                prop_assert_eq!(Some(&found.end), expected);
                write(&files, &[&["again"]], segment_bytes);
                let again = recover(&files).unwrap();
                prop_assert_eq!((again.sequence, again.truncated), (found.sequence + 1, None));
            }
            Err(LogError::Damaged { .. }) => prop_assert_ne!(Some(&base), whole.bases.last()),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
