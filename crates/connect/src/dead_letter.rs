//! Dead letters: the records that became no row, written down with the reason.
//!
//! One NDJSON object each: `{"table","position","reason","message","raw"}`; a record that is no
//! UTF-8 has `raw_base64` instead of `raw`. The file commits by position like any data sink, so
//! that a restart writes no dead letter twice.

use std::{path::PathBuf, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use postrider_core::{DataSink, ErrorKind, Reject, SinkError, SinkPosition};

use crate::{format::json::encode_base64, sink::single_file::SingleFileSink};

/// Writes rejects to an NDJSON file.
#[derive(Debug)]
pub struct DeadLetterSink {
    file: SingleFileSink,
}

impl DeadLetterSink {
    /// A sink that writes to `path`, which `restore` opens.
    pub fn new(path: PathBuf) -> Self {
        Self { file: SingleFileSink::new(path) }
    }

    /// The columns of [`rows`](Self::rows).
    pub fn schema() -> SchemaRef {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        Arc::new(Schema::new(vec![
            text("table", false),
            text("position", false),
            text("reason", false),
            text("message", false),
            text("raw", true),
            text("raw_base64", true),
        ]))
    }

    /// Rejects of one table as rows, for [`write`](DataSink::write) or to read them in SQL.
    ///
    /// # Errors
    /// Only for a fault of Postrider's own ([`ErrorKind::Bug`]).
    pub fn rows(table: &str, rejects: &[Reject]) -> Result<RecordBatch, SinkError> {
        let text = |reject: &Reject| str::from_utf8(&reject.raw).ok().map(str::to_owned);
        let base64 = |reject: &Reject| match str::from_utf8(&reject.raw) {
            Ok(_) => None,
            Err(_) => Some(encode_base64(&reject.raw)),
        };
        let positions = rejects.iter().map(|reject| Some(reject.position.to_string()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rejects.iter().map(|_| Some(table)).collect::<StringArray>()),
            Arc::new(positions.collect::<StringArray>()),
            Arc::new(rejects.iter().map(|reject| Some(reject.reason)).collect::<StringArray>()),
            Arc::new(rejects.iter().map(|reject| Some(&*reject.message)).collect::<StringArray>()),
            Arc::new(rejects.iter().map(text).collect::<StringArray>()),
            Arc::new(rejects.iter().map(base64).collect::<StringArray>()),
        ];
        RecordBatch::try_new(Self::schema(), columns).map_err(|error| SinkError {
            kind: ErrorKind::Bug,
            message: format!("dead letters don't fit their columns: {error}; please report this"),
        })
    }

    /// Writes the rejects of one table.
    ///
    /// # Errors
    /// As [`write`](DataSink::write).
    pub async fn reject(&mut self, table: &str, rejects: &[Reject]) -> Result<(), SinkError> {
        self.file.write(&Self::rows(table, rejects)?).await
    }
}

#[async_trait]
impl DataSink for DeadLetterSink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        self.file.restore(committed).await
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.file.write(rows).await
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        self.file.flush().await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_core::{DataSink, Position, Reject};
    use serde_json::{Value, json};

    use super::DeadLetterSink;

    fn reject(offset: u64, raw: &'static [u8]) -> Reject {
        Reject {
            position: Position { part: "a.ndjson".to_owned(), offset },
            reason: "bad_json",
            message: "it is \"bad\"".to_owned(),
            raw: Bytes::from_static(raw),
        }
    }

    #[tokio::test]
    async fn dead_letters_commit_by_position() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.ndjson");
        let mut sink = DeadLetterSink::new(path.clone());
        sink.restore(None).await.unwrap();
        sink.reject("events", &[reject(7, b"{\"a\":"), reject(9, b"\xff")]).await.unwrap();
        let sealed = sink.flush().await.unwrap();
        sink.reject("events", &[reject(11, b"lost")]).await.unwrap();
        sink.flush().await.unwrap();

        let mut sink = DeadLetterSink::new(path.clone());
        sink.restore(Some(sealed)).await.unwrap();
        assert_eq!(sink.flush().await.unwrap(), sealed);
        let lines: Vec<Value> = std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let letter = |position, raw: (&str, &str)| {
            json!({"table": "events", "position": position, "reason": "bad_json",
                "message": "it is \"bad\"", raw.0: raw.1})
        };
        assert_eq!(
            lines,
            [
                letter("a.ndjson:7", ("raw", "{\"a\":")),
                letter("a.ndjson:9", ("raw_base64", "/w=="))
            ]
        );
    }
}
