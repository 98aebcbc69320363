//! `single_file` as a sink: records at the end of one file.
//!
//! Its position is the length of the file. On a new state the file starts empty: what was in it
//! is gone. What a crash left behind the sealed position is cut off.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use postrider_core::{DataSink, Diagnostic, SinkError, SinkPosition, TableOptions};

use super::AppendFile;
use crate::{
    failure::{not_restored, open_failed},
    format::{json::JsonEncoder, written::RecordEncoder},
    path::PathTemplate,
    registry::{Faults, SinkSpec},
};

/// The options of `single_file`.
pub(crate) struct SingleFileOptions {
    path: PathTemplate,
}

impl SingleFileOptions {
    pub(crate) fn take(mut options: TableOptions) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let path = faults.path(&mut options, "out.ndjson");
        faults.end(options)?;
        path.map(|path| Self { path }).ok_or_else(Vec::new)
    }
}

/// Opens a `single_file` table for writing; the file itself is opened by `restore`.
pub(crate) fn open(spec: SinkSpec<'_>) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    let options = SingleFileOptions::take(spec.options)?;
    let path = options.path.resolve(spec.base_dir, spec.env).map_err(|fault| vec![fault])?;
    refuse_folder(&path).map_err(|fault| vec![fault])?;
    let encoder = RecordEncoder::new(spec.format, spec.json, &spec.schema)?;
    Ok(Box::new(SingleFileSink { path, file: None, encoder }))
}

fn refuse_folder(path: &Path) -> Result<(), Diagnostic> {
    if path.is_dir() {
        return Err(open_failed("write", path, &std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(())
}

/// Appends rows to one file.
#[derive(Debug)]
pub(crate) struct SingleFileSink {
    path: PathBuf,
    file: Option<AppendFile>,
    encoder: RecordEncoder,
}

impl SingleFileSink {
    /// A file of JSON.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, encoder: RecordEncoder::Json(JsonEncoder::default()) }
    }
}

/// Appends rows to a file, behind what its format begins with.
pub(super) fn write_records(
    file: &mut AppendFile,
    encoder: &RecordEncoder,
    rows: &RecordBatch,
) -> Result<(), SinkError> {
    let is_new = file.len() == 0 && rows.num_rows() > 0;
    file.append(|buffer| {
        if is_new {
            encoder.begin(buffer);
        }
        encoder.encode(rows, buffer)
    })
}

#[async_trait]
impl DataSink for SingleFileSink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        self.file = Some(AppendFile::cut(&self.path, committed.unwrap_or(0))?);
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        let file = self.file.as_mut().ok_or_else(not_restored)?;
        write_records(file, &self.encoder, rows)
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        let file = self.file.as_mut().ok_or_else(not_restored)?;
        file.sync()?;
        Ok(file.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::conformance::{file_sink_conformance, sink::FileSinkCase};

    mod json {
        use super::{FileSinkCase, file_sink_conformance};
        file_sink_conformance!(FileSinkCase {
            connector: "single_file",
            format: postrider_core::Format::Json,
            path: "out/rows.ndjson",
            options: ""
        });
    }

    mod csv {
        use super::{FileSinkCase, file_sink_conformance};
        file_sink_conformance!(FileSinkCase {
            connector: "single_file",
            format: postrider_core::Format::Csv,
            path: "out/rows.csv",
            options: ""
        });
    }
}
