//! Which log it is.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    LogError,
    files::{DiskFiles, LogFiles},
    start::LogStart,
};

/// The name of a log: a random number that it gets once, before its first frame, and that no other log has. A position says
/// where in a log something is, and any log that is long enough has that position; this says in which.
///
/// A copy of a directory has the same one: to go on with both is not what this can find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LogIdentity(pub u128);

impl LogIdentity {
    /// The identity of the log in a directory; `None` if there is no log, or if it was not opened since logs have one. Reads one
    /// small file.
    ///
    /// # Errors
    /// When that file can't be read.
    pub fn of_directory(dir: &Path) -> Result<Option<Self>, LogError> {
        Ok(LogStart::read(&DiskFiles::new(dir.to_owned()))?.identity)
    }

    /// Gives a log its identity, durably, unless it has one or gets none.
    pub(crate) fn establish(
        files: &dyn LogFiles,
        new: Option<Self>,
    ) -> Result<Option<Self>, LogError> {
        let start = LogStart::read(files)?;
        if start.identity.is_some() || new.is_none() {
            return Ok(start.identity);
        }
        LogStart { identity: new, ..start }.write(files)?;
        Ok(new)
    }
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<LogIdentity> for String {
    fn from(identity: LogIdentity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for LogIdentity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = u128::from_str_radix(&text, 16).map(Self);
        match number {
            // Only what is written here: no sign, no capitals, all digits.
            Ok(identity) if identity.to_string() == text => Ok(identity),
            _ => Err(format!("`{text}` is not the identity of a log")),
        }
    }
}
