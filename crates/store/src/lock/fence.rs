//! Telling whether this process still has the log.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::{FlockOperation, flock};

use super::holder;

/// The lock file of one process, compared with the one that has the name now.
pub(crate) struct Fence {
    dir: PathBuf,
    path: PathBuf,
    /// Open for as long as anybody may ask, so that no other file gets this inode.
    file: File,
    identity: (u64, u64),
    released: AtomicBool,
    on_loss: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Why a process has lost the log.
#[derive(Debug)]
pub(crate) enum Fenced {
    /// Another process has taken it over.
    By {
        /// The directory.
        dir: PathBuf,
        /// Who, as far as it can be told.
        holder: String,
    },
    /// It was given up.
    Released,
    /// Nobody can tell.
    Unknown(io::Error),
}

impl Fence {
    /// The fence of who made this lock file, which gets the name `path`.
    pub(super) fn new(dir: PathBuf, path: PathBuf, file: File) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        let (released, on_loss) = (AtomicBool::new(false), OnceLock::new());
        Ok(Self { dir, path, file, identity, released, on_loss })
    }

    /// Whether this process still has the log. One system call.
    pub(crate) fn check(&self) -> Result<(), Fenced> {
        if self.released.load(Ordering::Acquire) {
            return Err(Fenced::Released);
        }
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => Ok(()),
            Ok(_) => Err(Fenced::By { dir: self.dir.clone(), holder: holder(&self.path) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let holder = "whoever removed its file LOCK".to_owned();
                Err(Fenced::By { dir: self.dir.clone(), holder })
            }
            Err(error) => Err(Fenced::Unknown(error)),
        }
    }

    /// Calls this, from the thread of the heartbeat, once the log is lost.
    pub(crate) fn on_loss(&self, call: impl Fn() + Send + Sync + 'static) {
        // A log sets it once, when it is opened.
        self.on_loss.set(Box::new(call)).ok();
    }

    pub(super) fn lost(&self) {
        if let Some(call) = self.on_loss.get() {
            call();
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Lets another process have the log. From now on nothing passes.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Release);
        // If it fails, the lock goes with the last handle to this log.
        flock(&self.file, FlockOperation::Unlock).ok();
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("path", &self.path).finish_non_exhaustive()
    }
}
