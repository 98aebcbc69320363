//! From a rendered row to the bytes of a mail: the same row gives the same bytes in every process.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};
use postrider_core::SendId;

use crate::{render::Rendered, sink::EmailSink};

/// The last second of the year 9999, behind which a date header can't be written.
const LAST_DATE: i64 = 253_402_300_799;

/// A mail, ready for a provider.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The send it belongs to.
    pub send_id: SendId,
    /// The number of the attempt; the first is 1.
    pub attempt: u32,
    /// Who gets it, and who is told when it can't be delivered.
    pub envelope: Envelope,
    /// The Message-ID header with its angle brackets.
    pub message_id: String,
    /// Headers and body, with CRLF line ends, 7 bits.
    pub bytes: Bytes,
}

/// Builds the mail. `date_ns` is when the trigger fired.
pub(crate) fn compose(
    sink: &EmailSink,
    send_id: SendId,
    to: &Address,
    topic: Option<&str>,
    date_ns: i64,
    content: Rendered,
) -> Result<Outgoing, lettre::error::Error> {
    let domain = sink.from.email.domain();
    let message_id = format!("<{send_id}@{domain}>");
    let seconds = date_ns.div_euclid(1_000_000_000).clamp(0, LAST_DATE);
    let date = UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    let boundary = boundary(send_id, &content);
    let envelope = Envelope::new(Some(sink.from.email.clone()), vec![to.clone()])?;
    let mut builder = Message::builder()
        .date(date)
        .from(sink.from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(content.subject)
        .message_id(Some(message_id.clone()))
        .raw_header(header("X-Postrider-Send", send_id.to_string()))
        .envelope(envelope.clone());
    if let Some(reply_to) = &sink.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    if let Some(list_id) = topic.or(sink.topic.as_deref()).and_then(|topic| list_id(topic, domain))
    {
        builder = builder.raw_header(header("List-Id", list_id));
    }
    let parts = MultiPart::alternative()
        .boundary(boundary)
        .singlepart(SinglePart::plain(content.text))
        .singlepart(SinglePart::html(content.html));
    let bytes = Bytes::from(builder.multipart(parts)?.formatted());
    Ok(Outgoing { send_id, attempt: 1, envelope, message_id, bytes })
}

/// The same on every attempt, because equal rows render equally; and no data can hold it, because it hashes all of the data.
fn boundary(send_id: SendId, content: &Rendered) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 MIME boundary");
    hasher.update(send_id.to_string().as_bytes());
    for part in [&content.text, &content.html] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    format!("=_{}", &hasher.finalize().to_hex()[..32])
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// `<topic.domain>` (RFC 2919): letters, digits and hyphens of the topic, the rest as hyphens.
fn list_id(topic: &str, domain: &str) -> Option<String> {
    let slug: String = topic
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let slug = slug.trim_matches('-');
    (!slug.is_empty()).then(|| format!("<{slug}.{domain}>"))
}

#[cfg(test)]
mod tests;
