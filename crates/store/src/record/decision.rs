//! The decision not to send a trigger row.

use bytes::Bytes;
use postrider_core::SendId;

use super::{
    record,
    row_ref::{RowRef, check_row, check_send, send_bytes, send_of},
};

/// This row is not sent (or not sent again), and why.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DecisionRecord {
    /// The 16 bytes of the send's id; see [`DecisionRecord::send`].
    #[prost(bytes = "bytes", tag = "1")]
    pub send_id: Bytes,
    /// A stable word, such as `duplicate` or `expired`.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// More about it, for people.
    #[prost(string, tag = "3")]
    pub detail: String,
    /// The trigger row that is not sent.
    #[prost(message, required, tag = "4")]
    pub row: RowRef,
}

record!(DecisionRecord, Decision);

impl DecisionRecord {
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
        if self.reason.is_empty() {
            return Err("it gives no reason".to_owned());
        }
        check_row(&self.row)
    }
}
