//! Mail as files: one `.eml` an attempt, for development and for handing mail to another program.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::{Outcome, Provider, detail};
use crate::{MailError, message::Outgoing};

/// Writes each message to `{send_id}-{attempt}.eml` in a directory.
#[derive(Debug)]
pub struct FileProvider {
    name: String,
    dir: PathBuf,
}

impl FileProvider {
    /// A provider that writes into `dir`, which is created.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn new(name: impl Into<String>, dir: impl Into<PathBuf>) -> Result<Self, MailError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|source| MailError::Io {
            action: "create",
            target: dir.display().to_string(),
            source,
        })?;
        Ok(Self { name: name.into(), dir })
    }

    async fn write(&self, message: &Outgoing) -> Outcome {
        let (dir, bytes) = (self.dir.clone(), message.bytes.clone());
        let name = format!("{}-{}.eml", message.send_id, message.attempt);
        tokio::task::spawn_blocking(move || write(&dir, &name, &bytes)).await.unwrap_or_else(
            |error| Outcome::InDoubt {
                reason: detail(&format!("the write was cut short: {error}")),
            },
        )
    }
}

/// Writes under another name first, so that whoever watches the directory never sees half a message. Accepted means
/// that it is still there after a power cut: that takes a sync of the file and one of its name.
fn write(dir: &Path, name: &str, bytes: &[u8]) -> Outcome {
    let temporary = dir.join(format!(".{name}.tmp"));
    let renamed = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, dir.join(name)));
    if let Err(error) = renamed {
        // The rename fails only if it did nothing.
        return Outcome::Retry { after: None, reason: detail(&error.to_string()) };
    }
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Ok(()) => Outcome::Accepted { response: format!("written to {name}") },
        // The file is there, and may be gone after a power cut.
        Err(error) => {
            Outcome::InDoubt { reason: detail(&format!("{name} was not synced: {error}")) }
        }
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        self.write(message).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::write;
    use crate::Outcome;

    #[test]
    fn accepted_is_one_whole_file_and_a_failure_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(write(dir.path(), "a.eml", b"mail"), Outcome::Accepted { .. }));
        assert_eq!(fs::read(dir.path().join("a.eml")).unwrap(), b"mail");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        let gone = dir.path().join("gone");
        assert!(matches!(write(&gone, "a.eml", b"mail"), Outcome::Retry { .. }));
        assert!(!gone.exists());
    }
}
