//! A send that the log has forgotten, and that may have been delivered.

use bytes::Bytes;
use postrider_core::SendId;

use super::{
    record,
    row_ref::{check_send, send_bytes, send_of},
};

/// An intent to this send was in a part of the log that was given up: it must not be sent (again).
#[derive(Clone, PartialEq, prost::Message)]
pub struct RememberedRecord {
    /// The 16 bytes of the send's id; see [`RememberedRecord::send`].
    #[prost(bytes = "bytes", tag = "1")]
    pub send_id: Bytes,
}

record!(RememberedRecord, Remembered);

impl RememberedRecord {
    /// The send's id.
    pub fn send(&self) -> SendId {
        send_of(&self.send_id)
    }

    /// An id in the form of the field `send_id`.
    pub fn send_id(send: SendId) -> Bytes {
        send_bytes(send)
    }

    fn check(&self) -> Result<(), String> {
        check_send(&self.send_id)
    }
}
