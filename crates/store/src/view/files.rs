//! The seam between snapshots and where their bytes are.

use std::{fmt, io, path::PathBuf};

use crate::Lsn;

/// A snapshot that is being written. Dropped without [`publish`](NewSnapshot::publish), it leaves nothing that could be
/// taken for one.
pub trait NewSnapshot: Send {
    /// Adds bytes.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes it durable, then gives it its name, which survives a crash. One of that name is replaced.
    fn publish(self: Box<Self>) -> io::Result<()>;
}

/// The snapshots of all views of one log.
pub trait ViewFiles: Send + Sync + fmt::Debug {
    /// The positions of a view's snapshots, ascending; none of an unknown view.
    fn list(&self, view: &str) -> io::Result<Vec<Lsn>>;
    /// Begins a snapshot.
    fn create(&self, view: &str, at: Lsn) -> io::Result<Box<dyn NewSnapshot>>;
    /// An existing snapshot, to be read from its beginning.
    fn open(&self, view: &str, at: Lsn) -> io::Result<Box<dyn io::Read + Send>>;
    /// Deletes a snapshot; one that is not there is deleted already.
    fn remove(&self, view: &str, at: Lsn) -> io::Result<()>;
    /// What messages call it.
    fn path(&self, view: &str, at: Lsn) -> PathBuf;
}

/// The name of a snapshot's file: names sort as positions do.
pub(super) fn file_name(at: Lsn) -> String {
    format!("{:020}.snap", at.0)
}

/// The position of a snapshot from the name of its file; `None` for other files.
pub(super) fn place_of(file_name: &str) -> Option<Lsn> {
    let digits = file_name.strip_suffix(".snap").filter(|digits| digits.len() == 20)?;
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().map(Lsn)
}
