//! The intent to send: durable before the provider is called.

use bytes::Bytes;
use postrider_core::SendId;

use super::{
    record,
    row_ref::{RowRef, check_row, check_send, send_bytes, send_of},
};

/// From here on, until its result, the provider may have accepted the message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IntentRecord {
    /// The 16 bytes of the send's id; see [`IntentRecord::send`].
    #[prost(bytes = "bytes", tag = "1")]
    pub send_id: Bytes,
    /// The number of the attempt; the first is 1.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    /// The provider that will be called.
    #[prost(string, tag = "3")]
    pub provider: String,
    /// The Message-ID header.
    #[prost(string, tag = "4")]
    pub message_id: String,
    /// A hash of the message's bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub message_hash: Bytes,
    /// The trigger row that is sent.
    #[prost(message, required, tag = "6")]
    pub row: RowRef,
}

record!(IntentRecord, Intent);

impl IntentRecord {
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
        check_row(&self.row)
    }
}
