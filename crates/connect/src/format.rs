//! Formats: bytes to rows and back.

pub(crate) mod csv;
pub(crate) mod debezium;
pub(crate) mod files;
pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod parquet;
pub(crate) mod raw_string;
pub(crate) mod rejects;
pub(crate) mod text_lines;
pub(crate) mod unstructured;
pub(crate) mod written;
