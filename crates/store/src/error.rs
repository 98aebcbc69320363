//! Why the log or a record could not be used.

use std::{io, path::PathBuf, sync::Arc};

use postrider_core::ErrorKind;

use crate::Lsn;

/// Why an operation on the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has the log.
    #[error(
        "the log in {dir} is in use by {holder}; stop that process, or give this one a state directory of its own",
        dir = dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who has it, as far as its lock file says.
        holder: String,
    },
    /// Another process took over the log while this one was stopped, or too slow to renew its lease.
    #[error(
        "the log in {dir} was taken over by {holder} while this process was stopped or gave no sign of life; this process has \
         appended nothing since and begins no send; it ends, and the other one goes on. If both were meant to run, \
         give each a state directory of its own",
        dir = dir.display()
    )]
    Fenced {
        /// The directory.
        dir: PathBuf,
        /// Who has it now, as far as its lock file says.
        holder: String,
    },
    /// There is no room on the disk. Nothing of the batch was stored, and the log goes on once there is.
    #[error(
        "there is no room on the disk for {path}: nothing of this was stored; free some, and try again: the log goes on by itself",
        path = path.display()
    )]
    DiskFull {
        /// The segment file.
        path: PathBuf,
    },
    /// The operating system refused something while the log was opened or read.
    #[error("can't {operation} {path}: {source}; check the directory, its permissions and the disk", path = path.display())]
    Files {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Bytes are not what was written, and a later group or segment follows, so they can't be an unfinished end.
    #[error(
        "the log is damaged at byte {offset} of {path} (position {at}): {reason}; restore the file from a copy, \
         or see what giving up everything from there on would cost: postrider log repair {dir}",
        dir = path.parent().unwrap_or(path).display(),
        path = path.display()
    )]
    Damaged {
        /// The place in the log.
        at: Lsn,
        /// The segment file.
        path: PathBuf,
        /// The place in that file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A place in the log was deleted, since every checkpoint and snapshot was behind it.
    #[error(
        "position {at} of the log was deleted: the log begins at {start} now; begin at a checkpoint or snapshot behind that"
    )]
    Truncated {
        /// The place.
        at: Lsn,
        /// Where the log begins.
        start: Lsn,
    },
    /// The first segments are gone, and not because they were not needed any more.
    #[error(
        "the beginning of the log is missing: it has to begin at position {start}, but {found}; restore the .log files from \
         a copy, together with {path}",
        path = path.display()
    )]
    BeginningMissing {
        /// Where it has to begin.
        start: Lsn,
        /// Where it does.
        found: String,
        /// The file that says where the log begins.
        path: PathBuf,
    },
    /// The file that says which log it is and where it begins can't be read.
    #[error(
        "{path} says which log this is and where it begins, and can't be used: {reason}; restore it from a copy of the directory",
        path = path.display()
    )]
    StartUnreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later version of Postrider wrote to this log.
    #[error(
        "byte {offset} of {path} was written by a later version of Postrider ({reason}); use that version or a later one",
        path = path.display()
    )]
    TooNew {
        /// The segment file.
        path: PathBuf,
        /// The place in that file.
        offset: u64,
        /// What is not known here.
        reason: String,
    },
    /// A batch can't be taken because of its size.
    #[error("a {what} of {bytes} bytes is over the log's limit of {limit}; split it")]
    TooLarge {
        /// `frame` or `batch`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A write or fsync failed. Nothing can be appended any more in this process.
    #[error(
        "the log stopped for good: {reason}; free or repair the disk, then restart Postrider, which recovers by itself"
    )]
    Dead {
        /// What failed.
        reason: Arc<str>,
    },
    /// The log was closed in this process.
    #[error("the log is closed because Postrider is stopping; try again after its restart")]
    Closed,
}

impl LogError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } | Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Files { .. } | Self::TooNew { .. } | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Damaged { .. }
            | Self::Dead { .. }
            | Self::Truncated { .. }
            | Self::BeginningMissing { .. }
            | Self::StartUnreadable { .. } => ErrorKind::Data,
            Self::DiskFull { .. } | Self::Closed => ErrorKind::Retry,
        }
    }
}

/// Why the payload of a frame could not be read, or contradicts the frames before it.
#[derive(Debug, thiserror::Error)]
#[error("{record}{place} can't be used: {reason}; report it together with the log", place = self.place())]
pub struct RecordError {
    /// The record, such as `IntentRecord`.
    pub record: &'static str,
    /// The frame, if it is known.
    pub at: Option<Lsn>,
    /// What is wrong.
    pub reason: String,
}

impl RecordError {
    pub(crate) const fn new(record: &'static str, reason: String) -> Self {
        Self { record, at: None, reason }
    }

    /// Adds the frame.
    #[must_use]
    pub const fn at(mut self, at: Lsn) -> Self {
        self.at = Some(at);
        self
    }

    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Data
    }

    fn place(&self) -> String {
        self.at.map(|at| format!(" at position {at} of the log")).unwrap_or_default()
    }
}
