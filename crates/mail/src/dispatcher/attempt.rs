//! One attempt: the wait for its intent to be durable, the call of the provider, and what the answer means.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use postrider_store::{LogError, SendOutcome, Ticket};

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
    pub(super) async fn fly(self, durable: Durable) -> Finished {
        if let Err(error) = durable.await {
            return Finished { job: self.job, outcome: Err(error) };
        }
        // A panic in an adapter must not take the dispatcher down, and tells nothing about the message.
        let outcome = AssertUnwindSafe(self.provider.send(&self.message))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Outcome::InDoubt {
                reason: "the provider's adapter panicked".to_owned(),
            });
        Finished { job: self.job, outcome: Ok(outcome) }
    }
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

/// Judges an outcome: a pure function.
pub(super) fn judge(outcome: Outcome, attempt: u32, class: MailClass, backoff_ns: i64) -> Verdict {
    let last = attempt >= MAX_ATTEMPTS;
    match outcome {
        Outcome::Accepted { response } => {
            Verdict { outcome: SendOutcome::Accepted, code: 0, detail: response, again: None }
        }
        Outcome::Rejected { code, reason } => {
            Verdict { outcome: SendOutcome::Rejected, code, detail: reason, again: None }
        }
        Outcome::Retry { reason, .. } if last => Verdict {
            outcome: SendOutcome::Rejected,
            code: 0,
            detail: format!("retries_exhausted: {reason}"),
            again: None,
        },
        Outcome::Retry { after, reason } => {
            let after =
                after.map_or(0, |after| i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
            let again = Some(after.max(backoff_ns));
            Verdict { outcome: SendOutcome::Retry, code: 0, detail: reason, again }
        }
        Outcome::InDoubt { reason } => {
            let again = (class == MailClass::Transactional && !last).then_some(backoff_ns);
            Verdict { outcome: SendOutcome::InDoubt, code: 0, detail: reason, again }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postrider_store::SendOutcome;

    use super::judge;
    use crate::{MailClass, Outcome, limits::MAX_ATTEMPTS};

    #[test]
    fn outcomes_are_judged() {
        let retry = |after| Outcome::Retry { after, reason: "busy".to_owned() };
        let doubt = || Outcome::InDoubt { reason: "silence".to_owned() };
        let (marketing, transactional) = (MailClass::Marketing, MailClass::Transactional);
        let cases = [
            (retry(None), 1, marketing, SendOutcome::Retry, Some(7)),
            (retry(Some(Duration::from_nanos(9))), 1, marketing, SendOutcome::Retry, Some(9)),
            (retry(Some(Duration::from_nanos(5))), 1, marketing, SendOutcome::Retry, Some(7)),
            (retry(None), MAX_ATTEMPTS, marketing, SendOutcome::Rejected, None),
            (doubt(), 1, marketing, SendOutcome::InDoubt, None),
            (doubt(), 1, transactional, SendOutcome::InDoubt, Some(7)),
            (doubt(), MAX_ATTEMPTS, transactional, SendOutcome::InDoubt, None),
        ];
        for (outcome, attempt, class, expected, again) in cases {
            let verdict = judge(outcome.clone(), attempt, class, 7);
            assert_eq!(
                (verdict.outcome, verdict.again),
                (expected, again),
                "{outcome:?} {attempt}"
            );
        }
        assert_eq!(
            judge(retry(None), MAX_ATTEMPTS, marketing, 7).detail,
            "retries_exhausted: busy"
        );
    }
}
