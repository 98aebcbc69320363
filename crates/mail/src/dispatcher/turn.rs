//! One turn of the dispatcher: results, decisions and intents in one batch.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::ClockTime;
use postrider_store::{
    DecisionRecord, IntentRecord, NewFrame, ResultRecord, SendOutcome, SendState,
};

use super::{
    Dispatcher, SendFacts,
    attempt::{Finished, Launch, Verdict, judge, share},
    backlog::Job,
    retries::backoff_ns,
};
use crate::{
    MailError, Outcome,
    decision::{Facts, NotSent, Reason, decide},
    limits::{BATCH_BYTES, DECIDE_ROWS, RETRIES_WAITING},
    message::{Outgoing, compose},
};

/// What one turn appends and then starts.
#[derive(Default)]
pub(super) struct Batch {
    frames: Vec<NewFrame>,
    bytes: usize,
    launches: Vec<Launch>,
}

impl Batch {
    pub(super) fn push(&mut self, frame: NewFrame) {
        self.bytes += frame.payload.len();
        self.frames.push(frame);
    }
}

impl Dispatcher {
    /// Does what can be done now. Returns whether that was anything.
    pub(super) async fn turn(&mut self) -> Result<bool, MailError> {
        let folded = self.fold()?;
        let mut batch = Batch::default();
        self.land(&mut batch)?;
        let now = self.options.wall.now();
        while self.has_room(&batch)
            && let Some(job) = self.retries.pop_due(now)
        {
            self.repeat(job, &mut batch);
        }
        for _ in 0..DECIDE_ROWS {
            if !self.has_room(&batch) || self.retries.len() >= RETRIES_WAITING {
                break;
            }
            let Some(job) = self.backlog.pop() else { break };
            self.begin(job, &mut batch);
        }
        let worked = folded || !batch.frames.is_empty();
        self.append(batch).await?;
        Ok(worked)
    }

    fn has_room(&self, batch: &Batch) -> bool {
        let flying = self.flying.len() + batch.launches.len();
        flying < self.options.max_in_flight && batch.bytes < BATCH_BYTES
    }

    /// Takes the results of all attempts that ended.
    pub(super) fn land(&mut self, batch: &mut Batch) -> Result<(), MailError> {
        while let Some(finished) = self.flying.try_join_next() {
            self.landed.push(finished);
        }
        for finished in std::mem::take(&mut self.landed) {
            // Attempts are never cancelled and catch panics, so a join error can only be a fault of ours.
            let finished = finished.map_err(|error| MailError::Data {
                what: "the end of an attempt",
                place: "the dispatcher".to_owned(),
                message: error.to_string(),
            })?;
            self.record(finished, batch)?;
        }
        Ok(())
    }

    /// Puts a batch into the log and starts its attempts, which wait until it is durable.
    pub(super) async fn append(&mut self, batch: Batch) -> Result<(), MailError> {
        if batch.frames.is_empty() {
            return Ok(());
        }
        let durable = share(self.options.log.submit(batch.frames).await?);
        for launch in batch.launches {
            self.flying.spawn(launch.fly(durable.clone(), self.options.log.clone()));
        }
        self.newest = Some(durable);
        Ok(())
    }

    /// Decides about a new row.
    fn begin(&mut self, job: Job, batch: &mut Batch) {
        let send = job.send_id();
        let tried = |state: &SendState| !matches!(state, SendState::NotSent { .. });
        let known = self.claimed.contains(&send) || self.outbox.state(send).is_some_and(tried);
        match self.prepare(&job, known) {
            Ok(message) => self.intend(job, message, batch),
            Err(not) => self.decline(&job, not, batch),
        }
    }

    /// Tries a send again, if it is still worth it.
    fn repeat(&self, job: Job, batch: &mut Batch) {
        match self.prepare(&job, false) {
            Ok(message) => self.launch(job, message, batch),
            // It may have been delivered: to call it not sent would be a lie, and free its key for a second mail.
            Err(_) if job.doubtful => {}
            Err(not) => self.decline(&job, not, batch),
        }
    }

    fn facts<'a>(&self, job: &'a Job, known: bool) -> Facts<'a> {
        Facts {
            row: job.row(),
            known,
            fired_at: job.fired_at(),
            now: self.options.epoch_clock.now().0,
            ttl_ns: job.sink().ttl_ns,
        }
    }

    /// Decides and renders. A row that can't be rendered is a decision too, so this comes before the intent.
    fn prepare(&self, job: &Job, known: bool) -> Result<Outgoing, NotSent> {
        let facts = self.facts(job, known);
        let to = decide(&facts)?;
        let failed = |detail: String| NotSent { reason: Reason::RenderError, detail };
        let sink = job.sink();
        let content =
            sink.renderer.render(&job.variables()).map_err(|error| failed(error.to_string()))?;
        let topic = facts.row.topic;
        let mut message = compose(sink, job.send_id(), &to, topic, facts.fired_at, content)
            .map_err(|error| failed(error.to_string()))?;
        message.attempt = job.attempt;
        Ok(message)
    }

    fn intend(&mut self, job: Job, message: Outgoing, batch: &mut Batch) {
        self.claimed.insert(message.send_id);
        self.launch(job, message, batch);
    }

    fn launch(&self, job: Job, message: Outgoing, batch: &mut Batch) {
        let name = job.sink().provider.clone();
        // `Dispatcher::new` refuses sinks whose provider is not there.
        let Some(provider) = self.options.providers.get(&name) else { return };
        let record = IntentRecord {
            send_id: IntentRecord::send_id(message.send_id),
            attempt: job.attempt,
            provider: name,
            message_id: message.message_id.clone(),
            message_hash: Bytes::copy_from_slice(blake3::hash(&message.bytes).as_bytes()),
            row: job.row_ref(),
        };
        batch.push(record.frame(job.release.workspace, job.subject()));
        batch.launches.push(Launch { job, provider: Arc::clone(provider), message });
    }

    fn decline(&self, job: &Job, not: NotSent, batch: &mut Batch) {
        self.options.observer.not_sent(&job.sink().trigger, not.reason.word());
        let record = DecisionRecord {
            send_id: DecisionRecord::send_id(job.send_id()),
            reason: not.reason.word().to_owned(),
            detail: not.detail,
            row: job.row_ref(),
        };
        batch.push(record.frame(job.release.workspace, job.subject()));
    }

    /// Takes the result of one attempt.
    fn record(&mut self, finished: Finished, batch: &mut Batch) -> Result<(), MailError> {
        let Finished { job, outcome } = finished;
        let outcome = outcome.map_err(|_| MailError::Log(self.options.log.why_ended()))?;
        let now = self.options.wall.now();
        let send = job.send_id();
        let backoff = backoff_ns(send, job.attempt);
        let verdict = judge(outcome.clone(), &job.history(), backoff);
        self.observe(&job, &outcome, &verdict, now);
        let record = ResultRecord {
            send_id: ResultRecord::send_id(send),
            attempt: job.attempt,
            outcome: verdict.outcome as i32,
            code: verdict.code,
            detail: verdict.detail,
            at: now.0,
        };
        batch.push(record.frame(job.release.workspace, job.subject()));
        if let Some(wait) = verdict.again {
            let due = ClockTime(now.0.saturating_add(wait));
            let doubtful = verdict.outcome == SendOutcome::InDoubt;
            self.retries.push(due, Job { attempt: job.attempt + 1, doubtful, ..job });
        }
        Ok(())
    }

    fn observe(&self, job: &Job, outcome: &Outcome, verdict: &Verdict, now: ClockTime) {
        let facts = SendFacts {
            trigger: &job.sink().trigger,
            attempt: job.attempt,
            moved_at: job.release.moved_at,
            read_at: job.release.read_at,
            answered_at: now.0,
        };
        let observer = &self.options.observer;
        match outcome {
            Outcome::Accepted { .. } => observer.accepted(&facts),
            Outcome::Retry { .. } if verdict.again.is_some() => observer.retried(&facts),
            Outcome::Rejected { .. } if verdict.outcome == SendOutcome::Rejected => {
                observer.rejected(&facts);
            }
            // A failure ends no doubt that an earlier attempt left.
            Outcome::Rejected { .. } | Outcome::Retry { .. } | Outcome::InDoubt { .. } => {
                observer.in_doubt(facts.trigger);
            }
        }
    }
}
