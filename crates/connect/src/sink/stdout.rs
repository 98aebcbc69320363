//! `stdout`: rows as NDJSON on the terminal.
//!
//! Rows appear when their epoch is flushed. A terminal can't take rows back: after a crash between
//! flush and seal the rows of that epoch appear a second time.

use std::{
    fmt,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use postrider_core::{DataSink, Diagnostic, SinkError, SinkPosition, TableOptions};

use crate::{
    failure::write_failed,
    format::json::JsonEncoder,
    registry::{Faults, SinkSpec},
};

/// Where `stdout` tables write; shared by all of them.
pub type SharedWriter = Arc<Mutex<dyn Write + Send>>;

/// `stdout` has no options of its own.
pub(crate) fn take_options(options: TableOptions) -> Result<(), Vec<Diagnostic>> {
    Faults::default().end(options)
}

/// Opens a `stdout` table.
pub(crate) fn open(spec: SinkSpec<'_>) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    take_options(spec.options)?;
    Ok(Box::new(StdoutSink {
        writer: spec.stdout,
        encoder: JsonEncoder::new(spec.json),
        buffer: Vec::new(),
        position: 0,
    }))
}

/// Writes rows to the terminal.
pub(crate) struct StdoutSink {
    writer: SharedWriter,
    encoder: JsonEncoder,
    buffer: Vec<u8>,
    position: SinkPosition,
}

impl fmt::Debug for StdoutSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdoutSink").field("position", &self.position).finish_non_exhaustive()
    }
}

#[async_trait]
impl DataSink for StdoutSink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        self.position = committed.unwrap_or(0);
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.encoder.encode(rows, &mut self.buffer)
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        // A writer that panicked elsewhere still takes bytes.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer
            .write_all(&self.buffer)
            .and_then(|()| writer.flush())
            .map_err(|error| write_failed("write to", Path::new("standard output"), &error))?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use crate::conformance::sink::{batch, open_with};

    #[tokio::test]
    async fn rows_appear_when_they_are_flushed() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open_with("stdout", dir.path(), &[], shown.clone()).unwrap();
        let text = || {
            let bytes = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            String::from_utf8(bytes).unwrap()
        };
        sink.restore(Some(10)).await.unwrap();
        sink.write(&batch(0..2)).await.unwrap();
        assert_eq!(text(), "");
        let position = sink.flush().await.unwrap();
        assert_eq!(text(), "{\"n\":0,\"s\":\"row 0\"}\n{\"n\":1,\"s\":\"row 1\"}\n");
        assert_eq!(position, 10 + text().len() as u64);
    }
}
