//! One SMTP connection, and one message over it.

use std::{fmt, future::Future, time::Duration};

use lettre::transport::smtp::{
    Error,
    authentication::Mechanism,
    client::AsyncSmtpConnection,
    commands::{Data, Mail, Rcpt, Rset},
    response::{Response, Severity},
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    super::{Outcome, detail},
    options::{SmtpOptions, SmtpTimeouts, Tls},
};
use crate::message::Outgoing;

/// An open connection that is past greeting, TLS and login.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What became of a message, and of the connection.
pub(super) struct Delivery {
    pub(super) outcome: Outcome,
    /// The connection is fit for another message.
    pub(super) reusable: bool,
    /// The connection ended on the first command: it was as good as dead before.
    pub(super) untouched: bool,
}

impl Delivery {
    const fn broken(outcome: Outcome) -> Self {
        Self { outcome, reusable: false, untouched: false }
    }
}

/// Why a command was not answered as hoped.
enum Failure {
    /// By a reply.
    Reply(Error),
    /// By a broken connection, silence, or something that is no reply.
    Connection(String),
}

/// Replies that say something about us and not about the message: no TLS, no login (RFC 4954 section 6, RFC 3207
/// section 4). Rejecting mail for a wrong password would lose it.
const ABOUT_US: [u16; 5] = [530, 534, 535, 538, 523];

impl Session {
    /// Connects, encrypts and logs in.
    pub(super) async fn open(options: &SmtpOptions) -> Result<Self, String> {
        let address = options.address();
        match timeout(options.timeouts.connect, Box::pin(Self::connect(options))).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(reason)) => Err(detail(&format!("no connection to {address}: {reason}"))),
            Err(_) => Err(format!("no connection to {address}: it did not answer in time")),
        }
    }

    async fn connect(options: &SmtpOptions) -> Result<Self, String> {
        let host = options.host.trim_start_matches('[').trim_end_matches(']');
        let server = (host, options.port);
        let hello = &options.hello;
        let text = |error: Error| error.to_string();
        let mut connection = match &options.tls {
            Tls::Implicit(tls) => {
                let limit = Some(options.timeouts.connect);
                let tls = Some(tls.clone());
                AsyncSmtpConnection::connect_tokio1(server, limit, hello, tls, None)
                    .await
                    .map_err(text)?
            }
            Tls::None | Tls::Upgrade(_) => {
                let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
                // The message and its final dot are two writes; Nagle's algorithm would hold the second back.
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello)
                    .await
                    .map_err(text)?
            }
        };
        if let Tls::Upgrade(tls) = &options.tls {
            connection.starttls(tls.clone(), hello).await.map_err(text)?;
        }
        if let Some(credentials) = &options.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await.map_err(text)?;
        }
        Ok(Self { connection })
    }

    /// Sends one message.
    pub(super) async fn deliver(
        &mut self,
        message: &Outgoing,
        timeouts: &SmtpTimeouts,
    ) -> Delivery {
        let mail = Mail::new(message.envelope.from().cloned(), vec![]);
        if let Err(failure) = self.command(mail, timeouts.reply).await {
            let untouched = match &failure {
                Failure::Connection(_) => true,
                // A server that gave up an idle connection says so before it hangs up.
                Failure::Reply(error) => is_closing(error),
            };
            return Delivery { untouched, ..self.refused(failure, timeouts).await };
        }
        for recipient in message.envelope.to() {
            let rcpt = Rcpt::new(recipient.clone(), vec![]);
            if let Err(failure) = self.command(rcpt, timeouts.reply).await {
                return self.refused(failure, timeouts).await;
            }
        }
        match self.command(Data, timeouts.reply).await {
            Err(failure) => self.refused(failure, timeouts).await,
            Ok(response) if response.has_code(354) => self.content(message, timeouts).await,
            Ok(response) => Delivery::broken(Outcome::Retry {
                after: None,
                reason: format!("DATA was answered with {} instead of 354", response.code()),
            }),
        }
    }

    /// From here on the message may have been taken over, whatever we see.
    async fn content(&mut self, message: &Outgoing, timeouts: &SmtpTimeouts) -> Delivery {
        let answer = limited(timeouts.accept, self.connection.message(&message.bytes)).await;
        match answer {
            Ok(response) if response.code().severity == Severity::PositiveCompletion => Delivery {
                outcome: Outcome::Accepted { response: detail(&reply_text(&response)) },
                reusable: true,
                untouched: false,
            },
            Ok(response) => Delivery::broken(Outcome::InDoubt {
                reason: format!("the message was answered with {}", response.code()),
            }),
            Err(Failure::Reply(error)) => {
                let reusable = !is_closing(&error);
                Delivery { outcome: outcome_of(&error), reusable, untouched: false }
            }
            Err(Failure::Connection(reason)) => Delivery::broken(Outcome::InDoubt { reason }),
        }
    }

    /// A failure before the message left. The connection is used again if the server forgets the transaction.
    async fn refused(&mut self, failure: Failure, timeouts: &SmtpTimeouts) -> Delivery {
        match failure {
            Failure::Connection(reason) => Delivery::broken(Outcome::Retry { after: None, reason }),
            Failure::Reply(error) => {
                let reusable =
                    !is_closing(&error) && self.command(Rset, timeouts.reply).await.is_ok();
                Delivery { outcome: outcome_of(&error), reusable, untouched: false }
            }
        }
    }

    async fn command(
        &mut self,
        command: impl fmt::Display,
        limit: Duration,
    ) -> Result<Response, Failure> {
        limited(limit, self.connection.command(command)).await
    }
}

async fn limited(
    limit: Duration,
    answer: impl Future<Output = Result<Response, Error>>,
) -> Result<Response, Failure> {
    match timeout(limit, answer).await {
        Err(_) => Err(Failure::Connection("the server did not answer in time".to_owned())),
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if error.status().is_some() => Err(Failure::Reply(error)),
        Ok(Err(error)) => Err(Failure::Connection(detail(&error.to_string()))),
    }
}

fn code_of(error: &Error) -> u16 {
    error.status().map_or(0, |code| code.into())
}

/// 421: the server hangs up (RFC 5321 section 3.8).
fn is_closing(error: &Error) -> bool {
    code_of(error) == 421
}

fn outcome_of(error: &Error) -> Outcome {
    let code = code_of(error);
    let reason = detail(&error.to_string());
    if error.is_permanent() && !ABOUT_US.contains(&code) && !is_policy(&reason) {
        Outcome::Rejected { code: u32::from(code), reason }
    } else {
        Outcome::Retry { after: None, reason }
    }
}

/// An enhanced status of 5.7.x (RFC 3463 section 3.8): security and policy, such as a relay that wants a login first or a
/// sender that is not allowed here. It is mended at our end, and the mail must still be there then.
fn is_policy(reason: &str) -> bool {
    reason.split_once(": ").is_some_and(|(_, text)| text.starts_with("5.7."))
}

fn reply_text(response: &Response) -> String {
    let words: Vec<&str> = response.message().collect();
    format!("{} {}", response.code(), words.join(" "))
}
