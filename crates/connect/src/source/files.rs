//! `single_file` and `filesystem`: files of any format, read from start to end.
//!
//! Both are bounded: `single_file` ends with its file, `filesystem` with the last of the files that
//! were there when the table was opened. Each file of a folder is a part; parts are read in the
//! order of their names, so positions (part, byte) are ordered as the records are read.

use std::{
    collections::HashMap,
    fs,
    future::pending,
    ops::Range,
    path::{Path, PathBuf},
};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use postrider_core::{
    Diagnostic, ErrorKind, Format, JsonForm, Polled, Position, Source, SourceError, TableOptions,
};

use crate::{
    failure::open_failed,
    format::{
        files::{FileFormat, PartFile},
        metadata::with_metadata,
    },
    path::{Env, PathTemplate},
    registry::{Faults, SourceParts, SourceSpec},
};

/// The options of `single_file`.
pub(crate) struct SingleFileOptions {
    path: PathTemplate,
}

impl SingleFileOptions {
    pub(crate) fn take(mut options: TableOptions) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let path = faults.path(&mut options, "events.ndjson");
        // Arroyo needs it to read a file through; Postrider always does, and takes the same SQL.
        faults.keep(options.boolean("wait_for_control"));
        faults.end(options)?;
        path.map(|path| Self { path }).ok_or_else(Vec::new)
    }
}

/// The options of `filesystem`.
pub(crate) struct FolderOptions {
    path: PathTemplate,
    /// The text before and behind the `*` of the pattern.
    pattern: (String, String),
}

impl FolderOptions {
    pub(crate) fn take(mut options: TableOptions) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Faults::default();
        let path = faults.path(&mut options, "events/");
        let range = options.peek("pattern").map(|option| option.range.clone());
        let pattern = faults.keep(options.text("pattern")).flatten();
        let pattern = match pattern.as_deref().unwrap_or("*").split_once('*') {
            Some((before, behind)) if !behind.contains('*') => {
                Some((before.to_owned(), behind.to_owned()))
            }
            _ => {
                faults.push(
                    Diagnostic::error("PR0301", "option `pattern` needs exactly one '*'")
                        .at_option(range)
                        .hint("such as pattern = '*.ndjson'"),
                );
                None
            }
        };
        faults.end(options)?;
        path.zip(pattern).map(|(path, pattern)| Self { path, pattern }).ok_or_else(Vec::new)
    }

    fn matches(&self, name: &str) -> bool {
        let (before, behind) = &self.pattern;
        name.len() >= before.len() + behind.len()
            && name.starts_with(before)
            && name.ends_with(behind)
            && !name.starts_with('.')
    }

    /// The files of the folder, by name.
    fn list(&self, base_dir: &Path, env: &Env<'_>) -> Result<Vec<(String, PathBuf)>, Diagnostic> {
        let folder = self.path.resolve(base_dir, env)?;
        let failed = |error| open_failed("list the folder", &folder, &error);
        let mut parts = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str())
                && self.matches(name)
                && path.is_file()
            {
                parts.push((name.to_owned(), path));
            }
        }
        parts.sort_unstable();
        Ok(parts)
    }
}

/// Opens a `single_file` table.
pub(crate) fn open_single(spec: SourceSpec<'_>) -> Result<SourceParts, Vec<Diagnostic>> {
    let range = spec.options.table_range.clone();
    let options = SingleFileOptions::take(spec.options)?;
    let path = options.path.resolve(spec.base_dir, spec.env).map_err(|fault| vec![fault])?;
    // A missing file is a fault of the SQL, told before the pipeline starts.
    let found = fs::metadata(&path).map_err(|error| vec![open_failed("open", &path, &error)])?;
    if found.is_dir() {
        let error = std::io::ErrorKind::IsADirectory.into();
        return Err(vec![open_failed("open", &path, &error)]);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let names = HashMap::from([(String::new(), name.unwrap_or_default())]);
    open_parts((spec.format, spec.json, spec.schema), vec![(String::new(), path)], names, range)
}

/// Opens a `filesystem` table.
pub(crate) fn open_folder(spec: SourceSpec<'_>) -> Result<SourceParts, Vec<Diagnostic>> {
    let range = spec.options.table_range.clone();
    let options = FolderOptions::take(spec.options)?;
    let parts = options.list(spec.base_dir, spec.env).map_err(|fault| vec![fault])?;
    open_parts((spec.format, spec.json, spec.schema), parts, HashMap::new(), range)
}

/// Opens the files of a table; `names` says what those are called that are no part of a folder.
fn open_parts(
    (format, json, schema): (Format, JsonForm, SchemaRef),
    parts: Vec<(String, PathBuf)>,
    names: HashMap<String, String>,
    table: Range<usize>,
) -> Result<SourceParts, Vec<Diagnostic>> {
    let placed = |fault: Diagnostic| fault.at(table.clone());
    let mut files = None;
    let open = |held| {
        let (format, decoder) = FileFormat::open((format, json), held, &parts)
            .map_err(|faults| faults.into_iter().map(placed).collect::<Vec<_>>())?;
        files = Some(format);
        Ok(decoder)
    };
    let decoder = with_metadata("filesystem", format, &schema, names, open)?;
    let source = FileSource::new(files.unwrap_or(FileFormat::Lines), parts);
    Ok(SourceParts { source: Box::new(source), decoder, bounded: true })
}

/// Reads files one after the other.
#[derive(Debug)]
pub(crate) struct FileSource {
    format: FileFormat,
    /// Name and place of each file, in order.
    parts: Vec<(String, PathBuf)>,
    current: usize,
    offset: u64,
    open: Option<Box<dyn PartFile>>,
}

impl FileSource {
    pub(crate) fn new(format: FileFormat, parts: Vec<(String, PathBuf)>) -> Self {
        Self { format, parts, current: 0, offset: 0, open: None }
    }

    fn file(&mut self) -> Result<Option<&mut dyn PartFile>, SourceError> {
        let Some((part, path)) = self.parts.get(self.current) else { return Ok(None) };
        let file = match self.open.take() {
            Some(file) => file,
            None => self.format.file(path, part)?,
        };
        Ok(Some(self.open.insert(file).as_mut()))
    }
}

/// Whether all of a file was read that is no longer there is unknown, so the rest of it may be lost.
fn vanished(part: &str, offset: u64) -> SourceError {
    SourceError {
        kind: ErrorKind::Data,
        message: format!(
            "{part} is gone, but {offset} bytes of it were read before; put the old file back, or start with a new state directory"
        ),
    }
}

#[async_trait]
impl Source for FileSource {
    async fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        (self.current, self.offset, self.open) = (0, 0, None);
        let Some(Position { part, offset }) = position else { return Ok(()) };
        self.current = self.parts.partition_point(|(name, _)| *name < part);
        if self.parts.get(self.current).is_some_and(|(name, _)| *name == part) {
            if let Some(file) = self.file()? {
                self.offset = file.record_start(offset)?;
            }
        } else if offset > 0 {
            return Err(vanished(&part, offset));
        }
        Ok(())
    }

    /// With `until`, a source that reached it says `Empty`, also at the end of the input.
    async fn poll(&mut self, until: Option<&Position>) -> Result<Polled, SourceError> {
        while let Some((part, _)) = self.parts.get(self.current) {
            let limit = match until {
                Some(until) if *part > until.part => return Ok(Polled::Empty),
                Some(until) if *part == until.part => Some(until.offset),
                _ => None,
            };
            let from = self.offset;
            if limit.is_some_and(|limit| from >= limit) {
                return Ok(Polled::Empty);
            }
            let Some(file) = self.file()? else { break };
            if let Some(chunk) = file.chunk(from, limit)? {
                self.offset = chunk.end.offset;
                return Ok(Polled::Chunk(chunk));
            }
            self.current += 1;
            (self.offset, self.open) = (0, None);
        }
        Ok(Polled::Ended)
    }

    async fn ready(&mut self) {
        if self.current >= self.parts.len() {
            pending().await
        }
    }
}

#[cfg(test)]
mod tests;
