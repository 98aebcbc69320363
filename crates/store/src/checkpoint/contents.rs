//! What a checkpoint says: where every source and sink stood, and where the rows of each operator are.

use std::{collections::HashSet, hash::Hash, ops::Deref};

use serde::{Deserialize, Serialize};

use super::{
    CheckpointError,
    names::{is_hex, state_epoch_of},
};
use crate::{LogIdentity, SourceStatus};

/// The contents of a checkpoint: a whole one, with the position of every source.
///
/// There is no way to have one without the position of a registered source, nor to change one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CheckpointContents")]
pub struct Checkpoint(CheckpointContents);

/// What goes into a [`Checkpoint`]. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointContents {
    /// The pipeline's name.
    pub pipeline: String,
    /// What the pipeline's SQL means, as lower-case hexadecimal: state is restored only into the same.
    pub fingerprint: String,
    /// Its number, which is also in the seal of its epoch.
    pub number: u64,
    /// How often the pipeline was told to fire again for what it had fired for.
    pub fire_series: u32,
    /// The last epoch whose effects are in it.
    pub epoch: u64,
    /// That epoch's clock.
    pub clock: i64,
    /// The place in the log of the first frame that is not in it, an [`Lsn`](crate::Lsn).
    pub log_position: u64,
    /// The log that this is a place in; `None` in checkpoints from before logs had an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_identity: Option<LogIdentity>,
    /// The combined watermark of all sources.
    pub watermark: i64,
    /// Where each source stood, one for each.
    pub sources: Vec<SourceState>,
    /// Where each sink stood, one for each.
    pub sinks: Vec<SinkState>,
    /// Where the rows of each operator are, one for each.
    pub operators: Vec<OperatorState>,
}

/// Where a source stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// The source's table.
    pub table: String,
    /// Part of the position behind the last record that was read.
    pub part: String,
    /// Offset of that position.
    pub offset: u64,
    /// The source's own watermark, nanoseconds since 1970.
    pub watermark: i64,
    /// What the source was doing.
    pub status: SourceStatus,
    /// The greatest event time so far, nanoseconds since 1970.
    pub last_event_time: Option<i64>,
    /// Whether its end was acted on.
    pub ended: bool,
}

/// Where a sink stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkState {
    /// The sink's table.
    pub sink: String,
    /// The combined watermark of its inputs, nanoseconds since 1970.
    pub watermark: i64,
    /// The position up to which the output of a data sink belongs to sealed epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// The state of one operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorState {
    /// What the operator computes, as text that changes when its state no longer fits.
    pub identity: String,
    /// What people call it.
    pub name: String,
    /// Its watermark, nanoseconds since 1970.
    pub watermark: i64,
    /// How many shards its rows are spread over.
    pub shards: u32,
    /// Its rows.
    pub parts: Vec<PartState>,
}

/// Rows of one shard of an operator, as they were written at some checkpoint, this one or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartState {
    /// The number of the part within its shard of the operator.
    pub id: u64,
    /// The shard, counted from 0.
    pub shard: u32,
    /// The rows in the blob.
    pub rows: u64,
    /// Which of them no longer count, as bytes that mean nothing to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<BlobRef>,
    /// The rows.
    pub blob: BlobRef,
}

/// Bytes within a state file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// The name of the file.
    pub file: String,
    /// Where they start in it.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Their checksum.
    pub crc32c: u32,
}

impl Checkpoint {
    /// Checks contents against the sources that the pipeline has.
    ///
    /// # Errors
    /// [`CheckpointError::MissingSource`] if the position of one of them is missing, and
    /// [`CheckpointError::Inconsistent`] if there is one of another, something is named twice, or a
    /// field can't be right.
    pub fn new(
        registered_sources: &[String],
        contents: CheckpointContents,
    ) -> Result<Self, CheckpointError> {
        let named: HashSet<_> = contents.sources.iter().map(|source| &source.table).collect();
        if let Some(table) = registered_sources.iter().find(|table| !named.contains(table)) {
            let pipeline = contents.pipeline.clone();
            return Err(CheckpointError::MissingSource { pipeline, table: table.clone() });
        }
        let registered: HashSet<_> = registered_sources.iter().collect();
        if let Some(table) = named.iter().find(|table| !registered.contains(*table)) {
            let reason = format!("source `{table}` is not one of pipeline `{}`", contents.pipeline);
            return Err(CheckpointError::Inconsistent { reason });
        }
        Self::try_from(contents).map_err(|reason| CheckpointError::Inconsistent { reason })
    }

    /// Gives the contents away.
    pub fn into_contents(self) -> CheckpointContents {
        self.0
    }

    /// Every blob it refers to.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        let parts = self.operators.iter().flat_map(|operator| &operator.parts);
        parts.flat_map(|part| part.dead.iter().chain([&part.blob]))
    }
}

impl Deref for Checkpoint {
    type Target = CheckpointContents;

    fn deref(&self) -> &CheckpointContents {
        &self.0
    }
}

impl TryFrom<CheckpointContents> for Checkpoint {
    type Error = String;

    /// Checks what can be checked without knowing the pipeline's sources.
    fn try_from(contents: CheckpointContents) -> Result<Self, String> {
        if contents.pipeline.is_empty() {
            return Err("it names no pipeline".to_owned());
        }
        if !is_hex(&contents.fingerprint) {
            return Err(format!("fingerprint `{}` is not hexadecimal", contents.fingerprint));
        }
        once("source", contents.sources.iter().map(|source| &source.table))?;
        once("sink", contents.sinks.iter().map(|sink| &sink.sink))?;
        once("operator", contents.operators.iter().map(|operator| &operator.identity))?;
        let unknown = |source: &&SourceState| source.status == SourceStatus::Unspecified;
        if let Some(source) = contents.sources.iter().find(unknown) {
            return Err(format!("the status of source `{}` is unknown", source.table));
        }
        contents.operators.iter().try_for_each(|operator| check_parts(operator, contents.epoch))?;
        Ok(Self(contents))
    }
}

fn check_parts(operator: &OperatorState, epoch: u64) -> Result<(), String> {
    let name = &operator.name;
    for shard in 0..operator.shards {
        let of_shard = operator.parts.iter().filter(|part| part.shard == shard);
        once("part", of_shard.map(|part| part.id))
            .map_err(|reason| format!("{reason} in shard {shard} of operator `{name}`"))?;
    }
    for part in &operator.parts {
        let id = part.id;
        if part.shard >= operator.shards {
            let (shard, shards) = (part.shard, operator.shards);
            return Err(format!("part {id} of operator `{name}` is of shard {shard} of {shards}"));
        }
        for blob in part.dead.iter().chain([&part.blob]) {
            check_blob(blob, epoch)
                .map_err(|reason| format!("part {id} of operator `{name}`: {reason}"))?;
        }
    }
    Ok(())
}

fn check_blob(blob: &BlobRef, epoch: u64) -> Result<(), String> {
    match state_epoch_of(&blob.file) {
        None => return Err(format!("`{}` is not the name of a state file", blob.file)),
        Some(written) if written > epoch => {
            return Err(format!("file `{}` is of a later epoch than {epoch}", blob.file));
        }
        Some(_) => {}
    }
    match blob.offset.checked_add(blob.bytes) {
        Some(_) => Ok(()),
        None => Err(format!("{} bytes at {} are in no file", blob.bytes, blob.offset)),
    }
}

/// That no name comes twice.
fn once<T: Eq + Hash + Copy + std::fmt::Display>(
    what: &str,
    names: impl Iterator<Item = T>,
) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} `{name}` is named twice"));
        }
    }
    Ok(())
}
