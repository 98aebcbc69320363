//! Checkpoints in a directory of this machine.
//!
//! Why a power loss leaves a whole checkpoint: the object store writes and fsyncs an object under another name (`<name>#<number>`),
//! links it to its own, which fails if there is one, and fsyncs the directories. So what has a name has all its bytes; and a
//! manifest is begun once the files that it refers to have their names durably. What a crash leaves of a checkpoint is
//! therefore: some of its state files; all of them and a half-written manifest under another name, which is deleted at the next start;
//! or all of it. Only the last is a checkpoint, and in front of it the one before is the newest.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use object_store::{ObjectStore, local::LocalFileSystem};

use super::CheckpointError;
use crate::{LogError, files::create_dir};

/// Opens a directory as an object store, and creates it if it is missing. What is written there is
/// fsynced, together with the names of files and directories, before the write returns.
///
/// The directory belongs to one process at a time: files that a dead one left half written are deleted.
///
/// # Errors
/// [`CheckpointError::Directory`] when the directory can't be created or read.
pub fn local_checkpoints(dir: &Path) -> Result<Arc<dyn ObjectStore>, CheckpointError> {
    create_dir(dir).map_err(CheckpointError::Directory)?;
    for file in half_written(dir).map_err(at("list", dir))? {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("delete", &file)(error));
            }
            _ => {}
        }
    }
    open(dir)
}

/// Opens a directory that may belong to another process: nothing is created or deleted here. `None` if it is not there.
///
/// # Errors
/// [`CheckpointError::Directory`] when the directory can't be read.
pub fn existing_checkpoints(dir: &Path) -> Result<Option<Arc<dyn ObjectStore>>, CheckpointError> {
    match dir.try_exists() {
        Ok(true) => Ok(Some(open(dir)?)),
        Ok(false) => Ok(None),
        Err(error) => Err(at("read", dir)(error)),
    }
}

fn open(dir: &Path) -> Result<Arc<dyn ObjectStore>, CheckpointError> {
    let store = LocalFileSystem::new_with_prefix(dir)
        .map_err(|error| at("open", dir)(io::Error::other(error)))?;
    Ok(Arc::new(store.with_fsync(true)))
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Directory(LogError::Files { operation, path, source })
}

/// The files in `<pipeline>/<folder>/` that were never finished.
fn half_written(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pipeline in directories(dir)? {
        for folder in directories(&pipeline)? {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(is_half_written) {
                    found.push(entry.path());
                }
            }
        }
    }
    Ok(found)
}

fn directories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The object store writes to `<name>#<number>` first; no object has such a name.
fn is_half_written(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
