//! Rows as dead letters show them.

use arrow::{array::RecordBatch, error::ArrowError};
use arrow_json::LineDelimitedWriter;
use bytes::Bytes;

/// One row as a JSON object.
///
/// # Errors
/// It holds what JSON can't.
pub(super) fn as_json(row: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut json = LineDelimitedWriter::new(Vec::new());
    json.write(row)?;
    json.finish()?;
    let mut raw = json.into_inner();
    raw.truncate(raw.trim_ascii_end().len());
    Ok(raw.into())
}
