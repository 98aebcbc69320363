//! A pipeline that was started, with its SQL.

use bytes::Bytes;

use super::record;

/// From here on, epochs of this pipeline come from this SQL.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PipelineRecord {
    /// The pipeline's name.
    #[prost(string, tag = "1")]
    pub pipeline: String,
    /// What must be equal for the state to be continued.
    #[prost(bytes = "bytes", tag = "2")]
    pub fingerprint: Bytes,
    /// The text that was started.
    #[prost(string, tag = "3")]
    pub sql: String,
    /// How often it was told to fire again for what it had fired for.
    #[prost(uint32, tag = "4")]
    pub fire_series: u32,
}

record!(PipelineRecord, Pipeline);

impl PipelineRecord {
    fn check(&self) -> Result<(), String> {
        if self.pipeline.is_empty() { Err("it names no pipeline".to_owned()) } else { Ok(()) }
    }
}
