//! The right to write to a log's directory: one process has it, and who takes it over fences the one before.
//!
//! A file lock alone can't decide. A process that was stopped (SIGSTOP, a frozen container, a debugger) keeps its lock, so
//! nobody could ever take over; and a lock that were broken by force would leave a *zombie*, which goes on writing once it
//! is resumed. So there are three files, all on a local file system of one kernel:
//!
//! - `LOCK` belongs to the *holder*: it has an flock on it and rewrites a *beat* in it from a thread of its own, five times a
//!   *lease*. The thread stops with the process, and with nothing else: not with a busy runtime, a long recovery, or a slow log.
//! - `OPENING` is flocked by whoever takes the right, until it has opened the log. So at most one process replaces `LOCK`, and only
//!   one at a time does what recovery does to the names of files.
//! - A *fence* is the identity (inode) of the `LOCK` that a process made. Taking the right always makes a new `LOCK` and renames it
//!   over the old one. **A process is fenced if and only if the file named `LOCK` is not its own.** The zombie keeps its file
//!   open, so no later one can have the same inode.
//!
//! Taking the right: 1. flock `OPENING`, or be refused  2. flock `LOCK`: its holder has ended; or see its beat change: it
//! lives, be refused; or see it not change for a whole lease: it is stopped  3. make the new `LOCK`, which fences all earlier
//! processes  4. recover and open the log  5. unlock `OPENING`.
//! The watching process counts its own waits and compares no clocks: what stops both, such as a suspended machine, lets no
//! lease expire. A beat that is late by itself (a disk that hangs) may cost the right, never a frame.
//!
//! The writer looks at the fence before it writes a group, and again between the fsync and telling anybody
//! (`writer.rs`); the mail half looks at it before it begins a send. Why nothing is lost and nothing is mixed, for a zombie `A` and
//! its successor `B`:
//!
//! - *What A promised, B has.* A promises a group only if it saw its own `LOCK` after the fsync. Then B's rename came later,
//!   and B reads the log after its rename.
//! - *What A writes later, nobody reads.* Between its two looks A may be stopped for any time and then write. Recovery puts a copy of the
//!   last segment in place of it (`recovery.rs`), so the file that A still has open has no name by then. If A wrote while B copied,
//!   the copy holds some of it: a torn end, which is cut off, or whole frames, which A never promises: its second look fails.
//! - *A clobbers no file of B.* While it runs, A makes names in one way only: it begins a segment at the end of what it promised,
//!   and fails if that file exists. It begins one only where it has written no frame behind that end; so B's log ends there too,
//!   and B began a segment of that name before it was opened. If A was first, B puts its own in place of it. Whoever comes to
//!   delete segments must keep the newest of each generation, or look at this again. All other changes to names are made in
//!   step 4, under the flock on `OPENING`: a process that is stopped in there is never taken over, and has to be killed.
//! - *A begins no new send.* Its intent is durable first, so B finds it without a result: in doubt, and never repeated where
//!   that could mail twice. Only a process that is stopped in the instant between the look and the socket begins one later.
//!
//! See [ADR 5](../../../docs/adr/0005-takeover-by-lease.md).

mod fence;
mod heartbeat;
mod watch;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

pub(crate) use self::fence::{Fence, Fenced};
use self::{
    heartbeat::{Beat, Heartbeat},
    watch::Before,
};
use crate::{LogError, files::create_dir};

/// Whose flock says that a process has the log.
pub(crate) const LOCK: &str = "LOCK";
/// Whose flock says that a process is about to have it.
const OPENING: &str = "OPENING";

/// The right to write to a directory; given up when dropped, or when the process dies.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    fence: Arc<Fence>,
    heartbeat: Option<Heartbeat>,
    opening: Option<File>,
    /// The stopped process that it was taken from.
    taken_from: Option<String>,
}

impl DirectoryLock {
    /// Takes the right to a directory, which is created if it is missing. `wait` lets time pass.
    pub(crate) fn take(
        dir: &Path,
        lease: Duration,
        wait: impl FnMut(Duration),
    ) -> Result<Self, LogError> {
        create_dir(dir)?;
        let opening = begin(dir)?;
        let before = watch::holder_is_gone(dir, wait)?;
        let beat = Beat::new(lease);
        let fence = Arc::new(replace(dir, &beat)?);
        let path = dir.join(LOCK);
        let heartbeat = Heartbeat::start(Arc::clone(&fence), beat).map_err(at("keep up", &path))?;
        let taken_from = match before {
            Before::Stopped(holder) => Some(holder),
            Before::Nobody | Before::Ended(_) => None,
        };
        Ok(Self { fence, heartbeat: Some(heartbeat), opening: Some(opening), taken_from })
    }

    /// Tells whether this process still has the right.
    pub(crate) fn fence(&self) -> Arc<Fence> {
        Arc::clone(&self.fence)
    }

    /// The stopped process that the right was taken from, if it was.
    pub(crate) fn taken_from(&self) -> Option<&str> {
        self.taken_from.as_deref()
    }

    /// The log is open: from now on another process may take it over.
    pub(crate) fn opened(&mut self) {
        self.opening = None;
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        drop(self.heartbeat.take());
        self.fence.release();
    }
}

/// Keeps others from taking the right at the same time.
fn begin(dir: &Path) -> Result<File, LogError> {
    let path = dir.join(OPENING);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(at("open", &path))?;
    if !try_flock(&file).map_err(at("lock", &path))? {
        let holder = format!(
            "{}, which is opening it (if that one is stopped, kill it: it can't be taken over yet)",
            holder(&path)
        );
        return Err(LogError::Locked { dir: dir.to_owned(), holder });
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "process {}", process::id()))
        .map_err(at("write", &path))?;
    Ok(file)
}

/// Makes a lock file of this process's own and puts it in place of the one before, which fences whoever had that. Its
/// name need not survive a crash: then nobody is left to be fenced.
fn replace(dir: &Path, beat: &Beat) -> Result<Fence, LogError> {
    let (path, new) = (dir.join(LOCK), dir.join("LOCK.new"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let mut file = options.open(&new).map_err(at("create", &new))?;
    let locked = try_flock(&file).map_err(at("lock", &new))?;
    if !locked {
        return Err(LogError::Locked { dir: dir.to_owned(), holder: holder(&new) });
    }
    file.write_all(&beat.text()).map_err(at("write", &new))?;
    let fence = Fence::new(dir.to_owned(), path.clone(), file).map_err(at("look at", &new))?;
    fs::rename(&new, &path).map_err(at("replace", &path))?;
    Ok(fence)
}

/// Whether the flock on a file was free, and is this process's now.
fn try_flock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| LogError::Files { operation, path, source }
}

/// Who made a lock file, as its first line says. The maker may not have come to that yet.
pub(crate) fn holder(path: &Path) -> String {
    holder_in(&fs::read(path).unwrap_or_default())
}

fn holder_in(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => line.to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests;
