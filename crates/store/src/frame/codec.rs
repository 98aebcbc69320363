//! Frames as bytes.
//!
//! ```text
//!  0 payload length u32     4 CRC-32C u32 of everything from byte 8 on, with the payload
//!  8 kind u8                9 version u8 (1)     10 flags u16
//! 12 workspace u32         16 generation u64     24 sequence u64
//! 32 subject [u8; 16]      48 key id u32         52 reserved u32
//! 56 payload
//! ```
//!
//! All numbers are little-endian. Bit 0 of the flags is set in a frame that is not the first of its group; it was always 0
//! before groups were marked, so in such a log every frame is taken for the first of one. Other flags and reserved bytes
//! are written as zero and ignored when read. A frame of zeros is not intact, since the CRC-32C of zeros is not zero.

use bytes::Bytes;
use postrider_core::{Generation, SubjectId, WorkspaceId};

use crate::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind, Lsn, NewFrame};

/// The size of a frame without payload.
pub(crate) const HEADER_BYTES: usize = 56;

const VERSION: u8 = 1;
const CHECKED_FROM: usize = 8;
const FLAGS_AT: usize = 10;
/// The frame follows another one of its group.
const INSIDE_GROUP: u8 = 1;

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The length can't be that of a frame.
    Length(u32),
    /// The checksum says that the bytes are not those that were written.
    Checksum,
    /// Intact, but of a later version.
    TooNew(String),
}

impl Fault {
    /// In words.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Length(bytes) => format!("a frame can't have {bytes} bytes"),
            Self::Checksum => "the checksum does not match".to_owned(),
            Self::TooNew(reason) => reason,
        }
    }
}

/// Who writes a frame, and as which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// The writing process.
    pub(crate) generation: Generation,
    /// The frame's number.
    pub(crate) sequence: u64,
}

/// Where a frame is in its group, the frames of one write and one fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InGroup {
    /// It begins the group: everything before it was durable when it was written.
    First,
    /// It follows another frame of the group.
    Later,
}

/// The size of a frame on disk.
pub(crate) const fn encoded_bytes(frame: &NewFrame) -> usize {
    HEADER_BYTES + frame.payload.len()
}

/// Appends a frame to `out`. The payload is within [`FRAME_PAYLOAD_BYTES_MAX`].
pub(crate) fn encode(frame: &NewFrame, stamp: Stamp, place: InGroup, out: &mut Vec<u8>) {
    // The cast loses nothing: `Log::submit` refuses payloads over the limit, which is below 2^32.
    let length = frame.payload.len() as u32;
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&length.to_le_bytes());
    header[8] = frame.kind as u8;
    header[9] = VERSION;
    header[FLAGS_AT] = match place {
        InGroup::First => 0,
        InGroup::Later => INSIDE_GROUP,
    };
    header[12..16].copy_from_slice(&frame.workspace.0.to_le_bytes());
    header[16..24].copy_from_slice(&stamp.generation.0.to_le_bytes());
    header[24..32].copy_from_slice(&stamp.sequence.to_le_bytes());
    header[32..48].copy_from_slice(&frame.subject.0);
    let checked = crc32c::crc32c(&header[CHECKED_FROM..]);
    let crc = crc32c::crc32c_append(checked, &frame.payload);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&frame.payload);
}

/// The size of the frame that starts with `header`, which has [`HEADER_BYTES`] bytes or more.
pub(crate) fn size(header: &[u8]) -> Result<usize, Fault> {
    let length = u32_at(header, 0);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= FRAME_PAYLOAD_BYTES_MAX => Ok(HEADER_BYTES + bytes),
        _ => Err(Fault::Length(length)),
    }
}

/// Reads a whole frame, whose size is as [`size`] says, and checks it.
pub(crate) fn decode(lsn: Lsn, bytes: &Bytes) -> Result<Frame, Fault> {
    if crc32c::crc32c(&bytes[CHECKED_FROM..]) != u32_at(bytes, 4) {
        return Err(Fault::Checksum);
    }
    describe(lsn, bytes, bytes.slice(HEADER_BYTES..))
}

/// Reads the header of a frame without looking at its payload, which is left empty.
pub(crate) fn decode_header(lsn: Lsn, header: &[u8]) -> Result<Frame, Fault> {
    describe(lsn, header, Bytes::new())
}

/// Whether a frame of this writer, later than `sequence`, seems to start here: a cheap test before the checksum.
pub(crate) fn may_follow(header: &[u8], after: Stamp) -> bool {
    header[9] == VERSION
        && FrameKind::from_number(header[8]).is_some()
        && u64_at(header, 16) == after.generation.0
        && u64_at(header, 24) > after.sequence
        && size(header).is_ok()
}

/// Whether a frame of any writer seems to start here: a cheap test before the checksum.
pub(crate) fn may_be_frame(header: &[u8]) -> bool {
    header[9] == VERSION && FrameKind::from_number(header[8]).is_some() && size(header).is_ok()
}

/// Where an intact frame is in its group.
pub(crate) const fn in_group(header: &[u8]) -> InGroup {
    if header[FLAGS_AT] & INSIDE_GROUP == 0 { InGroup::First } else { InGroup::Later }
}

fn describe(lsn: Lsn, header: &[u8], payload: Bytes) -> Result<Frame, Fault> {
    if header[9] != VERSION {
        return Err(Fault::TooNew(format!("frame version {}", header[9])));
    }
    let kind = FrameKind::from_number(header[8])
        .ok_or_else(|| Fault::TooNew(format!("frame kind {}", header[8])))?;
    let mut subject = [0; 16];
    subject.copy_from_slice(&header[32..48]);
    Ok(Frame {
        lsn,
        end: lsn.advance(HEADER_BYTES as u64 + u64::from(u32_at(header, 0))),
        kind,
        generation: Generation(u64_at(header, 16)),
        sequence: u64_at(header, 24),
        workspace: WorkspaceId(u32_at(header, 12)),
        subject: SubjectId(subject),
        key_id: u32_at(header, 48),
        payload,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests;
