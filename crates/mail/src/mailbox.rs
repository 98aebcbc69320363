//! A catch-all mailbox: an SMTP server that accepts every message and keeps it as a file.
//!
//! Owns: the server that the demo and tests send to. Every accepted message is one `.eml` file, so that a duplicate is seen.
//!
//! Invariants: the file has its final name before the client reads the 250; a client never makes the server keep
//! more than one message in memory; lines end with CRLF only, so that no message can be smuggled into another
//! (CVE-2023-51764 and others).
//!
//! Files are not fsynced: a mailbox proves what was accepted while the machine runs, not after it lost power.

mod session;
mod store;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use postrider_core::Clock;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::store::MessageStore;
use crate::{
    MailError,
    limits::{ACCEPT_PAUSE, MAILBOX_CONNECTIONS},
};

/// A bound mailbox.
#[derive(Debug)]
pub struct Mailbox {
    listener: TcpListener,
    local_addr: SocketAddr,
    store: Arc<MessageStore>,
}

impl Mailbox {
    /// Binds a server that keeps its messages in `dir`, as `{receive time in ns}-{number}.eml` with the
    /// envelope in two header lines on top. The directory is created.
    ///
    /// # Errors
    /// The address is taken or the directory can't be made.
    pub async fn bind(
        address: SocketAddr,
        dir: impl Into<PathBuf>,
        wall: Arc<dyn Clock>,
    ) -> Result<Self, MailError> {
        let dir = dir.into();
        let failed =
            |action, target: String| move |source| MailError::Io { action, target, source };
        tokio::fs::create_dir_all(&dir)
            .await
            .map_err(failed("create", dir.display().to_string()))?;
        let listener =
            TcpListener::bind(address).await.map_err(failed("listen on", address.to_string()))?;
        let local_addr = listener.local_addr().map_err(failed("listen on", address.to_string()))?;
        Ok(Self { listener, local_addr, store: Arc::new(MessageStore::new(dir, wall)) })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stop`. Connections that are open then are cut.
    ///
    /// # Errors
    /// None so far; a client's fault ends its own connection only.
    pub async fn run(self, stop: CancellationToken) -> Result<(), MailError> {
        let permits = Arc::new(Semaphore::new(MAILBOX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // A permit first: what can't be served yet waits in the kernel's queue.
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&permits).acquire_owned() => permit,
                Some(_) = connections.join_next() => continue,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            // A failed accept is the client's (it went away) or passes (too many open files).
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let store = Arc::clone(&self.store);
            connections.spawn(async move {
                // The end of one connection, good or bad, is nobody else's business.
                drop(session::serve(stream, peer.ip(), store).await);
                drop(permit);
            });
        }
        connections.shutdown().await;
        Ok(())
    }
}
