//! One attempt: the wait for its intent to be durable, the call of the provider, and what the answer means.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use postrider_store::{
    Log, LogError, SendOutcome, Ticket,
    failpoint::{self, Failpoint},
};

use super::backlog::Job;
use crate::{MailClass, Outcome, Provider, limits::MAX_ATTEMPTS, message::Outgoing};

/// The durability of one batch, for everybody who waits for it.
pub(super) type Durable = Shared<BoxFuture<'static, Result<(), Arc<LogError>>>>;

/// Shares a ticket.
pub(super) fn share(ticket: Ticket) -> Durable {
    ticket.durable().map(|appended| appended.map(drop).map_err(Arc::new)).boxed().shared()
}

/// A message whose intent was appended.
pub(super) struct Launch {
    pub(super) job: Job,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) message: Outgoing,
}

/// An attempt that ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) job: Job,
    pub(super) outcome: Result<Outcome, Arc<LogError>>,
}

impl Launch {
    /// Makes the attempt.
    pub(super) async fn fly(self, durable: Durable, log: Log) -> Finished {
        if let Err(error) = may_begin(durable, &log).await {
            return Finished { job: self.job, outcome: Err(error) };
        }
        failpoint::pass(Failpoint::IntentDurable);
        // A panic in an adapter must not take the dispatcher down, and tells nothing about the message.
        let outcome = AssertUnwindSafe(self.provider.send(&self.message))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Outcome::InDoubt {
                reason: "the provider's adapter panicked".to_owned(),
            });
        failpoint::pass(Failpoint::ProviderAnswered);
        Finished { job: self.job, outcome: Ok(outcome) }
    }
}

/// Whether the intent is durable and this process may act on it: one that was stopped meanwhile and taken over begins no send,
/// since its successor has the intent in doubt.
async fn may_begin(durable: Durable, log: &Log) -> Result<(), Arc<LogError>> {
    durable.await?;
    log.check_fence().map_err(Arc::new)
}

/// What an outcome means for a send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: SendOutcome,
    pub(super) code: u32,
    pub(super) detail: String,
    /// Another attempt follows, not before this many nanoseconds.
    pub(super) again: Option<i64>,
}

/// What came before an outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    /// The number of the attempt that ended.
    pub(super) attempt: u32,
    /// An earlier one may have delivered the mail.
    pub(super) doubtful: bool,
    pub(super) class: MailClass,
}

/// Judges an outcome: a pure function. A definite failure is tried again until the mail expires, and ends no doubt that an
/// earlier attempt left.
pub(super) fn judge(outcome: Outcome, history: &History, backoff_ns: i64) -> Verdict {
    let failed = |outcome| if history.doubtful { SendOutcome::InDoubt } else { outcome };
    match outcome {
        Outcome::Accepted { response } => {
            Verdict { outcome: SendOutcome::Accepted, code: 0, detail: response, again: None }
        }
        Outcome::Rejected { code, reason } => {
            Verdict { outcome: failed(SendOutcome::Rejected), code, detail: reason, again: None }
        }
        Outcome::Retry { after, reason } => {
            let after =
                after.map_or(0, |after| i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
            let last = history.doubtful && history.attempt >= MAX_ATTEMPTS;
            let again = (!last).then_some(after.max(backoff_ns));
            Verdict { outcome: failed(SendOutcome::Retry), code: 0, detail: reason, again }
        }
        Outcome::InDoubt { reason } => {
            let repeats = history.class == MailClass::Transactional;
            let again = (repeats && history.attempt < MAX_ATTEMPTS).then_some(backoff_ns);
            Verdict { outcome: SendOutcome::InDoubt, code: 0, detail: reason, again }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use postrider_store::{Log, LogError, LogOptions, SendOutcome};

    use super::{History, judge, may_begin, share};
    use crate::{MailClass, Outcome, limits::MAX_ATTEMPTS};

    #[tokio::test]
    async fn a_process_that_was_taken_over_begins_no_send() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(LogOptions::new(dir.path())).unwrap().log;
        let durable = share(log.submit(Vec::new()).await.unwrap());
        may_begin(durable.clone(), &log).await.unwrap();
        // Another process's file, as a takeover leaves it.
        std::fs::write(dir.path().join("other"), "process 7\n").unwrap();
        std::fs::rename(dir.path().join("other"), dir.path().join("LOCK")).unwrap();
        let error = may_begin(durable, &log).await.unwrap_err();
        assert!(matches!(&*error, LogError::Fenced { holder, .. } if holder == "process 7"));
        let refused = std::future::ready(Err(error)).boxed().shared();
        assert!(may_begin(refused, &Log::in_memory()).await.is_err());
    }

    #[test]
    fn outcomes_are_judged() {
        let retry = |after| Outcome::Retry { after, reason: "busy".to_owned() };
        let doubt = || Outcome::InDoubt { reason: "silence".to_owned() };
        let reject = || Outcome::Rejected { code: 550, reason: "unknown".to_owned() };
        let of = |attempt, doubtful, class| History { attempt, doubtful, class };
        let marketing = |attempt| of(attempt, false, MailClass::Marketing);
        let transactional = |attempt| of(attempt, false, MailClass::Transactional);
        let doubtful = |attempt| of(attempt, true, MailClass::Transactional);
        let nine = Some(Duration::from_nanos(9));
        let cases = [
            (retry(None), marketing(1), SendOutcome::Retry, Some(7)),
            (retry(nine), marketing(1), SendOutcome::Retry, Some(9)),
            (retry(Some(Duration::from_nanos(5))), marketing(1), SendOutcome::Retry, Some(7)),
            (retry(None), marketing(10 * MAX_ATTEMPTS), SendOutcome::Retry, Some(7)),
            (reject(), marketing(1), SendOutcome::Rejected, None),
            (doubt(), marketing(1), SendOutcome::InDoubt, None),
            (doubt(), transactional(1), SendOutcome::InDoubt, Some(7)),
            (doubt(), transactional(MAX_ATTEMPTS), SendOutcome::InDoubt, None),
            (retry(None), doubtful(2), SendOutcome::InDoubt, Some(7)),
            (retry(None), doubtful(MAX_ATTEMPTS), SendOutcome::InDoubt, None),
            (reject(), doubtful(2), SendOutcome::InDoubt, None),
        ];
        for (outcome, history, expected, again) in cases {
            let verdict = judge(outcome.clone(), &history, 7);
            let found = (verdict.outcome, verdict.again);
            assert_eq!(found, (expected, again), "{outcome:?} {history:?}");
        }
    }
}
