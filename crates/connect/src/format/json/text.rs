//! Texts and bytes of one column, end to end in one buffer.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::reason::{Bad, Parsed};

/// A typical length of a text, for the first allocation.
const TYPICAL_BYTES: usize = 16;

/// Texts and where each ends.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) offsets: Vec<i32>,
    pub(super) bytes: Vec<u8>,
}

impl Texts {
    pub(super) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(rows * TYPICAL_BYTES) }
    }

    #[inline]
    pub(super) fn push(&mut self, text: &[u8], column: &str) -> Parsed<()> {
        let Ok(end) = i32::try_from(self.bytes.len() + text.len()) else {
            return Err(Bad::new(
                "out_of_range",
                format!("column `{column}` would hold more than 2 GiB of text in one chunk"),
            ));
        };
        self.bytes.extend_from_slice(text);
        self.offsets.push(end);
        Ok(())
    }

    pub(super) fn push_empty(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        let end = self.offsets.last().and_then(|end| usize::try_from(*end).ok());
        self.bytes.truncate(end.unwrap_or(0));
    }
}

/// Standard base64 (RFC 4648 section 4), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes that a text stands for.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// The text that stands for bytes, padded.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}
