//! Trigger rows of an epoch for one action sink, before the epoch's seal.

use bytes::Bytes;

use super::record;

/// Rows that become visible with the seal of their epoch, and not before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TriggersRecord {
    /// The pipeline's name.
    #[prost(string, tag = "1")]
    pub pipeline: String,
    /// The action sink's name.
    #[prost(string, tag = "2")]
    pub sink: String,
    /// The number of the epoch.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// How many rows there are.
    #[prost(uint32, tag = "4")]
    pub count: u32,
    /// The rows: an Arrow IPC stream of one batch.
    #[prost(bytes = "bytes", tag = "5")]
    pub rows: Bytes,
    /// How often the pipeline was told to fire again for what it had fired for.
    #[prost(uint32, tag = "6")]
    pub fire_series: u32,
}

record!(TriggersRecord, Triggers);

impl TriggersRecord {
    fn check(&self) -> Result<(), String> {
        if self.pipeline.is_empty() || self.sink.is_empty() {
            return Err("it names no pipeline or no sink".to_owned());
        }
        Ok(())
    }
}
