//! What the provider said about an attempt.

use bytes::Bytes;
use postrider_core::SendId;

use super::{
    record,
    row_ref::{check_send, send_bytes, send_of},
};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SendOutcome {
    /// Never written.
    Unspecified = 0,
    /// The provider has taken the message over.
    Accepted = 1,
    /// The provider refused it for good.
    Rejected = 2,
    /// It was certainly not taken over; another attempt may follow.
    Retry = 3,
    /// Nobody knows whether it was taken over.
    InDoubt = 4,
}

/// The end of one attempt.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResultRecord {
    /// The 16 bytes of the send's id; see [`ResultRecord::send`].
    #[prost(bytes = "bytes", tag = "1")]
    pub send_id: Bytes,
    /// The number of the attempt, as in its intent.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    /// How it ended.
    #[prost(enumeration = "SendOutcome", tag = "3")]
    pub outcome: i32,
    /// The provider's code; 0 for none.
    #[prost(uint32, tag = "4")]
    pub code: u32,
    /// The provider's words.
    #[prost(string, tag = "5")]
    pub detail: String,
    /// When it ended (wall clock).
    #[prost(sfixed64, tag = "6")]
    pub at: i64,
}

record!(ResultRecord, SendResult);

impl ResultRecord {
    /// The send's id.
    pub fn send(&self) -> SendId {
        send_of(&self.send_id)
    }

    /// An id in the form of the field `send_id`.
    pub fn send_id(send: SendId) -> Bytes {
        send_bytes(send)
    }

    fn check(&self) -> Result<(), String> {
        check_send(&self.send_id)?;
        match SendOutcome::try_from(self.outcome) {
            Ok(SendOutcome::Unspecified) | Err(_) => {
                Err(format!("outcome {} is unknown", self.outcome))
            }
            Ok(_) => Ok(()),
        }
    }
}
