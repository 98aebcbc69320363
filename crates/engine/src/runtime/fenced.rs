//! A data sink that is written to only while this process has the log.
//!
//! A file knows no fencing token: what a process does with a file that it has open, the file takes. So this looks at the fence
//! right before everything that may change the file. What is left is a process that is stopped between a look and the end of
//! the call behind it, for the whole lease, and resumed later ([ADR 5](../../../../docs/adr/0005-takeover-by-lease.md)).

use arrow::array::RecordBatch;
use postrider_core::{SinkError, SinkPosition};
use postrider_store::Log;

use super::coordinator::BoxedSink;
use crate::EngineError;

/// A data sink and the log that its rows are sealed in.
pub(crate) struct FencedSink {
    name: String,
    sink: BoxedSink,
    log: Log,
}

impl FencedSink {
    /// Continues at a sealed position: what is behind it is cut off.
    pub(crate) async fn restore(
        name: &str,
        mut sink: BoxedSink,
        log: &Log,
        position: Option<SinkPosition>,
    ) -> Result<Self, EngineError> {
        log.check_fence()?;
        let restored = sink.restore(position).await;
        let fenced = Self { name: name.to_owned(), sink, log: log.clone() };
        restored.map_err(|error| fenced.failed(error))?;
        Ok(fenced)
    }

    pub(crate) async fn write(&mut self, rows: &RecordBatch) -> Result<(), EngineError> {
        self.log.check_fence()?;
        let written = self.sink.write(rows).await;
        written.map_err(|error| self.failed(error))
    }

    pub(crate) async fn flush(&mut self) -> Result<SinkPosition, EngineError> {
        self.log.check_fence()?;
        let flushed = self.sink.flush().await;
        flushed.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: SinkError) -> EngineError {
        EngineError::Sink { sink: self.name.clone(), error }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use arrow::{array::RecordBatch, datatypes::Schema};
    use async_trait::async_trait;
    use postrider_core::{DataSink, SinkError, SinkPosition};
    use postrider_store::{Log, LogError, LogOptions};

    use super::{EngineError, FencedSink};

    /// Counts what is asked of it.
    #[derive(Clone, Default)]
    struct Counts(Arc<AtomicU64>);

    impl Counts {
        fn count(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    #[async_trait]
    impl DataSink for Counts {
        async fn restore(&mut self, _: Option<SinkPosition>) -> Result<(), SinkError> {
            self.count();
            Ok(())
        }

        async fn write(&mut self, _: &RecordBatch) -> Result<(), SinkError> {
            self.count();
            Ok(())
        }

        async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
            Ok(self.count())
        }
    }

    fn is_fenced<T>(result: &Result<T, EngineError>) -> bool {
        matches!(result, Err(EngineError::Log(LogError::Fenced { .. })))
    }

    #[tokio::test]
    async fn a_process_that_was_taken_over_touches_no_sink() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(LogOptions::new(dir.path())).unwrap().log;
        let (calls, rows) = (Counts::default(), RecordBatch::new_empty(Schema::empty().into()));
        let boxed = || Box::new(calls.clone());
        let mut sink = FencedSink::restore("rows", boxed(), &log, None).await.unwrap();
        sink.write(&rows).await.unwrap();
        assert_eq!(sink.flush().await.unwrap(), 2);
        // Another process's file, as a takeover leaves it.
        fs::write(dir.path().join("other"), "process 7\n").unwrap();
        fs::rename(dir.path().join("other"), dir.path().join("LOCK")).unwrap();
        assert!(is_fenced(&sink.write(&rows).await));
        assert!(is_fenced(&sink.flush().await));
        assert!(is_fenced(&FencedSink::restore("rows", boxed(), &log, Some(2)).await));
        assert_eq!(calls.count(), 3, "nothing was asked of the sink any more");
    }
}
