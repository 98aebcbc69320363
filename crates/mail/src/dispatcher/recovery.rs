//! What a dispatcher does before its first turn: find out where the previous one stopped.

use std::{collections::HashMap, sync::Arc};

use postrider_core::{ClockTime, SendId, SubjectId, WorkspaceId};
use postrider_store::{
    EpochSealed, Frame, FrameKind, IntentRecord, Outbox, ResultRecord, SendEntry, SendOutcome,
    SendState,
};

use super::{
    Dispatcher,
    backlog::{Job, Release},
    fold::outbox_reader,
    retries::backoff_ns,
    turn::Batch,
};
use crate::{
    MailClass, MailError,
    limits::{FOLD_FRAMES, MAX_ATTEMPTS},
};

/// An intent without a result.
struct OpenIntent {
    workspace: WorkspaceId,
    subject: SubjectId,
    trigger: String,
    attempt: u32,
}

/// A send that is tried again.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    /// The row within its epoch and sink.
    row: u32,
    attempt: u32,
    doubtful: bool,
}

/// What the first reading of the log collects beside the outbox.
#[derive(Default)]
struct History {
    open: HashMap<SendId, OpenIntent>,
    /// The clocks of epochs that released rows, by pipeline and epoch.
    clocks: HashMap<(String, u64), i64>,
}

impl Dispatcher {
    /// Reads the log up to its end, records sends that were left open as in doubt, and takes up what is
    /// unfinished.
    pub(super) async fn recover(&mut self) -> Result<(), MailError> {
        let mut history = History::default();
        while let Some(frame) = self.reader.next_frame()? {
            let released = self.outbox.apply(&frame)?;
            history.note(&frame, !released.is_empty())?;
            if frame.sequence.is_multiple_of(FOLD_FRAMES as u64) {
                // A long log must not keep this thread from everybody else.
                tokio::task::yield_now().await;
            }
        }
        self.close_open_intents(&history).await?;
        self.take_up_pending(&history)?;
        self.take_up_repeats(&history)
    }

    /// Every intent that is open now was another dispatcher's, and its result will never come.
    async fn close_open_intents(&mut self, history: &History) -> Result<(), MailError> {
        let mut batch = Batch::default();
        for (send, open) in &history.open {
            self.options.observer.in_doubt(&open.trigger);
            let record = ResultRecord {
                send_id: ResultRecord::send_id(*send),
                attempt: open.attempt,
                outcome: SendOutcome::InDoubt as i32,
                code: 0,
                detail: "the process ended before the provider's answer was recorded".to_owned(),
                at: self.options.wall.now().0,
            };
            batch.push(record.frame(open.workspace, open.subject));
        }
        if !history.open.is_empty() {
            let count = history.open.len();
            tracing::warn!(count, "sends of the previous process are in doubt");
        }
        self.append(batch).await
    }

    /// Rows that nobody decided about.
    fn take_up_pending(&mut self, history: &History) -> Result<(), MailError> {
        let pending: Vec<_> = self
            .outbox
            .pending()
            .map(|pending| (pending.triggers.clone(), pending.undecided))
            .collect();
        let read_at = self.options.wall.now().0;
        for (mut triggers, undecided) in pending {
            let Some(sink) = self.sink_of(&triggers) else { continue };
            // Their latency would measure how long the process was down.
            triggers.moved_at = 0;
            let clock = history.clock(&triggers.pipeline, triggers.epoch.0);
            let release = Release::decode(&triggers, sink, clock, read_at)?;
            self.backlog.push_numbers(release, &undecided);
        }
        Ok(())
    }

    /// Sends that are due for another attempt. Their rows were released long ago, so the log is read
    /// a second time to find them; that happens only if there are any.
    fn take_up_repeats(&mut self, history: &History) -> Result<(), MailError> {
        let mut wanted: HashMap<(String, u64), Vec<Repeat>> = HashMap::new();
        for (send, entry) in self.outbox.sends() {
            if let Some((attempt, doubtful)) =
                self.attempt_to_repeat(&entry, history.open.get(&send))
            {
                let key = (format!("{}.{}", entry.pipeline, entry.sink), entry.epoch.0);
                wanted.entry(key).or_default().push(Repeat {
                    row: entry.row,
                    attempt: attempt + 1,
                    doubtful,
                });
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let end = self.reader.position();
        let mut reader = outbox_reader(&self.options.log);
        let mut outbox = Outbox::default();
        let now = self.options.wall.now();
        while reader.position() < end
            && let Some(frame) = reader.next_frame()?
        {
            for mut triggers in outbox.apply(&frame)?.into_iter().filter(|found| !found.replayed) {
                let name = format!("{}.{}", triggers.pipeline, triggers.sink);
                let Some(rows) = wanted.get(&(name, triggers.epoch.0)) else { continue };
                let Some(sink) = self.sink_of(&triggers) else { continue };
                triggers.moved_at = 0;
                let clock = history.clock(&triggers.pipeline, triggers.epoch.0);
                let release = Arc::new(Release::decode(&triggers, sink, clock, now.0)?);
                for &Repeat { row, attempt, doubtful } in rows {
                    let index = row.checked_sub(triggers.first_row);
                    if let Some(index) = index.filter(|index| *index < triggers.count) {
                        let release = Arc::clone(&release);
                        let job = Job { release, index: index as usize, attempt, doubtful };
                        // As if it had waited since the restart: restarts in a row must not hammer a server that is down.
                        let wait = backoff_ns(job.send_id(), attempt - 1);
                        self.retries.push(ClockTime(now.0.saturating_add(wait)), job);
                    }
                }
            }
        }
        Ok(())
    }

    /// The attempt that another one follows, and whether it may have delivered the mail: after a definite failure always, in
    /// doubt only where the sink asks for at least one mail.
    fn attempt_to_repeat(
        &self,
        entry: &SendEntry<'_>,
        open: Option<&OpenIntent>,
    ) -> Option<(u32, bool)> {
        let name = format!("{}.{}", entry.pipeline, entry.sink);
        let sink = self.options.sinks.get(&name)?;
        let attempt = match (entry.state, open) {
            (SendState::Retry { attempt }, None) => return Some((*attempt, false)),
            (SendState::InDoubt { attempt }, _) => *attempt,
            (_, Some(open)) => open.attempt,
            _ => return None,
        };
        (sink.class == MailClass::Transactional && attempt < MAX_ATTEMPTS)
            .then_some((attempt, true))
    }
}

impl History {
    fn note(&mut self, frame: &Frame, released: bool) -> Result<(), MailError> {
        match frame.kind {
            FrameKind::Intent => {
                let record = IntentRecord::decode(&frame.payload)?;
                let open = OpenIntent {
                    workspace: frame.workspace,
                    subject: frame.subject,
                    trigger: format!("{}.{}", record.row.pipeline, record.row.sink),
                    attempt: record.attempt,
                };
                self.open.insert(record.send(), open);
            }
            FrameKind::SendResult => {
                self.open.remove(&ResultRecord::decode(&frame.payload)?.send());
            }
            FrameKind::EpochSealed if released => {
                let seal = EpochSealed::decode(&frame.payload)?;
                self.clocks.insert((seal.pipeline, seal.epoch), seal.clock);
            }
            _ => {}
        }
        Ok(())
    }

    fn clock(&self, pipeline: &str, epoch: u64) -> i64 {
        self.clocks.get(&(pipeline.to_owned(), epoch)).copied().unwrap_or_default()
    }
}
