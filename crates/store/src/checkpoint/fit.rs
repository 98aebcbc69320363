//! Whether a checkpoint belongs to a log, and whether that log has what comes behind it.

use std::fmt;

use super::{CheckpointContents, CheckpointError, CheckpointStore};
use crate::{Log, LogIdentity, LogReader, Lsn};

/// Why a checkpoint is not restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It is passed over, since one before it may fit. Says why, for people.
    Unfit(String),
    /// It was taken of another log. Then those before it don't matter: where it is kept is that log's place.
    OtherLog {
        /// The log that it is of.
        theirs: LogIdentity,
        /// The log that it is to be restored on.
        ours: LogIdentity,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(reason) => f.write_str(reason),
            Self::OtherLog { theirs, ours } => {
                write!(f, "it was taken of log {theirs}, and this is log {ours}")
            }
        }
    }
}

impl From<String> for Misfit {
    fn from(reason: String) -> Self {
        Self::Unfit(reason)
    }
}

/// What a checkpoint has to fit: a log, and the part of it that is there.
#[derive(Debug, Clone, Copy)]
pub struct LogSpan {
    identity: Option<LogIdentity>,
    start: Lsn,
    /// `None`: it is not known, since another process writes.
    end: Option<Lsn>,
}

impl LogSpan {
    /// The log that this process writes.
    pub fn of(log: &Log) -> Self {
        let end = Some(*log.durable().borrow());
        Self { identity: log.identity(), start: log.start(), end }
    }

    /// A log that another process may be writing.
    pub fn of_reader(reader: &LogReader) -> Self {
        Self { identity: reader.identity(), start: reader.start(), end: None }
    }

    /// Whether a checkpoint is of this log, and the log has what comes behind it. One from before logs had an identity is
    /// judged by its position alone, and so is any on a log that has none.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn fits(&self, checkpoint: &CheckpointContents) -> Result<(), Misfit> {
        checkpoint.is_of(self.identity)?;
        let (start, position) = (self.start.0, checkpoint.log_position);
        let ends = match self.end {
            _ if position < start => format!("begins at {start}"),
            Some(end) if position > end.0 => format!("ends at {end}"),
            _ => return Ok(()),
        };
        Err(Misfit::Unfit(format!("it goes on at {position} of the log, which {ends}")))
    }
}

impl CheckpointContents {
    /// Whether it was taken of this log, as far as both are known.
    ///
    /// # Errors
    /// [`Misfit::OtherLog`].
    pub fn is_of(&self, log: Option<LogIdentity>) -> Result<(), Misfit> {
        match (self.log_identity, log) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(Misfit::OtherLog { theirs, ours }),
            _ => Ok(()),
        }
    }
}

impl CheckpointStore {
    /// The error of a checkpoint that does not fit. `name` is what people know it by.
    pub(super) fn misfit(&self, id: u64, name: String, misfit: Misfit) -> CheckpointError {
        match misfit {
            Misfit::Unfit(reason) => CheckpointError::Unfit { id, reason },
            Misfit::OtherLog { theirs, ours } => {
                let pipeline = self.pipeline.clone();
                CheckpointError::ForeignLog { pipeline, checkpoint: name, theirs, ours }
            }
        }
    }
}
