//! Why a view could not be written down or read back.

use std::{io, path::PathBuf};

use postrider_core::ErrorKind;

use crate::{LogError, Lsn, RecordError};

/// Why a snapshot could not be written, or a view not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The operating system refused something.
    #[error("can't {operation} {path}: {source}; check the directory, its permissions and the disk", path = path.display())]
    Files {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A snapshot that can't be used.
    #[error("{path} can't be used: {reason}", path = path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What the log no longer has is in no snapshot.
    #[error(
        "the view `{view}` can't be rebuilt: the log begins at position {start}, what was before was deleted, and no \
         snapshot in {folder} can be used ({why}); restore that folder from a copy, or start anew with another state \
         directory, which knows nothing of earlier sends",
        folder = folder.display()
    )]
    Missing {
        /// The view.
        view: &'static str,
        /// The first position that the log still has.
        start: Lsn,
        /// Where its snapshots are.
        folder: PathBuf,
        /// What is wrong with those that are there.
        why: String,
    },
    /// A chunk would be too large.
    #[error("a chunk of {bytes} bytes is over a snapshot's limit of {limit}; split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The same snapshot failed for somebody else, who has the error.
    #[error("{reason}")]
    Failed {
        /// In words.
        reason: String,
    },
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A frame can't be read or contradicts earlier ones.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl ViewError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Files { .. } | Self::TooLarge { .. } | Self::Failed { .. } => ErrorKind::Invalid,
            Self::Unfit { .. } | Self::Missing { .. } => ErrorKind::Data,
            Self::Log(error) => error.kind(),
            Self::Record(error) => error.kind(),
        }
    }
}
