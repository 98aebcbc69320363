//! Messages as files.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use postrider_core::Clock;

/// One accepted message.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) data: Vec<u8>,
}

/// Writes messages into a directory.
#[derive(Debug)]
pub(super) struct MessageStore {
    dir: PathBuf,
    wall: Arc<dyn Clock>,
    number: AtomicU64,
}

impl MessageStore {
    pub(super) fn new(dir: PathBuf, wall: Arc<dyn Clock>) -> Self {
        Self { dir, wall, number: AtomicU64::new(0) }
    }

    /// Writes one message under its final name.
    pub(super) async fn keep(self: Arc<Self>, message: Received) -> io::Result<()> {
        let written = tokio::task::spawn_blocking(move || self.write(&message)).await;
        written.map_err(io::Error::other)?
    }

    fn write(&self, message: &Received) -> io::Result<()> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:019}-{number:06}.eml", self.wall.now().0);
        let temporary = self.dir.join(format!(".{name}.tmp"));
        let mut bytes = Vec::with_capacity(message.data.len() + 256);
        write!(bytes, "X-Envelope-From: <{}>\r\n", message.from)?;
        for recipient in &message.to {
            write!(bytes, "X-Envelope-To: <{recipient}>\r\n")?;
        }
        bytes.extend_from_slice(&message.data);
        std::fs::write(&temporary, bytes)?;
        std::fs::rename(temporary, self.dir.join(name))
    }
}
