//! `format = 'debezium_json'`: a record for each change, in front of any sink of rows.
//!
//! Rows come with their kind in the first column. A record has `before` and `after`, the columns of the row, and `op`: `c` for
//! a row that is new, `u` for an update, `d` for a row that is gone. What is not there is left out, as NULL fields are.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, StructArray, UInt32Array, cast::AsArray,
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::take::take;
use async_trait::async_trait;
use postrider_core::{DataSink, ErrorKind, SinkError, SinkPosition};

/// Makes records of changes, and gives them to another sink.
pub(crate) struct DebeziumSink {
    pub(crate) inner: Box<dyn DataSink>,
}

/// The columns of records of changes of rows of this schema, whose first column is the kind.
pub(crate) fn envelope(rows: &Schema) -> SchemaRef {
    let columns: Fields = rows.fields().iter().skip(1).cloned().collect();
    let row = DataType::Struct(columns);
    Arc::new(Schema::new(vec![
        Field::new("before", row.clone(), true),
        Field::new("after", row, true),
        Field::new("op", DataType::Utf8, false),
    ]))
}

/// The row before each change, the row behind it, and what happened.
#[derive(Default)]
struct Changes {
    before: Vec<Option<u32>>,
    after: Vec<Option<u32>>,
    op: Vec<&'static str>,
}

impl Changes {
    fn of(kinds: &StringArray) -> Self {
        let mut changes = Self::default();
        let kind = |row: usize| if row < kinds.len() { kinds.value(row) } else { "" };
        let (mut row, mut at) = (0, 0_u32);
        while row < kinds.len() {
            let (before, after, op) = match (kind(row), kind(row + 1)) {
                ("-U", "+U") => (Some(at), Some(at + 1), "u"),
                ("-U" | "-D", _) => (Some(at), None, "d"),
                _ => (None, Some(at), "c"),
            };
            changes.before.push(before);
            changes.after.push(after);
            changes.op.push(op);
            let taken = if op == "u" { 2 } else { 1 };
            row += taken;
            at += taken as u32;
        }
        changes
    }
}

fn records(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = envelope(&rows.schema());
    let Some((kinds, columns)) = rows.columns().split_first() else {
        return Ok(RecordBatch::new_empty(schema));
    };
    let changes = Changes::of(kinds.as_string());
    let side = |at: Vec<Option<u32>>| -> Result<ArrayRef, ArrowError> {
        let at = UInt32Array::from(at);
        let columns = columns.iter().map(|column| take(column, &at, None));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let fields: Fields = rows.schema().fields().iter().skip(1).cloned().collect();
        Ok(Arc::new(StructArray::try_new_with_length(
            fields,
            columns,
            at.nulls().cloned(),
            at.len(),
        )?))
    };
    let op: ArrayRef = Arc::new(StringArray::from(changes.op));
    RecordBatch::try_new(schema, vec![side(changes.before)?, side(changes.after)?, op])
}

#[async_trait]
impl DataSink for DebeziumSink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        self.inner.restore(committed).await
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        let records = records(rows).map_err(|error| SinkError {
            kind: ErrorKind::Bug,
            message: format!("can't make changes of these rows: {error}; please report this"),
        })?;
        self.inner.write(&records).await
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        self.inner.flush().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow_schema::{DataType, Field, Schema};
    use postrider_core::{Format, TableOptions};

    use crate::{SinkSpec, open_sink};

    #[tokio::test]
    async fn a_record_has_the_row_before_and_behind_its_change() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let schema = Arc::new(Schema::new(vec![
            Field::new("op", DataType::Utf8, false),
            Field::new("k", DataType::Utf8, false),
            Field::new("n", DataType::Int64, true),
        ]));
        let spec = SinkSpec {
            options: TableOptions::default(),
            schema: Arc::clone(&schema),
            format: Format::DebeziumJson,
            json: postrider_core::JsonForm::default(),
            base_dir: std::path::Path::new("."),
            env: &|_| None,
            stdout: shown.clone(),
        };
        let mut sink = open_sink("stdout", spec).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["+I", "-U", "+U", "-D", "-U", "+I", "+U"])),
            Arc::new(StringArray::from(vec!["a", "a", "a", "a", "b", "c", "d"])),
            Arc::new(Int64Array::from(vec![
                Some(1),
                Some(1),
                Some(2),
                Some(2),
                None,
                None,
                Some(3),
            ])),
        ];
        sink.write(&RecordBatch::try_new(schema, columns).unwrap()).await.unwrap();
        sink.flush().await.unwrap();
        let text = String::from_utf8(shown.lock().unwrap().clone()).unwrap();
        let lines = [
            r#"{"after":{"k":"a","n":1},"op":"c"}"#,
            r#"{"before":{"k":"a","n":1},"after":{"k":"a","n":2},"op":"u"}"#,
            r#"{"before":{"k":"a","n":2},"op":"d"}"#,
            r#"{"before":{"k":"b"},"op":"d"}"#,
            r#"{"after":{"k":"c"},"op":"c"}"#,
            r#"{"after":{"k":"d","n":3},"op":"c"}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }
}
