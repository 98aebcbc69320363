//! Formats: bytes to rows and back.

pub(crate) mod json;
