//! I/O errors in words: what happened, to which file, what to do.

use std::{fmt::Display, io, path::Path};

use postrider_core::{Diagnostic, ErrorKind, SinkError, SourceError};

/// What a person can do about an I/O error.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "check the path; a relative one starts at the folder of the SQL file"
        }
        io::ErrorKind::PermissionDenied => "give the user that runs Postrider access to it",
        io::ErrorKind::StorageFull => {
            "free some space and start again; nothing that was sealed is lost"
        }
        io::ErrorKind::IsADirectory => {
            "it is a folder: name a file, or use connector = 'filesystem'"
        }
        io::ErrorKind::InvalidData => {
            "it is in another format, or damaged: check the file and the option `format`"
        }
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a folder",
        _ => "check the disk and start again",
    }
}

/// The sentence about `error` while doing `action` to `path`.
fn sentence(action: &str, path: &Path, error: &io::Error) -> String {
    format!("can't {action} {}: {error}; {}", path.display(), advice(error))
}

fn kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::InvalidData
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory => ErrorKind::Invalid,
        _ => ErrorKind::Retry,
    }
}

/// A source could not be read.
pub(crate) fn read_failed(action: &str, path: &Path, error: &io::Error) -> SourceError {
    SourceError { kind: kind(error), message: sentence(action, path, error) }
}

/// A sink could not be written.
pub(crate) fn write_failed(action: &str, path: &Path, error: &io::Error) -> SinkError {
    SinkError { kind: kind(error), message: sentence(action, path, error) }
}

/// A table's file could not be opened.
pub(crate) fn open_failed(action: &str, path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error("PR0601", format!("can't {action} {}: {error}", path.display()))
        .hint(advice(error))
}

/// Something that cannot happen did.
pub(crate) fn source_bug(what: impl Display) -> SourceError {
    SourceError { kind: ErrorKind::Bug, message: format!("{what}; please report this") }
}

/// A sink was used before `restore`.
pub(crate) fn not_restored() -> SinkError {
    SinkError {
        kind: ErrorKind::Bug,
        message: "a sink was written before it was restored; please report this".to_owned(),
    }
}
