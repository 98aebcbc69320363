//! A file that grows at its end and can be cut back to a sealed length.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use postrider_core::{ErrorKind, SinkError};

use crate::{failure::write_failed, limits::SINK_BUFFER_BYTES};

/// An open file and what still has to be written to it.
#[derive(Debug)]
pub(crate) struct AppendFile {
    path: PathBuf,
    file: File,
    /// Length of the file and the buffer.
    len: u64,
    buffer: Vec<u8>,
    /// Whether something was written since the last sync.
    dirty: bool,
}

impl AppendFile {
    /// Opens or creates the file and cuts it to `len` bytes. Creates its folder if need be.
    ///
    /// # Errors
    /// An I/O error, or the file is shorter than `len`: sealed rows are lost.
    pub(crate) fn cut(path: &Path, len: u64) -> Result<Self, SinkError> {
        let failed = |action: &'static str| move |error| write_failed(action, path, &error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("create the folder of"))?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(failed("open"))?;
        let found = file.metadata().map_err(failed("read the length of"))?.len();
        if found < len {
            return Err(SinkError {
                kind: ErrorKind::Data,
                message: format!(
                    "{} has {found} bytes, but {len} were sealed; put the file back, or start with a new state directory",
                    path.display()
                ),
            });
        }
        file.set_len(len).map_err(failed("truncate"))?;
        file.seek(SeekFrom::Start(len)).map_err(failed("write"))?;
        sync_folder(path).map_err(failed("sync the folder of"))?;
        Ok(Self { path: path.to_owned(), file, len, buffer: Vec::new(), dirty: true })
    }

    /// Length, buffered bytes included.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Lets `fill` append to the buffer, and writes the buffer out when it is large.
    pub(crate) fn append(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let before = self.buffer.len();
        fill(&mut self.buffer)?;
        self.len += (self.buffer.len() - before) as u64;
        if self.buffer.len() >= SINK_BUFFER_BYTES { self.write_out() } else { Ok(()) }
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) -> Result<(), SinkError> {
        self.write_out()?;
        if self.dirty {
            self.file.sync_data().map_err(|error| write_failed("sync", &self.path, &error))?;
            self.dirty = false;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), SinkError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(&self.buffer)
            .map_err(|error| write_failed("write", &self.path, &error))?;
        self.buffer.clear();
        self.dirty = true;
        Ok(())
    }
}

/// Makes the name of a new file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
