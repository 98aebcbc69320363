//! Writing the outbox down while the dispatcher goes on, so that the next start need not read the whole log.

use postrider_store::{LogReader, Lsn, Outbox, ViewError};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinHandle},
};

use super::Dispatcher;
use crate::{MailError, limits::SNAPSHOT_REQUESTS};

/// Somebody who wants to know where the next snapshot is.
pub(super) type Request = oneshot::Sender<Result<Lsn, ViewError>>;

/// What a snapshot came to.
#[derive(Debug)]
struct Written {
    at: Lsn,
    /// Its size; 0 if it could not be written.
    bytes: u64,
}

/// When snapshots are written. At most one is at a time.
#[derive(Debug)]
pub(super) struct Snapshots {
    requests: mpsc::Receiver<Request>,
    asked: Vec<Request>,
    /// Bytes of the log after which one is due, if it is not larger.
    log_bytes: u64,
    newest: Written,
    writing: Option<JoinHandle<Written>>,
}

impl Snapshots {
    pub(super) fn new(log_bytes: u64) -> (mpsc::Sender<Request>, Self) {
        let (sender, requests) = mpsc::channel(SNAPSHOT_REQUESTS);
        let newest = Written { at: Lsn::ZERO, bytes: 0 };
        (sender, Self { requests, asked: Vec::new(), log_bytes, newest, writing: None })
    }

    /// This one was found at the start.
    pub(super) fn found(&mut self, at: Lsn) {
        self.newest.at = at;
    }

    /// Waits until there may be something to do for [`Snapshots::write`].
    pub(super) async fn changed(&mut self) {
        let Self { requests, asked, writing, .. } = self;
        let written = async {
            match writing {
                Some(writing) => writing.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = written => self.ended(ended),
            Some(request) = requests.recv(), if asked.len() < SNAPSHOT_REQUESTS => {
                asked.push(request);
            }
        }
    }

    /// Begins a snapshot, if one is asked for or due. The outbox may change while it is written.
    pub(super) fn write(&mut self, outbox: &Outbox, log: &LogReader) {
        while self.asked.len() < SNAPSHOT_REQUESTS
            && let Ok(request) = self.requests.try_recv()
        {
            self.asked.push(request);
        }
        if self.writing.is_some() || (self.asked.is_empty() && !self.is_due(outbox.position())) {
            return;
        }
        let (outbox, views) = (outbox.clone(), log.views());
        let asked = std::mem::take(&mut self.asked);
        self.writing = Some(log.blocking(move || {
            let at = outbox.position();
            let saved = outbox.save(&views);
            let bytes = saved.as_ref().copied().unwrap_or_default();
            report(asked, saved.map(|_| at));
            Written { at, bytes }
        }));
    }

    /// A snapshot is due once the log has grown by what one costs, so that writing them takes at most as much as the log does.
    fn is_due(&self, position: Lsn) -> bool {
        position.0.saturating_sub(self.newest.at.0) >= self.log_bytes.max(self.newest.bytes)
    }

    /// Waits for the one that is being written.
    pub(super) async fn finish(&mut self) {
        if let Some(writing) = self.writing.take() {
            self.ended(writing.await);
        }
    }

    fn ended(&mut self, ended: Result<Written, JoinError>) {
        self.writing = None;
        match ended {
            Ok(written) => self.newest = written,
            Err(error) => tracing::error!(%error, "a snapshot of the outbox failed; report it"),
        }
    }
}

/// Tells those who asked, and the log output if it failed.
fn report(asked: Vec<Request>, saved: Result<Lsn, ViewError>) {
    let mut saved = saved;
    if let Err(error) = &saved {
        tracing::warn!(%error, "the outbox could not be written down; the next start reads more of the log");
    }
    for request in asked {
        let answer = match &saved {
            Ok(at) => Ok(*at),
            // One gets the error itself, the others its words.
            Err(error) => {
                let words = error.to_string();
                std::mem::replace(&mut saved, Err(ViewError::Failed { reason: words }))
            }
        };
        // Who asked may have gone away.
        request.send(answer).ok();
    }
}

impl Dispatcher {
    /// Takes up the newest snapshot; the reader goes on behind it.
    pub(super) async fn restore(&mut self) -> Result<(), MailError> {
        let log = self.reader.beginning_at(self.reader.start());
        let restored = self.reader.blocking(move || Outbox::restore(&log));
        let restored = restored.await.map_err(|error| MailError::Data {
            what: "a snapshot",
            place: "the outbox".to_owned(),
            message: error.to_string(),
        })??;
        for reason in restored.passed_over {
            tracing::warn!(reason, "a snapshot of the outbox was passed over");
        }
        if let Some((outbox, at)) = restored.found {
            self.outbox = outbox;
            self.snapshots.found(at);
            self.reader = self.reader.beginning_at(at).skip_payloads_except(&Outbox::KINDS);
        }
        Ok(())
    }
}
