//! Mail over SMTP, with connections that are reused.
//!
//! lettre's own transport tells that something failed, but not when: a broken connection looks the same before and
//! after the message left. What that difference decides is whether a customer gets a mail twice, so the session is driven
//! here, command by command, over lettre's connection.
//!
//! | what happens | outcome |
//! |---|---|
//! | no connection, no TLS, no login | retry |
//! | 4xx to any command | retry |
//! | 5xx to MAIL, RCPT, DATA or the message | rejected (refused logins: retry) |
//! | connection breaks or falls silent before DATA was answered with 354 | retry |
//! | the same afterwards, or an answer that is none | in doubt |

mod options;
mod session;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::{sync::Semaphore, time::Instant};

pub use options::{SmtpOptions, SmtpTimeouts};

use self::session::{Delivery, Session};
use super::{Outcome, Provider};
use crate::{
    limits::{CONNECTION_IDLE, STALE_CONNECTIONS},
    message::Outgoing,
};

/// Sends over a pool of SMTP connections.
#[derive(Debug)]
pub struct SmtpProvider {
    name: String,
    options: SmtpOptions,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    session: Session,
    since: Instant,
}

impl SmtpProvider {
    /// A provider with at most `options.connections` connections. Nothing is opened yet.
    pub fn new(name: impl Into<String>, options: SmtpOptions) -> Self {
        Self {
            name: name.into(),
            permits: Semaphore::new(options.connections),
            options,
            idle: Mutex::default(),
        }
    }

    /// The connection that was used last, so that the others can grow old.
    fn reuse(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|kept| now.duration_since(kept.since) < CONNECTION_IDLE);
        idle.pop().map(|kept| kept.session)
    }

    fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { session, since: Instant::now() });
    }
}

#[async_trait]
impl Provider for SmtpProvider {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        let Ok(_permit) = self.permits.acquire().await else {
            return Outcome::Retry { after: None, reason: "the provider was closed".to_owned() };
        };
        for _ in 0..STALE_CONNECTIONS {
            let Some(mut session) = self.reuse() else { break };
            match session.deliver(message, &self.options.timeouts).await {
                // The server had closed it while it was idle; nothing was sent.
                Delivery { outcome: Outcome::Retry { .. }, untouched: true, .. } => {}
                delivery => return self.finish(session, delivery),
            }
        }
        match Session::open(&self.options).await {
            Err(reason) => Outcome::Retry { after: None, reason },
            Ok(mut session) => {
                let delivery = session.deliver(message, &self.options.timeouts).await;
                self.finish(session, delivery)
            }
        }
    }
}

impl SmtpProvider {
    fn finish(&self, session: Session, delivery: Delivery) -> Outcome {
        if delivery.reusable {
            self.keep(session);
        }
        delivery.outcome
    }
}
