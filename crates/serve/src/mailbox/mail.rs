//! One mail: its line in the list, and all of it.

use std::{fs, io, path::Path, time::SystemTime};

use axum::http::StatusCode;
use mail_parser::{Address, Message, MessageParser};
use postrider_core::format_time;

use crate::limits::MAILBOX_MAIL_BYTES_MAX;

/// The header by which Postrider names the send that a mail belongs to.
const SEND_HEADER: &str = "X-Postrider-Send";

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    #[error("There is no such page.")]
    NoSuchPage,
    #[error("There is no such mail. It may have been deleted.")]
    NoSuchMail,
    #[error("This mail has no HTML part.")]
    NoHtml,
    #[error("This mail is larger than 25 MiB; open its file instead.")]
    TooLarge,
    #[error("The mailbox can't be read: {0}")]
    Files(#[source] io::Error),
    #[error("The page could not be built: {0}")]
    Page(#[from] minijinja::Error),
}

impl MailError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPage | Self::NoSuchMail | Self::NoHtml => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Files(_) | Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Whether a name is that of a mail's file: visible characters without a separator, not hidden.
pub(super) fn is_mail_file(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\');
    name.len() > ".eml".len()
        && name.len() <= 255
        && name.ends_with(".eml")
        && !name.starts_with('.')
        && name.bytes().all(is_plain)
}

/// What the list shows of a mail.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) file: String,
    pub(super) to: String,
    pub(super) subject: String,
    /// Without angle brackets; empty if there is none.
    pub(super) message_id: String,
    /// When the file was written, ns since the epoch.
    pub(super) received_at: i64,
}

impl Summary {
    /// Reads the head of a mail.
    pub(super) fn of(file: &str, head: &[u8], written: SystemTime) -> Self {
        let message = MessageParser::default().parse_headers(head).unwrap_or_default();
        let since_epoch = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            file: file.to_owned(),
            to: addresses(message.to()),
            subject: message.subject().unwrap_or_default().to_owned(),
            message_id: message.message_id().unwrap_or_default().to_owned(),
            received_at: i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

/// A mail and its parts.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) file: String,
    pub(super) subject: String,
    /// Name and value of the headers that people ask for, without absent ones.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) html: Option<String>,
    pub(super) text: Option<String>,
    pub(super) raw: Vec<u8>,
}

impl Mail {
    /// Reads a mail of the mailbox in `dir`.
    pub(super) fn open(dir: &Path, file: &str) -> Result<Self, MailError> {
        if !is_mail_file(file) {
            return Err(MailError::NoSuchMail);
        }
        let path = dir.join(file);
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => MailError::NoSuchMail,
            _ => MailError::Files(error),
        };
        let metadata = fs::symlink_metadata(&path).map_err(missing)?;
        if !metadata.is_file() {
            return Err(MailError::NoSuchMail);
        }
        if metadata.len() > MAILBOX_MAIL_BYTES_MAX {
            return Err(MailError::TooLarge);
        }
        Ok(Self::read(file, fs::read(&path).map_err(missing)?))
    }

    fn read(file: &str, raw: Vec<u8>) -> Self {
        let message = MessageParser::default().parse(&raw).unwrap_or_default();
        // Where a mail has one form only, the parser derives the other; only real parts are shown.
        let has = |is_html| {
            message.parts.iter().any(|part| part.is_text_html() == is_html && part.is_text())
        };
        let html = message.body_html(0).filter(|_| has(true)).map(|html| html.into_owned());
        let text = message.body_text(0).filter(|_| has(false)).map(|text| text.into_owned());
        Self {
            file: file.to_owned(),
            subject: message.subject().unwrap_or_default().to_owned(),
            headers: headers(&message),
            html,
            text,
            raw,
        }
    }
}

fn headers(message: &Message<'_>) -> Vec<(&'static str, String)> {
    let raw = |name: &str| message.header_raw(name).unwrap_or_default().trim().to_owned();
    let date = message.date().map(|date| {
        format_time(date.to_timestamp().saturating_mul(1_000_000_000))
            .replace('T', " ")
            .replace('Z', " UTC")
    });
    let all = [
        ("From", addresses(message.from())),
        ("To", addresses(message.to())),
        ("Date", date.unwrap_or_default()),
        ("Message-ID", raw("Message-ID")),
        (SEND_HEADER, raw(SEND_HEADER)),
        ("List-Unsubscribe", raw("List-Unsubscribe")),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Addresses as people write them.
fn addresses(list: Option<&Address<'_>>) -> String {
    let Some(list) = list else { return String::new() };
    let each = list.iter().map(|it| match (it.name(), it.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (None, Some(address)) => address.to_owned(),
        (name, None) => name.unwrap_or_default().to_owned(),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Mail, is_mail_file};

    #[test]
    fn only_plain_names_are_mail_files() {
        for name in ["1.eml", "20260101T000000Z-7.eml", "a+b=c@x.eml"] {
            assert!(is_mail_file(name), "{name}");
        }
        for name in
            ["", ".eml", "..eml", "../x.eml", "a/b.eml", "a\\b.eml", "a.txt", "a\0.eml", "é.eml"]
        {
            assert!(!is_mail_file(name), "{name:?}");
        }
    }

    #[test]
    fn only_real_parts_are_shown() {
        let read = |kind: &str| {
            let raw = format!("Content-Type: {kind}; charset=utf-8\r\n\r\n<b>x</b>\r\n");
            let mail = Mail::read("1.eml", raw.into_bytes());
            (mail.html.is_some(), mail.text.is_some())
        };
        assert_eq!(read("text/html"), (true, false));
        assert_eq!(read("text/plain"), (false, true));
    }

    #[test]
    fn headers_are_decoded() {
        let raw = "From: =?utf-8?q?Caf=C3=A9?= <shop@x.example>\r\nDate: Thu, 1 Jan 2026 01:00:00 +0100\r\n\
                   Message-ID: <a@x>\r\nX-Postrider-Send: gxdp\r\n\r\n";
        let mail = Mail::read("1.eml", raw.as_bytes().to_vec());
        let expected = [
            ("From", "Café <shop@x.example>"),
            ("Date", "2026-01-01 00:00:00 UTC"),
            ("Message-ID", "<a@x>"),
            ("X-Postrider-Send", "gxdp"),
        ];
        let headers: Vec<_> = mail.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(headers, expected);
    }
}
