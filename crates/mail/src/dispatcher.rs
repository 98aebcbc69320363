//! The dispatcher: follows the log, decides about every sealed trigger row, and has it sent.
//!
//! Nouns: *job* (one send on its way: a row, its sink, an attempt number), *backlog* (released rows that nobody
//! has decided about), *in flight* (an intent was appended and its result was not).
//!
//! Invariants:
//! - An intent is durable before its provider is called, and the log is still this process's.
//! - At most `max_in_flight` intents are without a result, so that is how many sends a crash leaves in doubt.
//! - A send in doubt is tried again only by a transactional sink, and only an accepted attempt ends the doubt.
//! - A send that certainly was not delivered is tried again until it expires.
//! - It is the only writer of decisions, intents and results.
//!
//! Flow of one turn: 1. fold new frames of the log  2. take results of attempts  3. decide about rows, as many as there
//! are free places  4. append all of it in one batch  5. start the attempts, which wait for that batch to be durable.

mod attempt;
mod backlog;
mod fold;
mod recovery;
mod retries;
mod snapshots;
mod turn;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use postrider_core::{Clock, ClockTime, SendId};
use postrider_store::{DurableEnd, Log, LogReader, Lsn, Outbox, ViewError};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use self::{
    attempt::{Durable, Finished},
    backlog::Backlog,
    retries::Retries,
    snapshots::{Request, Snapshots},
    turn::Batch,
};
use crate::{
    EmailSink, MailError, Provider,
    limits::{SETTLE_REQUESTS, STOP_GRACE},
};

/// What became of one attempt, for metrics. It names no person.
#[derive(Debug, Clone, Copy)]
pub struct SendFacts<'a> {
    /// `pipeline.sink`.
    pub trigger: &'a str,
    /// The number of the attempt; the first is 1.
    pub attempt: u32,
    /// When the event or tick that moved the watermark came in (wall clock, ns); 0 if none did.
    pub moved_at: i64,
    /// When the dispatcher read the sealed row (wall clock, ns).
    pub read_at: i64,
    /// When the provider had answered (wall clock, ns).
    pub answered_at: i64,
}

/// Is told what happens; must not block.
pub trait MailObserver: Send + Sync {
    /// A provider took a message over.
    fn accepted(&self, _facts: &SendFacts<'_>) {}
    /// A provider refused a message for good.
    fn rejected(&self, _facts: &SendFacts<'_>) {}
    /// An attempt failed and another one will follow.
    fn retried(&self, _facts: &SendFacts<'_>) {}
    /// Nobody knows what became of an attempt. After a restart this is said once for each send that
    /// the previous process left behind.
    fn in_doubt(&self, _trigger: &str) {}
    /// A row was not sent.
    fn not_sent(&self, _trigger: &str, _reason: &str) {}
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl MailObserver for NoObserver {}

/// What a dispatcher works with.
pub struct DispatcherOptions {
    /// The log.
    pub log: Log,
    /// The sinks of this process, by `pipeline.sink`. Rows of other sinks stay pending.
    pub sinks: HashMap<String, Arc<EmailSink>>,
    /// The providers, by name.
    pub providers: HashMap<String, Arc<dyn Provider>>,
    /// The time, for results and waiting.
    pub wall: Arc<dyn Clock>,
    /// The clock that pipelines run by, for expiry.
    pub epoch_clock: Arc<dyn Clock>,
    /// How many sends may be on their way at once: about twice the connections of the providers.
    pub max_in_flight: usize,
    /// Bytes of the log after which the outbox is written down again: [`crate::SNAPSHOT_LOG_BYTES`] but for tests.
    pub snapshot_log_bytes: u64,
    /// Is told what happens.
    pub observer: Arc<dyn MailObserver>,
}

impl fmt::Debug for DispatcherOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherOptions")
            .field("sinks", &self.sinks.keys())
            .field("providers", &self.providers.keys())
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}

/// Decides and sends. One runs on a log at a time.
pub struct Dispatcher {
    options: DispatcherOptions,
    reader: LogReader,
    outbox: Outbox,
    /// Sends that were claimed by this process and whose frame was not read back yet.
    claimed: HashSet<SendId>,
    backlog: Backlog,
    retries: Retries,
    flying: JoinSet<Finished>,
    /// Attempts that ended and whose results were not appended yet.
    landed: Vec<Result<Finished, JoinError>>,
    /// The newest batch of the dispatcher's own.
    newest: Option<Durable>,
    settles: mpsc::Receiver<Settle>,
    waiting: Vec<Settle>,
    snapshots: Snapshots,
    handle: DispatcherHandle,
    /// Sinks that rows came for and that this process does not have.
    foreign: HashSet<String>,
}

struct Settle {
    end: Lsn,
    done: oneshot::Sender<()>,
}

/// Asks a running dispatcher.
#[derive(Debug, Clone)]
pub struct DispatcherHandle {
    log: Log,
    settles: mpsc::Sender<Settle>,
    snapshots: mpsc::Sender<Request>,
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").field("end", &self.end).finish_non_exhaustive()
    }
}

impl DispatcherHandle {
    /// Waits until every row of this process's sinks that is sealed by now is decided, and each attempt that this led to
    /// has a durable result. A send that waits for another attempt counts as settled.
    ///
    /// Returns `false` if the dispatcher has ended.
    pub async fn settle(&self) -> bool {
        let end = *self.log.durable().borrow();
        let (done, settled) = oneshot::channel();
        self.settles.send(Settle { end, done }).await.is_ok() && settled.await.is_ok()
    }

    /// Has a snapshot of the outbox written, and waits for it: the next start reads only the log behind it. Sends go on
    /// meanwhile. Snapshots are written without being asked for too, as the log grows.
    ///
    /// Returns where the snapshot is, or `None` if the dispatcher has ended.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn snapshot(&self) -> Result<Option<Lsn>, ViewError> {
        let (done, written) = oneshot::channel();
        if self.snapshots.send(done).await.is_err() {
            return Ok(None);
        }
        written.await.ok().transpose()
    }
}

impl Dispatcher {
    /// A dispatcher that has read nothing yet.
    ///
    /// # Errors
    /// A sink names a provider that is not there, or nothing may be in flight.
    pub fn new(options: DispatcherOptions) -> Result<Self, MailError> {
        if options.max_in_flight == 0 {
            return Err(MailError::Invalid("max_in_flight must be at least 1".to_owned()));
        }
        for (trigger, sink) in &options.sinks {
            if !options.providers.contains_key(sink.provider()) {
                let mut known: Vec<&str> = options.providers.keys().map(String::as_str).collect();
                known.sort_unstable();
                return Err(MailError::Invalid(format!(
                    "email sink `{trigger}` wants provider '{}', which is not set up; there is {}",
                    sink.provider(),
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                )));
            }
        }
        let (sender, settles) = mpsc::channel(SETTLE_REQUESTS);
        let (ask, snapshots) = Snapshots::new(options.snapshot_log_bytes);
        let log = options.log.clone();
        Ok(Self {
            reader: fold::outbox_reader(&log),
            outbox: Outbox::default(),
            claimed: HashSet::new(),
            backlog: Backlog::default(),
            retries: Retries::default(),
            flying: JoinSet::new(),
            landed: Vec::new(),
            newest: None,
            settles,
            waiting: Vec::new(),
            snapshots,
            handle: DispatcherHandle { log, settles: sender, snapshots: ask },
            foreign: HashSet::new(),
            options,
        })
    }

    /// A handle to it.
    pub fn handle(&self) -> DispatcherHandle {
        self.handle.clone()
    }

    /// Works until `stop`, then waits for the attempts under way.
    ///
    /// # Errors
    /// The log failed, or holds what can't be.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), MailError> {
        self.recover().await?;
        let mut durable = self.options.log.durable();
        while !stop.is_cancelled() {
            durable.borrow_and_update();
            self.snapshots.write(&self.outbox, &self.reader);
            if self.turn().await? {
                // Others on this thread get their turn however much there is to do.
                tokio::task::yield_now().await;
                continue;
            }
            self.answer_settles().await?;
            self.wait(&mut durable, &stop).await?;
        }
        self.wind_down().await
    }

    /// Waits for something to do.
    async fn wait(
        &mut self,
        durable: &mut DurableEnd,
        stop: &CancellationToken,
    ) -> Result<(), MailError> {
        // With no free place the timer would only fire again and again.
        let has_room = self.flying.len() < self.options.max_in_flight;
        let next_retry = async {
            match self.retries.next_at().filter(|_| has_room) {
                Some(at) => self.options.wall.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // In this order, not a rolled one: a run can be repeated. Each turn looks at all of it, so nothing waits for ever.
            biased;
            () = stop.cancelled() => {}
            changed = durable.changed() => {
                changed.map_err(|_| MailError::Log(self.options.log.why_ended()))?;
            }
            Some(finished) = self.flying.join_next() => self.landed.push(finished),
            Some(settle) = self.settles.recv(), if self.waiting.len() < SETTLE_REQUESTS => {
                self.waiting.push(settle);
            }
            () = self.snapshots.changed() => {}
            () = next_retry => {}
        }
        Ok(())
    }

    async fn answer_settles(&mut self) -> Result<(), MailError> {
        let busy = !(self.flying.is_empty() && self.landed.is_empty() && self.backlog.is_empty());
        if self.waiting.is_empty() || busy {
            return Ok(());
        }
        self.sync().await?;
        let read = self.reader.position();
        for settle in self.waiting.extract_if(.., |settle| settle.end <= read) {
            // Who asked may have gone away.
            settle.done.send(()).ok();
        }
        Ok(())
    }

    async fn wind_down(&mut self) -> Result<(), MailError> {
        let wall = Arc::clone(&self.options.wall);
        self.append_results().await?;
        let grace = i64::try_from(STOP_GRACE.as_nanos()).unwrap_or(i64::MAX);
        let deadline = ClockTime(wall.now().0.saturating_add(grace));
        let mut timeout = wall.sleep_until(deadline);
        while !self.flying.is_empty() {
            tokio::select! {
                biased;
                Some(finished) = self.flying.join_next() => self.landed.push(finished),
                () = &mut timeout => break,
            }
            self.append_results().await?;
        }
        if !self.flying.is_empty() {
            let count = self.flying.len();
            tracing::warn!(count, "sends were cut off by the stop; they are in doubt");
        }
        self.snapshots.finish().await;
        self.sync().await
    }

    async fn append_results(&mut self) -> Result<(), MailError> {
        let mut batch = Batch::default();
        self.land(&mut batch)?;
        self.append(batch).await
    }

    /// Waits until everything that was appended is durable.
    async fn sync(&mut self) -> Result<(), MailError> {
        let Some(newest) = self.newest.take() else { return Ok(()) };
        newest.await.map_err(|_| MailError::Log(self.options.log.why_ended()))
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("options", &self.options).finish_non_exhaustive()
    }
}
