//! Snapshots in a directory: `<view>/<position>.snap`.

use std::{
    fs::{self, File},
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    process,
};

use super::files::{NewSnapshot, ViewFiles, file_name, place_of};
use crate::{LogError, Lsn, files::create_dir, limits::READ_BYTES};

/// A directory of snapshots, made with the first one.
#[derive(Debug)]
pub(crate) struct DiskViews {
    dir: PathBuf,
}

impl DiskViews {
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Deletes what processes that died left half-written.
    fn clean(dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                ignore_missing(fs::remove_file(path))?;
            }
        }
        Ok(())
    }
}

impl ViewFiles for DiskViews {
    fn list(&self, view: &str) -> io::Result<Vec<Lsn>> {
        let mut places = Vec::new();
        let entries = match fs::read_dir(self.dir.join(view)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(places),
            Err(error) => return Err(error),
        };
        for entry in entries {
            places.extend(entry?.file_name().to_str().and_then(place_of));
        }
        places.sort_unstable();
        Ok(places)
    }

    fn create(&self, view: &str, at: Lsn) -> io::Result<Box<dyn NewSnapshot>> {
        let dir = self.dir.join(view);
        create_dir(&dir).map_err(|error| match error {
            LogError::Files { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        Self::clean(&dir)?;
        // A process that was told to stop may still write while the next one has begun.
        let path = dir.join(format!("{:020}-{}.tmp", at.0, process::id()));
        let file = File::create(&path)?;
        Ok(Box::new(DiskSnapshot { file, path, published: dir.join(file_name(at)) }))
    }

    fn open(&self, view: &str, at: Lsn) -> io::Result<Box<dyn io::Read + Send>> {
        let file = File::open(self.path(view, at))?;
        Ok(Box::new(BufReader::with_capacity(READ_BYTES, file)))
    }

    fn remove(&self, view: &str, at: Lsn) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.path(view, at)))
    }

    fn path(&self, view: &str, at: Lsn) -> PathBuf {
        self.dir.join(view).join(file_name(at))
    }
}

fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

struct DiskSnapshot {
    file: File,
    path: PathBuf,
    published: PathBuf,
}

impl NewSnapshot for DiskSnapshot {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn publish(self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.published)?;
        let dir = self.published.parent().unwrap_or_else(|| Path::new("."));
        File::open(dir)?.sync_all()
    }
}

impl Drop for DiskSnapshot {
    fn drop(&mut self) {
        // Once published it is not there any more; what can't be deleted is deleted by the next one.
        fs::remove_file(&self.path).ok();
    }
}
