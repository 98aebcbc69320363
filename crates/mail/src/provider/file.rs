//! Mail as files: one `.eml` an attempt, for development and for handing mail to another program.

use std::{io, path::PathBuf};

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
        std::fs::create_dir_all(&dir).map_err(|source| MailError::Io {
            action: "create",
            target: dir.display().to_string(),
            source,
        })?;
        Ok(Self { name: name.into(), dir })
    }

    /// Writes under another name first, so that whoever watches the directory never sees half a message.
    async fn write(&self, message: &Outgoing) -> io::Result<String> {
        let name = format!("{}-{}.eml", message.send_id, message.attempt);
        let temporary = self.dir.join(format!(".{name}.tmp"));
        tokio::fs::write(&temporary, &message.bytes).await?;
        tokio::fs::rename(&temporary, self.dir.join(&name)).await?;
        Ok(name)
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        match self.write(message).await {
            Ok(name) => Outcome::Accepted { response: format!("written to {name}") },
            // The rename is last, and it fails only if it did nothing.
            Err(error) => Outcome::Retry { after: None, reason: detail(&error.to_string()) },
        }
    }
}
