//! The manifest: a checkpoint, who wrote it, and its form as text.
//!
//! The text is JSON for people and tools, and ends with a checksum of everything before it. Every later
//! format keeps that ending, so that damage is told from a later version.

use serde::{Deserialize, Serialize};

use super::{Checkpoint, CheckpointError, names::is_nonce};
use crate::limits::MANIFEST_BYTES_MAX;

/// The first format, in which no checkpoint says of which log it is.
const WITHOUT_LOG: u32 = 1;
/// The last format that is read.
const FORMAT: u32 = 2;

/// What a checkpoint holds, beside the bytes of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The number of the manifest within its pipeline.
    pub id: u64,
    /// The manifest that the writing process restored or wrote before this one.
    pub parent: Option<u64>,
    /// The generation of the process that wrote it.
    pub generation: u64,
    /// Random, so that a writer knows its own manifest again: 32 hexadecimal digits.
    pub nonce: String,
    /// The version of Postrider that wrote it.
    pub engine_version: String,
    /// When it was written, nanoseconds since 1970.
    pub created_at: i64,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

impl Manifest {
    /// What must hold of the manifest of a pipeline, and of one under an id.
    fn check(&self, id: Option<u64>, pipeline: &str) -> Result<(), String> {
        if id.is_some_and(|id| self.id != id) {
            return Err(format!("it says that it is number {}", self.id));
        }
        if self.checkpoint.pipeline != pipeline {
            return Err(format!("it is of pipeline `{}`", self.checkpoint.pipeline));
        }
        if self.parent.is_some_and(|parent| parent >= self.id) {
            return Err("its parent is not before it".to_owned());
        }
        if !is_nonce(&self.nonce) {
            return Err(format!("`{}` is not a nonce", self.nonce));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    manifest: &'a Manifest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    format: u32,
    manifest: Manifest,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// The text of a manifest.
pub(super) fn encode(manifest: &Manifest) -> Result<Vec<u8>, CheckpointError> {
    let inconsistent = |reason| CheckpointError::Inconsistent { reason };
    // An earlier version can read what says nothing that it does not know.
    let names_log = manifest.checkpoint.log_identity.is_some();
    let format = if names_log { FORMAT } else { WITHOUT_LOG };
    let written = Written { format, manifest };
    let mut text =
        serde_json::to_vec_pretty(&written).map_err(|error| inconsistent(error.to_string()))?;
    // The ending takes the place of the last brace, and of the line break before it.
    text.truncate(text.len().saturating_sub(2));
    let ending = ending(&text);
    text.extend_from_slice(ending.as_bytes());
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        let bytes = text.len();
        return Err(inconsistent(format!(
            "its manifest has {bytes} bytes, more than {MANIFEST_BYTES_MAX}"
        )));
    }
    Ok(text)
}

/// Reads the manifest of a pipeline that is stored under this id; a savepoint may have any.
pub(super) fn decode(
    text: &[u8],
    path: &str,
    id: Option<u64>,
    pipeline: &str,
) -> Result<Manifest, CheckpointError> {
    let damaged = |reason| CheckpointError::Damaged { path: path.to_owned(), reason };
    let Some(body) = body(text) else {
        return Err(damaged("its checksum does not match".to_owned()));
    };
    match serde_json::from_slice::<Read>(&body) {
        Ok(Read { format: WITHOUT_LOG..=FORMAT, manifest }) => {
            manifest.check(id, pipeline).map_err(damaged)?;
            Ok(manifest)
        }
        other => match serde_json::from_slice::<AnyFormat>(&body) {
            Ok(AnyFormat { format }) if format > FORMAT => {
                Err(CheckpointError::TooNew { path: path.to_owned(), format, known: FORMAT })
            }
            _ => Err(damaged(match other {
                Ok(Read { format, .. }) => format!("format {format} was never written"),
                Err(error) => error.to_string(),
            })),
        },
    }
}

/// What follows the text up to the last field.
fn ending(text: &[u8]) -> String {
    format!(",\n  \"crc32c\": \"{:08x}\"\n}}\n", crc32c::crc32c(text))
}

/// The JSON without its ending, if that is right.
fn body(text: &[u8]) -> Option<Vec<u8>> {
    let split = text.len().checked_sub(ending(&[]).len())?;
    let (start, found) = text.split_at(split);
    (ending(start).as_bytes() == found).then(|| [start, b"\n}"].concat())
}
