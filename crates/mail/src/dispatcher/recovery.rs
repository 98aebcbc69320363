//! What a dispatcher does before its first turn: find out where the previous one stopped.

use std::{collections::HashMap, sync::Arc};

use postrider_core::ClockTime;
use postrider_store::{ResultRecord, SealedTriggers, SendEntry, SendOutcome, SendState};

use super::{
    Dispatcher,
    backlog::{Job, Release},
    retries::backoff_ns,
    turn::Batch,
};
use crate::{
    MailClass, MailError,
    limits::{FOLD_FRAMES, MAX_ATTEMPTS},
};

/// A send that is tried again.
#[derive(Debug)]
struct Repeat {
    /// The rows that its row was sealed with.
    triggers: SealedTriggers,
    /// The row within its epoch and sink.
    row: u32,
    attempt: u32,
    doubtful: bool,
}

impl Dispatcher {
    /// Takes up the newest snapshot, reads the log from there to its end, records sends that were left open as in doubt, and takes up what is
    /// unfinished.
    pub(super) async fn recover(&mut self) -> Result<(), MailError> {
        self.restore().await?;
        while let Some(frame) = self.reader.next_frame()? {
            self.outbox.apply(&frame)?;
            if frame.sequence.is_multiple_of(FOLD_FRAMES as u64) {
                // A long log must not keep this thread from everybody else.
                tokio::task::yield_now().await;
            }
        }
        self.close_open_intents().await?;
        self.take_up_pending()?;
        self.take_up_repeats()
    }

    /// Every intent that is open now was another dispatcher's, and its result will never come.
    async fn close_open_intents(&mut self) -> Result<(), MailError> {
        let mut batch = Batch::default();
        let mut count = 0_u64;
        let mut unanswered: Vec<_> = self.outbox.unanswered().collect();
        // The same log is followed by the same frames.
        unanswered.sort_unstable_by_key(|(send, _, _)| *send);
        for (send, subject, entry) in unanswered {
            let (SendState::Intended { attempt, .. } | SendState::InDoubt { attempt }) =
                entry.state
            else {
                continue;
            };
            count += 1;
            self.options.observer.in_doubt(&format!("{}.{}", entry.pipeline, entry.sink));
            let record = ResultRecord {
                send_id: ResultRecord::send_id(send),
                attempt: *attempt,
                outcome: SendOutcome::InDoubt as i32,
                code: 0,
                detail: "the process ended before the provider's answer was recorded".to_owned(),
                at: self.options.wall.now().0,
            };
            batch.push(record.frame(entry.workspace, subject));
        }
        if count > 0 {
            tracing::warn!(count, "sends of the previous process are in doubt");
        }
        self.append(batch).await
    }

    /// Rows that nobody decided about.
    fn take_up_pending(&mut self) -> Result<(), MailError> {
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
            let release = Release::decode(&triggers, sink, read_at)?;
            self.backlog.push_numbers(release, &undecided);
        }
        Ok(())
    }

    /// Sends that are due for another attempt.
    fn take_up_repeats(&mut self) -> Result<(), MailError> {
        let now = self.options.wall.now();
        let mut releases: HashMap<_, Arc<Release>> = HashMap::new();
        for repeat in self.repeats() {
            let Repeat { mut triggers, row, attempt, doubtful } = repeat;
            let Some(sink) = self.sink_of(&triggers) else { continue };
            triggers.moved_at = 0;
            let key = (sink.trigger.clone(), triggers.epoch, triggers.first_row);
            let release = match releases.get(&key) {
                Some(release) => Arc::clone(release),
                None => Arc::new(Release::decode(&triggers, sink, now.0)?),
            };
            releases.insert(key, Arc::clone(&release));
            let index = row.saturating_sub(triggers.first_row) as usize;
            let job = Job { release, index, attempt, doubtful };
            // As if it had waited since the restart: restarts in a row must not hammer a server that is down.
            let wait = backoff_ns(job.send_id(), attempt - 1);
            self.retries.push(ClockTime(now.0.saturating_add(wait)), job);
        }
        Ok(())
    }

    fn repeats(&self) -> Vec<Repeat> {
        let repeat = |(send, entry): (_, SendEntry<'_>)| {
            let (attempt, doubtful) = self.attempt_to_repeat(&entry)?;
            let triggers = self.outbox.rows_of(send)?.clone();
            Some((send, Repeat { triggers, row: entry.row, attempt: attempt + 1, doubtful }))
        };
        let mut repeats: Vec<_> = self.outbox.sends().filter_map(repeat).collect();
        // The same log is followed by the same attempts.
        repeats.sort_unstable_by_key(|(send, _)| *send);
        repeats.into_iter().map(|(_, repeat)| repeat).collect()
    }

    /// The attempt that another one follows, and whether it may have delivered the mail: after a definite failure always, in
    /// doubt only where the sink asks for at least one mail.
    fn attempt_to_repeat(&self, entry: &SendEntry<'_>) -> Option<(u32, bool)> {
        let (attempt, doubtful) = match entry.state {
            SendState::Retry { attempt } => (*attempt, false),
            // What is intended was so by another dispatcher.
            SendState::InDoubt { attempt } | SendState::Intended { attempt, .. } => {
                (*attempt, true)
            }
            _ => return None,
        };
        let sink = self.options.sinks.get(&format!("{}.{}", entry.pipeline, entry.sink))?;
        let repeats = sink.class == MailClass::Transactional && attempt < MAX_ATTEMPTS;
        (!doubtful || repeats).then_some((attempt, doubtful))
    }
}
