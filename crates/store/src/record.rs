//! What frames carry: one protobuf message a kind, with tags that are fixed for ever.
//!
//! Fields are only ever added, under new tags; a field that an old log lacks decodes as its zero value.
//! Times are `sfixed64` nanoseconds since the Unix epoch. The first value of each enumeration
//! is "unspecified", as protobuf wants it; `decode` refuses it, so it is never met.

mod decision;
mod epoch_sealed;
mod event;
mod intent;
mod pipeline;
mod remembered;
mod row_ref;
mod send_result;
mod triggers;

pub use decision::DecisionRecord;
pub use epoch_sealed::{EpochSealed, SealKind, SinkSeal, SourceSeal, SourceStatus};
pub use event::{EventRecord, KeyRole};
pub use intent::IntentRecord;
pub use pipeline::PipelineRecord;
pub use remembered::RememberedRecord;
pub use row_ref::RowRef;
pub use send_result::{ResultRecord, SendOutcome};
pub use triggers::TriggersRecord;

/// Gives a record its kind, `encode`, `decode` and `frame`. The record implements `fn check(&self) ->
/// Result<(), String>` for what protobuf can't say.
macro_rules! record {
    ($record:ident, $kind:ident) => {
        impl $record {
            /// The kind of the frames that carry this record.
            pub const KIND: crate::FrameKind = crate::FrameKind::$kind;

            /// The payload of a frame.
            pub fn encode(&self) -> bytes::Bytes {
                bytes::Bytes::from(prost::Message::encode_to_vec(self))
            }

            /// Reads the payload of a frame. Byte fields share its memory.
            ///
            /// # Errors
            /// When the payload is not such a record.
            pub fn decode(payload: &bytes::Bytes) -> Result<Self, crate::RecordError> {
                let record: Self = prost::Message::decode(payload.clone()).map_err(
                    |error: prost::DecodeError| {
                        crate::RecordError::new(stringify!($record), error.to_string())
                    },
                )?;
                record
                    .check()
                    .map_err(|reason| crate::RecordError::new(stringify!($record), reason))?;
                Ok(record)
            }

            /// The frame that carries this record.
            pub fn frame(
                &self,
                workspace: postrider_core::WorkspaceId,
                subject: postrider_core::SubjectId,
            ) -> crate::NewFrame {
                crate::NewFrame { kind: Self::KIND, workspace, subject, payload: self.encode() }
            }
        }
    };
}
use record;

#[cfg(test)]
mod tests;
