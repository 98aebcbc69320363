//! From a checkpoint to what the tasks of a pipeline start with.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use postrider_core::{Position, Watermark};
use postrider_store::{
    BlobRef, CheckpointContents, OperatorState, PartState, Recovered, SinkState, SourceState,
    VerifiedBytes,
};

use super::checkpoint::{Kept, codec};
use crate::{
    dataflow::{Dataflow, StageNode},
    exchange::Route,
    operator::{RestoredPart, reroute},
};

/// What one stage instance starts with.
#[derive(Debug, Clone)]
pub(crate) struct StageStart {
    /// The number of the snapshot.
    pub(crate) number: u64,
    pub(crate) parts: Vec<RestoredPart>,
    pub(crate) watermark: Watermark,
}

/// What one source starts with.
#[derive(Debug, Clone)]
pub(crate) struct SourceStart {
    pub(crate) position: Position,
    pub(crate) watermark: Watermark,
    pub(crate) last_event_time: Option<i64>,
}

impl Default for SourceStart {
    /// The beginning.
    fn default() -> Self {
        Self { position: Position::default(), watermark: Watermark::MIN, last_event_time: None }
    }
}

/// A checkpoint, read and put in place for a dataflow and a number of shards.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// What the checkpoint says, without its operators.
    pub(crate) contents: Option<CheckpointContents>,
    /// What was restored, for people.
    pub(crate) facts: RestoredFacts,
    /// By stage and shard.
    stages: BTreeMap<(usize, usize), StageStart>,
    /// What the store has already.
    pub(crate) kept: Kept,
}

/// What was read of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoredFacts {
    /// The number of its manifest; `None` if there was no checkpoint.
    pub manifest: Option<u64>,
    /// Its epoch.
    pub epoch: u64,
    /// When it was written (wall clock, nanoseconds since 1970).
    pub created_at: i64,
    /// Rows of state.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Newer checkpoints that could not be restored, and why.
    pub skipped: Vec<(u64, String)>,
}

impl Restored {
    /// Reads the operators of a checkpoint for a dataflow that has the same, or, of an edited program, `some` of them.
    ///
    /// # Errors
    /// What is wrong with the checkpoint, for people.
    pub(crate) fn new(
        recovered: &Recovered,
        flow: &Dataflow,
        shards: usize,
        some: bool,
    ) -> Result<Self, String> {
        let contents = (*recovered.manifest.checkpoint).clone();
        let mut restored = Self::numbers(recovered);
        restored.facts.bytes = recovered.blobs.bytes();
        for (index, stage) in flow.stages.iter().enumerate() {
            let named = |state: &&OperatorState| state.identity == stage.identity;
            let Some(state) = contents.operators.iter().find(named) else {
                if some {
                    continue;
                }
                return Err(format!("it has no state of `{}`", stage.words.what));
            };
            restored.stage(index, stage, state, contents.number, &recovered.blobs, shards)?;
        }
        Ok(restored)
    }

    /// What a checkpoint says, without the state of any operator.
    pub(crate) fn numbers(recovered: &Recovered) -> Self {
        let contents = (*recovered.manifest.checkpoint).clone();
        let facts = RestoredFacts {
            manifest: Some(recovered.manifest.id),
            epoch: contents.epoch,
            created_at: recovered.manifest.created_at,
            ..RestoredFacts::default()
        };
        Self { contents: Some(contents), facts, ..Self::default() }
    }

    fn stage(
        &mut self,
        index: usize,
        stage: &StageNode,
        state: &OperatorState,
        number: u64,
        blobs: &VerifiedBytes,
        shards: usize,
    ) -> Result<(), String> {
        let same = state.shards as usize == shards;
        let mut read = Vec::with_capacity(state.parts.len());
        for part in &state.parts {
            let restored = read_part(stage, part, blobs)?;
            self.facts.rows += part.rows;
            if same {
                let key = (index, part.shard as usize, part.id);
                self.kept.restored(key, part, restored.dead.as_ref());
            }
            read.push((part.shard as usize, restored));
        }
        let by_shard = if same {
            let mut by_shard = vec![Vec::new(); shards];
            read.into_iter().for_each(|(shard, part)| by_shard[shard].push(part));
            by_shard
        } else {
            let parts = read.into_iter().map(|(_, part)| part).collect();
            let route = Route::Hash { keys: stage.operator.keys() };
            let routed = reroute(parts, route, shards).map_err(|error| error.to_string())?;
            for (shard, parts) in routed.iter().enumerate() {
                for part in parts {
                    self.kept.rebuilt((index, shard, part.id), part.batches.clone());
                }
            }
            routed
        };
        for (shard, mut parts) in by_shard.into_iter().enumerate() {
            parts.sort_unstable_by_key(|part| part.id);
            let watermark = Watermark(state.watermark);
            self.stages.insert((index, shard), StageStart { number, parts, watermark });
        }
        Ok(())
    }

    /// What a stage instance starts with.
    pub(crate) fn take_stage(&mut self, stage: usize, shard: usize) -> Option<StageStart> {
        self.stages.remove(&(stage, shard))
    }

    /// What a source starts with.
    pub(crate) fn source(&self, table: &str) -> Option<SourceStart> {
        let sources = self.contents.iter().flat_map(|contents| &contents.sources);
        let state: &SourceState = sources.into_iter().find(|state| state.table == table)?;
        Some(SourceStart {
            position: Position { part: state.part.clone(), offset: state.offset },
            watermark: Watermark(state.watermark),
            last_event_time: state.last_event_time,
        })
    }

    /// Where a sink stood.
    pub(crate) fn sink(&self, name: &str) -> Option<&SinkState> {
        let mut sinks = self.contents.iter().flat_map(|contents| &contents.sinks);
        sinks.find(|state| state.sink == name)
    }
}

/// Reads a part, and checks that it is rows of this operator, as many as the manifest says.
fn read_part(
    stage: &StageNode,
    part: &PartState,
    blobs: &VerifiedBytes,
) -> Result<RestoredPart, String> {
    let restored = read_rows(&stage.words.what, part, blobs)?;
    let schema = stage.operator.state_schema().map_err(|error| error.to_string())?;
    let types = |schema: &arrow::datatypes::Schema| -> Vec<_> {
        schema.fields().iter().map(|field| field.data_type().clone()).collect()
    };
    match restored.batches.first() {
        Some(batch) if types(&batch.schema()) != types(&schema) => Err(format!(
            "part {} of `{}` has other columns than this version of Postrider keeps for it",
            part.id, stage.words.what
        )),
        _ => Ok(restored),
    }
}

/// Reads a part of an operator of any program, and checks that it has as many rows as the manifest says.
pub(super) fn read_rows(
    operator: &str,
    part: &PartState,
    blobs: &VerifiedBytes,
) -> Result<RestoredPart, String> {
    let what = || format!("part {} of `{operator}`", part.id);
    let bytes = |blob: &BlobRef| blobs.get(blob).ok_or_else(|| format!("{} is gone", what()));
    let batches =
        codec::decode_rows(&bytes(&part.blob)?).map_err(|e| format!("{}: {e}", what()))?;
    let dead = match &part.dead {
        None => None,
        Some(blob) => {
            let bits = codec::decode_bitmap(&bytes(blob)?);
            Some(bits.ok_or_else(|| format!("{} has a bitmap that is none", what()))?)
        }
    };
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows as u64 != part.rows || dead.as_ref().is_some_and(|dead| dead.len() != rows) {
        return Err(format!("{} has {rows} rows where {} were written", what(), part.rows));
    }
    Ok(RestoredPart { id: part.id, batches, dead })
}
