//! An event as the collector received it.

use bytes::Bytes;

use super::record;

/// Whose key an event came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum KeyRole {
    /// Never written.
    Unspecified = 0,
    /// A key that is public in a web page: it may not name a recipient.
    Browser = 1,
    /// A key that only the shop's servers know.
    Server = 2,
}

impl KeyRole {
    /// The role in SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Browser => "browser",
            Self::Server => "server",
        }
    }
}

/// One pushed event.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EventRecord {
    /// The stream it was sent to.
    #[prost(string, tag = "1")]
    pub stream: String,
    /// The sender's id of it, by which a repeated event is known; empty if it gave none.
    #[prost(string, tag = "2")]
    pub message_id: String,
    /// Whose key it came with.
    #[prost(enumeration = "KeyRole", tag = "3")]
    pub role: i32,
    /// When it was received (wall clock).
    #[prost(sfixed64, tag = "4")]
    pub received_at: i64,
    /// The event, as JSON.
    #[prost(bytes = "bytes", tag = "5")]
    pub body: Bytes,
}

record!(EventRecord, Event);

impl EventRecord {
    fn check(&self) -> Result<(), String> {
        match KeyRole::try_from(self.role) {
            Ok(KeyRole::Browser | KeyRole::Server) => Ok(()),
            _ => Err(format!("role {} is unknown", self.role)),
        }
    }
}
