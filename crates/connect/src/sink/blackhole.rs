//! `blackhole`: takes rows and forgets them. Its position is the number of rows.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use postrider_core::{DataSink, Diagnostic, SinkError, SinkPosition, TableOptions};

use crate::registry::{Faults, SinkSpec};

/// `blackhole` has no options of its own.
pub(crate) fn take_options(options: TableOptions) -> Result<(), Vec<Diagnostic>> {
    Faults::default().end(options)
}

/// Opens a `blackhole` table.
pub(crate) fn open(spec: SinkSpec<'_>) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    take_options(spec.options)?;
    Ok(Box::new(BlackholeSink { rows: 0 }))
}

/// Counts rows.
#[derive(Debug)]
pub(crate) struct BlackholeSink {
    rows: u64,
}

#[async_trait]
impl DataSink for BlackholeSink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        self.rows = committed.unwrap_or(0);
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::conformance::sink::{batch, open_with};

    #[tokio::test]
    async fn rows_are_counted_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Arc::new(Mutex::new(Vec::new()));
        let mut sink = open_with("blackhole", dir.path(), &[], writer).unwrap();
        sink.restore(Some(3)).await.unwrap();
        sink.write(&batch(0..4)).await.unwrap();
        assert_eq!(sink.flush().await.unwrap(), 7);
    }
}
