//! What can still be read behind damage: every frame whose checksum is right, wherever it is.

use std::{collections::BTreeMap, fs, io, path::Path};

use bytes::Bytes;
use postrider_core::{SendId, SubjectId, WorkspaceId};

use crate::{
    EpochSealed, Frame, FrameKind, IntentRecord, Lsn, NewFrame, RememberedRecord,
    frame::codec::{self, HEADER_BYTES},
    segment::SEGMENT_HEADER_BYTES,
};

/// What a log forgets when it is cut, as far as it can be read.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// Intact frames behind the damage, by kind.
    pub frames: BTreeMap<FrameKind, u64>,
    /// Bytes that belong to no intact frame: nobody knows what was in them.
    pub unreadable_bytes: u64,
    /// The first and last sealed epoch of each pipeline.
    pub epochs: BTreeMap<String, (u64, u64)>,
    /// The newest process that wrote there.
    pub(super) newest_generation: u64,
    sends: BTreeMap<SendId, (WorkspaceId, SubjectId)>,
}

impl Forgotten {
    /// How many sends were begun behind the damage.
    pub fn sends(&self) -> u64 {
        self.sends.len() as u64
    }

    /// The sends as frames.
    pub(super) fn remembered(&self) -> impl Iterator<Item = NewFrame> {
        self.sends.iter().map(|(send, (workspace, subject))| {
            RememberedRecord { send_id: RememberedRecord::send_id(*send) }
                .frame(*workspace, *subject)
        })
    }

    /// Reads the bytes of a segment from `offset` on and counts what is there.
    pub(super) fn read(&mut self, path: &Path, offset: u64) -> io::Result<()> {
        self.unreadable_bytes += scan(path, offset, &mut |frame| self.note(frame, true))?;
        Ok(())
    }

    /// Reads a file that an earlier repair kept: its sends count, in case that repair was cut off.
    pub(super) fn read_kept(&mut self, path: &Path) -> io::Result<()> {
        scan(path, SEGMENT_HEADER_BYTES, &mut |frame| self.note(frame, false)).map(drop)
    }

    fn note(&mut self, frame: &Frame, counts: bool) {
        self.newest_generation = self.newest_generation.max(frame.generation.0);
        let send = match frame.kind {
            FrameKind::Intent => {
                IntentRecord::decode(&frame.payload).ok().map(|record| record.send())
            }
            FrameKind::Remembered => {
                RememberedRecord::decode(&frame.payload).ok().map(|record| record.send())
            }
            _ => None,
        };
        if let Some(send) = send {
            self.sends.insert(send, (frame.workspace, frame.subject));
        }
        if !counts {
            return;
        }
        *self.frames.entry(frame.kind).or_default() += 1;
        if frame.kind == FrameKind::EpochSealed
            && let Ok(seal) = EpochSealed::decode(&frame.payload)
        {
            let epochs = self.epochs.entry(seal.pipeline).or_insert((seal.epoch, seal.epoch));
            *epochs = (epochs.0.min(seal.epoch), epochs.1.max(seal.epoch));
        }
    }
}

/// Shows every intact frame of a file from `offset` on. Behind bytes that are none, every place is tried. Returns how
/// many such bytes there are.
fn scan(path: &Path, offset: u64, show: &mut dyn FnMut(&Frame)) -> io::Result<u64> {
    // A segment is 64 MiB, or one batch more: it fits into memory.
    let bytes = Bytes::from(fs::read(path)?);
    let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut unreadable = 0;
    while at < bytes.len() {
        match frame_at(&bytes, at) {
            Some((frame, size)) => {
                show(&frame);
                at += size;
            }
            None => {
                unreadable += 1;
                at += 1;
            }
        }
    }
    Ok(unreadable)
}

fn frame_at(bytes: &Bytes, at: usize) -> Option<(Frame, usize)> {
    let header = bytes.get(at..at + HEADER_BYTES)?;
    if !codec::may_be_frame(header) {
        return None;
    }
    let size = codec::size(header).ok()?;
    if at + size > bytes.len() {
        return None;
    }
    let frame = codec::decode(Lsn(at as u64), &bytes.slice(at..at + size)).ok()?;
    Some((frame, size))
}
