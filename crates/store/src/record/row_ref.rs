//! The trigger row that a record about a send belongs to.

use bytes::Bytes;
use postrider_core::SendId;

/// Names one sealed trigger row.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RowRef {
    /// The pipeline's name.
    #[prost(string, tag = "1")]
    pub pipeline: String,
    /// The action sink's name.
    #[prost(string, tag = "2")]
    pub sink: String,
    /// The number of the epoch.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// The number of the row among all rows of this sink and epoch; the first is 0.
    #[prost(uint32, tag = "4")]
    pub row: u32,
    /// Who.
    #[prost(string, tag = "5")]
    pub recipient_key: String,
    /// What for.
    #[prost(string, tag = "6")]
    pub dedupe_key: String,
}

/// Checks the two fields that every record about a send has.
pub(super) fn check_send(send_id: &Bytes) -> Result<(), String> {
    if send_id.len() == 16 {
        Ok(())
    } else {
        Err(format!("a send id has 16 bytes, not {}", send_id.len()))
    }
}

/// Checks the reference to a row.
pub(super) fn check_row(row: &RowRef) -> Result<(), String> {
    if row.pipeline.is_empty() || row.sink.is_empty() {
        return Err("it names no trigger row".to_owned());
    }
    Ok(())
}

/// A send id as a field.
pub(super) fn send_bytes(send: SendId) -> Bytes {
    Bytes::copy_from_slice(&send.0)
}

/// The field as a send id; its length was checked by `decode`.
pub(super) fn send_of(bytes: &[u8]) -> SendId {
    let mut id = [0; 16];
    let length = bytes.len().min(16);
    id[..length].copy_from_slice(&bytes[..length]);
    SendId(id)
}
