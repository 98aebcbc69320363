//! `filesystem` as a sink: records in a folder of part files.
//!
//! The parts are one stream of bytes, cut between epochs once a part has `target_file_size` bytes.
//! A part is named by where it begins in the stream (`part-00000000000000000000.ndjson`, or `.csv` or `.txt`), so the
//! position, the number of bytes in all, says which files to keep, to cut and to delete on
//! restart. Other files in the folder are left alone. On a new state older parts are deleted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use postrider_core::{DataSink, Diagnostic, ErrorKind, SinkError, SinkPosition, TableOptions};

use super::{AppendFile, single_file::write_records};
use crate::{
    failure::{not_restored, open_failed, write_failed},
    format::written::RecordEncoder,
    limits::PART_FILE_BYTES,
    path::PathTemplate,
    registry::{Faults, SinkSpec},
};

/// The options of `filesystem`.
pub(crate) struct FolderOptions {
    path: PathTemplate,
    part_bytes: u64,
}

impl FolderOptions {
    pub(crate) fn take(mut options: TableOptions) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let path = faults.path(&mut options, "out/");
        let range = options.peek("target_file_size").map(|option| option.range.clone());
        let part_bytes = match faults.keep(options.number("target_file_size")).flatten() {
            None => PART_FILE_BYTES,
            Some(bytes) => u64::try_from(bytes).unwrap_or(0),
        };
        if part_bytes == 0 {
            faults.push(
                Diagnostic::error("PR0301", "option `target_file_size` must be above 0")
                    .at_option(range)
                    .hint("it counts bytes, such as target_file_size = 134217728"),
            );
        }
        faults.end(options)?;
        path.map(|path| Self { path, part_bytes }).ok_or_else(Vec::new)
    }
}

/// Opens a `filesystem` table for writing; files are opened by `restore`.
pub(crate) fn open(spec: SinkSpec<'_>) -> Result<Box<dyn DataSink>, Vec<Diagnostic>> {
    let options = FolderOptions::take(spec.options)?;
    let folder = options.path.resolve(spec.base_dir, spec.env).map_err(|fault| vec![fault])?;
    if folder.is_file() {
        let error = std::io::ErrorKind::NotADirectory.into();
        return Err(vec![open_failed("write to", &folder, &error)]);
    }
    let encoder = RecordEncoder::new(spec.format, spec.json, &spec.schema)?;
    Ok(Box::new(FolderSink { folder, part_bytes: options.part_bytes, part: None, encoder }))
}

/// Appends rows to the newest part.
#[derive(Debug)]
pub(crate) struct FolderSink {
    folder: PathBuf,
    part_bytes: u64,
    /// Where the newest part begins, and the part.
    part: Option<(u64, AppendFile)>,
    encoder: RecordEncoder,
}

impl FolderSink {
    fn part_path(&self, begin: u64) -> PathBuf {
        self.folder.join(format!("part-{begin:020}.{}", self.encoder.extension()))
    }

    /// Where the parts in the folder begin, in order.
    fn parts(&self) -> Result<Vec<u64>, SinkError> {
        let failed = |error| write_failed("list the folder", &self.folder, &error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut parts = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            parts.extend(name.to_str().and_then(|name| part_begin(name, self.encoder.extension())));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// Refuses to go on if a part that was sealed is gone or has another length.
    fn check_sealed(&self, parts: &[u64], committed: u64) -> Result<(), SinkError> {
        let mut expected = 0;
        for (index, begin) in parts.iter().enumerate() {
            if *begin != expected {
                break;
            }
            let path = self.part_path(*begin);
            let len = fs::metadata(&path)
                .map_err(|error| write_failed("read the length of", &path, &error))?
                .len();
            let last = index + 1 == parts.len();
            expected = if last { committed.min(begin + len) } else { begin + len };
        }
        if expected == committed {
            return Ok(());
        }
        Err(SinkError {
            kind: ErrorKind::Data,
            message: format!(
                "the part files in {} hold {expected} bytes in a row, but {committed} were sealed; put the files back, or start with a new state directory",
                self.folder.display()
            ),
        })
    }
}

/// Where a part begins, from its file name.
fn part_begin(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_prefix("part-")?.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

fn delete(path: &Path) -> Result<(), SinkError> {
    fs::remove_file(path).map_err(|error| write_failed("delete", path, &error))
}

#[async_trait]
impl DataSink for FolderSink {
    async fn restore(&mut self, committed: Option<SinkPosition>) -> Result<(), SinkError> {
        let committed = committed.unwrap_or(0);
        let mut parts = self.parts()?;
        let kept = parts.partition_point(|begin| *begin < committed);
        for begin in parts.drain(kept..) {
            delete(&self.part_path(begin))?;
        }
        self.check_sealed(&parts, committed)?;
        let begin = parts.last().copied().unwrap_or(0);
        self.part = Some((begin, AppendFile::cut(&self.part_path(begin), committed - begin)?));
        Ok(())
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        let (_, file) = self.part.as_mut().ok_or_else(not_restored)?;
        write_records(file, &self.encoder, rows)
    }

    async fn flush(&mut self) -> Result<SinkPosition, SinkError> {
        let (begin, file) = self.part.as_mut().ok_or_else(not_restored)?;
        file.sync()?;
        let end = *begin + file.len();
        if file.len() >= self.part_bytes {
            self.part = Some((end, AppendFile::cut(&self.part_path(end), 0)?));
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use crate::conformance::{file_sink_conformance, sink::FileSinkCase};

    mod one_part {
        use super::{FileSinkCase, file_sink_conformance};
        file_sink_conformance!(FileSinkCase {
            connector: "filesystem",
            format: postrider_core::Format::Json,
            path: "out",
            options: ""
        });
    }

    mod a_part_an_epoch {
        use super::{FileSinkCase, file_sink_conformance};
        file_sink_conformance!(FileSinkCase {
            connector: "filesystem",
            format: postrider_core::Format::Json,
            path: "out",
            options: "target_file_size"
        });
    }

    mod a_part_of_csv_an_epoch {
        use super::{FileSinkCase, file_sink_conformance};
        file_sink_conformance!(FileSinkCase {
            connector: "filesystem",
            format: postrider_core::Format::Csv,
            path: "out",
            options: "target_file_size"
        });
    }
}
