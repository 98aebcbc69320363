//! Why a checkpoint could not be written, read or collected.

use std::error::Error;

use postrider_core::ErrorKind;

use crate::{LogError, LogIdentity};

/// Why an operation on the checkpoint store failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The object store refused something, or can't be reached. Whether a write took place is unknown;
    /// it may be tried again.
    #[error(
        "can't {operation} {path} in the checkpoint store: {}; {}",
        whole(source),
        advice(source)
    )]
    Store {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which object or folder.
        path: String,
        /// What the object store said.
        source: object_store::Error,
    },
    /// An object is not what was written, or is gone.
    #[error(
        "{path} in the checkpoint store is damaged: {reason}; restore the object from a copy, or go on from \
         the checkpoint before it"
    )]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object store overwrites where it was told to create, so two processes could not be kept apart.
    #[error(
        "the checkpoint store {store} does not honour put-if-absent: {reason}; use a store that does, such \
         as a local directory, S3, Google Cloud Storage or Azure, and leave conditional puts on"
    )]
    NoConditionalPut {
        /// The object store, as it calls itself.
        store: String,
        /// What it did.
        reason: String,
    },
    /// Another process goes on with the pipeline.
    #[error(
        "another process took over the checkpoints of pipeline `{pipeline}`: {reason}; stop this process"
    )]
    Fenced {
        /// The pipeline.
        pipeline: String,
        /// How it was noticed.
        reason: String,
    },
    /// The checkpoints are ahead of this process's log: that of another process, or of a lost disk.
    #[error(
        "the checkpoints of pipeline `{pipeline}` were written by generation {theirs} of its log, and this log is only at \
         generation {ours}. If a process with another state directory still runs, stop one of the two. If the state \
         directory was lost, what that log held behind its newest checkpoint is lost too, and mails would go out a second time: \
         bring the directory back, or decide to start anew with checkpoints at another place, such as a new prefix for \
         --checkpoints"
    )]
    OtherLog {
        /// The pipeline.
        pipeline: String,
        /// The generation that wrote the newest checkpoint.
        theirs: u64,
        /// The generation of this process.
        ours: u64,
    },
    /// A checkpoint was taken of another log than the one that it was to be restored on.
    #[error(
        "{checkpoint} of pipeline `{pipeline}` was taken of log {theirs}, and this is log {ours}: a checkpoint says where to go on \
         in its own log, and means nothing in another. Give the --state-dir of that log. If that state directory was lost, what \
         its log held behind its newest checkpoint is lost too, and mails would go out a second time: bring the directory back, or \
         decide to start anew from what this log has, with checkpoints at another place, such as a new prefix for --checkpoints, \
         or with the `checkpoints` in the state directory moved away"
    )]
    ForeignLog {
        /// The pipeline.
        pipeline: String,
        /// What people know the checkpoint by, such as `checkpoint 7`.
        checkpoint: String,
        /// The log that it was taken of.
        theirs: LogIdentity,
        /// The log of this process.
        ours: LogIdentity,
    },
    /// A checkpoint without the position of one of the pipeline's sources; a restart from it would read
    /// that source again from its beginning.
    #[error(
        "a checkpoint of pipeline `{pipeline}` lacks the position of source `{table}`; report this as a fault of Postrider"
    )]
    MissingSource {
        /// The pipeline.
        pipeline: String,
        /// The source's table.
        table: String,
    },
    /// A checkpoint that contradicts itself was to be written.
    #[error("a checkpoint can't be written: {reason}; report this as a fault of Postrider")]
    Inconsistent {
        /// What is wrong with it.
        reason: String,
    },
    /// A later version of Postrider wrote the manifest.
    #[error(
        "{path} in the checkpoint store was written by a later version of Postrider (format {format}, this \
         version reads up to {known}); use that version or a later one"
    )]
    TooNew {
        /// The manifest.
        path: String,
        /// Its format.
        format: u32,
        /// The last format that is known here.
        known: u32,
    },
    /// The checkpoint is intact, and does not fit what it is to be restored into.
    #[error("checkpoint {id} can't be restored here: {reason}; the one before it is tried")]
    Unfit {
        /// The manifest's id.
        id: u64,
        /// What does not fit.
        reason: String,
    },
    /// A savepoint can't be made or is not there.
    #[error("savepoint `{name}` of pipeline `{pipeline}`: {reason}")]
    Savepoint {
        /// The pipeline.
        pipeline: String,
        /// The name.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Others committed every time.
    #[error(
        "other processes write checkpoints of pipeline `{pipeline}` faster than this one ({tried} ids were \
         taken); stop them, the next checkpoint is tried on its own"
    )]
    Contended {
        /// The pipeline.
        pipeline: String,
        /// How many ids were taken.
        tried: u64,
    },
    /// The directory for local checkpoints can't be used.
    #[error(transparent)]
    Directory(LogError),
}

impl CheckpointError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { source, .. } => store_kind(source),
            Self::NoConditionalPut { .. } | Self::TooNew { .. } | Self::Savepoint { .. } => {
                ErrorKind::Invalid
            }
            Self::Damaged { .. } | Self::Unfit { .. } => ErrorKind::Data,
            Self::Fenced { .. } | Self::OtherLog { .. } | Self::ForeignLog { .. } => {
                ErrorKind::Fenced
            }
            Self::MissingSource { .. } | Self::Inconsistent { .. } => ErrorKind::Bug,
            Self::Contended { .. } => ErrorKind::Retry,
            Self::Directory(error) => error.kind(),
        }
    }
}

/// The error with its causes, as far as it does not say them itself: a client only says that a request failed, not that nobody
/// listens there, or that a certificate is not trusted.
fn whole(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// What a person can do about it.
const fn advice(error: &object_store::Error) -> &'static str {
    match error {
        object_store::Error::NotFound { .. } => {
            "the bucket or container is not there: create it, or correct its name and the endpoint"
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => {
            "check the credentials, and that they may list, read, write and delete there"
        }
        _ => {
            "check that the store can be reached, and that Postrider may list, read, write and delete there"
        }
    }
}

/// Refusals that only new settings can change are told from what may pass.
const fn store_kind(error: &object_store::Error) -> ErrorKind {
    match error {
        object_store::Error::NotFound { .. }
        | object_store::Error::InvalidPath { .. }
        | object_store::Error::NotSupported { .. }
        | object_store::Error::NotImplemented { .. }
        | object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. }
        | object_store::Error::UnknownConfigurationKey { .. } => ErrorKind::Invalid,
        _ => ErrorKind::Retry,
    }
}
