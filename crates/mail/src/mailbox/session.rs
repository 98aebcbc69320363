//! One SMTP session over TCP. The protocol's state machine is `mailin`'s; this is its I/O, its limits, and
//! the extensions PIPELINING (RFC 2920) and SIZE (RFC 1870).

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailin::{
    Action, Handler, Response, Session, SessionBuilder,
    response::{NO_STORAGE, OK},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::store::{MessageStore, Received};
use crate::limits::{MAILBOX_IDLE, MAILBOX_LINE_BYTES, MAILBOX_MESSAGE_BYTES, MAILBOX_RECIPIENTS};

/// Read in one go; a pipelined transaction of a usual mail fits.
const READ_BYTES: usize = 64 * 1024;

/// Talks to one client until it leaves.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    store: Arc<MessageStore>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
    let inbox = Inbox::default();
    let mut session = SessionBuilder::new("postrider-mailbox").build(peer, inbox.clone());
    let mut out = session.greeting().buffer()?;
    let mut line = Vec::new();
    let mut at_line_start = true;
    loop {
        // Replies to pipelined commands leave together, once no further command is at hand.
        if !out.is_empty() && !reader.buffer().contains(&b'\n') {
            writer.write_all(&out).await?;
            out.clear();
        }
        line.clear();
        let mut limited = (&mut reader).take(MAILBOX_LINE_BYTES as u64);
        if timeout(MAILBOX_IDLE, limited.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") {
            out.extend_from_slice(b"500 Line too long\r\n");
            break;
        }
        let ends_line = line.ends_with(b"\r\n");
        if !at_line_start && line.starts_with(b".") {
            // After a bare LF this is the middle of a line (RFC 5321 section 2.3.8), so this dot neither ends the message nor
            // was doubled by the client; doubled here, it comes out as it is.
            line.insert(0, b'.');
        }
        at_line_start = ends_line;
        let (reply, go_on) = answer(&mut session, &inbox, &line, &store).await?;
        out.extend_from_slice(&reply);
        if !go_on {
            break;
        }
    }
    writer.write_all(&out).await
}

/// Processes one line. Returns the reply and whether the session goes on.
async fn answer(
    session: &mut Session<Inbox>,
    inbox: &Inbox,
    line: &[u8],
    store: &Arc<MessageStore>,
) -> io::Result<(Vec<u8>, bool)> {
    let in_data = inbox.lock().in_data;
    let response = match line.get(..10) {
        Some(start) if !in_data && start.eq_ignore_ascii_case(b"MAIL FROM:") => {
            let (command, size) = without_parameters(line);
            if size > MAILBOX_MESSAGE_BYTES { NO_STORAGE } else { session.process(&command) }
        }
        _ => session.process(line),
    };
    let mut reply = response.buffer()?;
    if !in_data && response.code == 250 && reply.starts_with(b"250-") {
        reply = with_extensions(&reply);
    }
    let received = inbox.lock().complete.take();
    if let Some(message) = received
        && Arc::clone(store).keep(message).await.is_err()
    {
        return Ok((b"452 The message could not be stored\r\n".to_vec(), true));
    }
    // After a refused message the state machine would still wait for data.
    let stuck = in_data && response.is_error;
    Ok((reply, response.action != Action::Close && !stuck))
}

/// `MAIL FROM:<..>` without the parameters that `mailin` does not know, and the SIZE among them.
fn without_parameters(line: &[u8]) -> (Vec<u8>, usize) {
    let Some(end) = line.iter().position(|byte| *byte == b'>') else {
        return (line.to_vec(), 0);
    };
    let (command, parameters) = line.split_at(end + 1);
    let parameters = String::from_utf8_lossy(parameters).to_ascii_uppercase();
    let mut kept = command.to_vec();
    let mut size = 0;
    for parameter in parameters.split_ascii_whitespace() {
        match parameter.split_once('=') {
            Some(("SIZE", bytes)) => size = bytes.parse().unwrap_or(usize::MAX),
            Some(("BODY", body)) => kept.extend_from_slice(format!(" BODY={body}").as_bytes()),
            _ if parameter == "SMTPUTF8" => {}
            _ => kept.extend_from_slice(format!(" {parameter}").as_bytes()),
        }
    }
    kept.extend_from_slice(b"\r\n");
    (kept, size)
}

/// The answer to EHLO with what this layer adds.
fn with_extensions(reply: &[u8]) -> Vec<u8> {
    let first = reply.iter().position(|byte| *byte == b'\n').map_or(reply.len(), |at| at + 1);
    let mut longer = reply[..first].to_vec();
    longer.extend_from_slice(b"250-PIPELINING\r\n");
    longer.extend_from_slice(format!("250-SIZE {MAILBOX_MESSAGE_BYTES}\r\n").as_bytes());
    longer.extend_from_slice(&reply[first..]);
    longer
}

/// What the state machine hands over. It takes no futures, so the file is written by the session's task.
#[derive(Debug, Clone, Default)]
struct Inbox(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    in_data: bool,
    too_big: bool,
    recipients: usize,
    current: Received,
    complete: Option<Received>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Inbox {
    fn mail(&mut self, _: IpAddr, _: &str, _: &str) -> Response {
        self.lock().recipients = 0;
        OK
    }

    fn rcpt(&mut self, _: &str) -> Response {
        let mut contents = self.lock();
        contents.recipients += 1;
        if contents.recipients > MAILBOX_RECIPIENTS {
            return Response::custom(452, "Too many recipients".to_owned());
        }
        OK
    }

    fn data_start(&mut self, _: &str, from: &str, _: bool, to: &[String]) -> Response {
        let mut contents = self.lock();
        contents.in_data = true;
        contents.too_big = false;
        contents.current = Received { from: from.to_owned(), to: to.to_vec(), data: Vec::new() };
        OK
    }

    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        let mut contents = self.lock();
        if contents.current.data.len() + line.len() > MAILBOX_MESSAGE_BYTES {
            contents.too_big = true;
            contents.current.data = Vec::new();
        }
        if !contents.too_big {
            contents.current.data.extend_from_slice(line);
        }
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let mut contents = self.lock();
        contents.in_data = false;
        let message = std::mem::take(&mut contents.current);
        if contents.too_big {
            return NO_STORAGE;
        }
        contents.complete = Some(message);
        OK
    }
}

#[cfg(test)]
mod tests {
    use super::{with_extensions, without_parameters};

    #[test]
    fn only_known_parameters_reach_the_state_machine() {
        let (line, size) =
            without_parameters(b"MAIL FROM:<a@b.example> SIZE=77 BODY=8BITMIME SMTPUTF8\r\n");
        assert_eq!(
            (line.as_slice(), size),
            (&b"MAIL FROM:<a@b.example> BODY=8BITMIME\r\n"[..], 77)
        );
        assert_eq!(without_parameters(b"MAIL FROM:<a> SIZE=x\r\n").1, usize::MAX);
    }

    #[test]
    fn extensions_come_second() {
        let reply = with_extensions(b"250-hello\r\n250 8BITMIME\r\n");
        assert_eq!(reply, b"250-hello\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250 8BITMIME\r\n");
    }
}
