//! The parts of all operators: which of them are in the store already, and the rows of the others.

use std::collections::HashMap;

use arrow::{array::RecordBatch, buffer::BooleanBuffer};

use datafusion::common::Result;
use postrider_store::{BlobRef, CheckpointError, PartState, StateFileWriter};

use super::{StageSnapshot, codec};

/// Names a part: the stage, the shard, and the part's number within the operator.
pub(crate) type PartKey = (usize, usize, u64);

/// Where the rows of a part are.
#[derive(Debug)]
enum Rows {
    /// To be written by the next checkpoint.
    Waiting(Vec<RecordBatch>),
    /// In the store, in a committed checkpoint.
    Written(BlobRef),
}

#[derive(Debug)]
struct KeptPart {
    count: u64,
    rows: Rows,
    /// Rows that no longer count.
    dead: Option<BooleanBuffer>,
    /// The bitmap that is in the store, and how many rows it marks.
    dead_written: Option<(usize, BlobRef)>,
}

/// Every part that the operators listed last.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Whether what is written is compressed.
    pub(crate) compress: bool,
    parts: HashMap<PartKey, KeptPart>,
}

impl Kept {
    /// Takes over a part that was restored from the store unchanged.
    pub(crate) fn restored(
        &mut self,
        key: PartKey,
        part: &PartState,
        dead: Option<&BooleanBuffer>,
    ) {
        let marks = dead.map_or(0, BooleanBuffer::count_set_bits);
        self.parts.insert(
            key,
            KeptPart {
                count: part.rows,
                rows: Rows::Written(part.blob.clone()),
                dead: dead.cloned(),
                dead_written: part.dead.clone().map(|blob| (marks, blob)),
            },
        );
    }

    /// Takes over a part whose rows were put together anew.
    pub(crate) fn rebuilt(&mut self, key: PartKey, batches: Vec<RecordBatch>) {
        let count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let rows = Rows::Waiting(batches);
        self.parts.insert(key, KeptPart { count, rows, dead: None, dead_written: None });
    }

    /// Takes over what a stage instance listed; forgets what it no longer lists.
    ///
    /// Does the work that the operator left for rows that are new.
    ///
    /// # Errors
    /// When rows can't be computed. Then what is kept is not the whole state any more.
    pub(crate) fn take(&mut self, listed: StageSnapshot) -> Result<()> {
        let of_instance = (listed.stage, listed.shard);
        let parts = listed.handed.snapshot.parts;
        self.parts.retain(|&(stage, shard, id), _| {
            (stage, shard) != of_instance || parts.binary_search_by_key(&id, |part| part.id).is_ok()
        });
        for part in parts {
            let key = (listed.stage, listed.shard, part.id);
            if let Some(new) = &part.new {
                self.rebuilt(key, new.get()?.clone());
            }
            if let Some(kept) = self.parts.get_mut(&key) {
                debug_assert!(
                    part.dead.as_ref().is_none_or(|dead| dead.len() as u64 == kept.count)
                );
                kept.dead = part.dead;
            }
        }
        Ok(())
    }

    /// Lists the parts of a stage; what is not in the store yet goes to the writer.
    pub(super) fn encode(
        &self,
        stage: usize,
        writer: &mut StateFileWriter,
    ) -> Result<Vec<PartState>, CheckpointError> {
        let mut keys: Vec<_> = self.parts.keys().filter(|key| key.0 == stage).copied().collect();
        keys.sort_unstable();
        let mut parts = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(kept) = self.parts.get(&key) else { continue };
            let (_, shard, id) = key;
            parts.push(PartState {
                id,
                shard: shard as u32,
                rows: kept.count,
                dead: kept.dead_blob(writer),
                blob: kept.blob(writer, self.compress)?,
            });
        }
        Ok(parts)
    }

    /// What was listed is in the store now.
    pub(super) fn committed(&mut self, stages: &[Vec<PartState>]) {
        for (stage, parts) in stages.iter().enumerate() {
            for part in parts {
                let key = (stage, part.shard as usize, part.id);
                if let Some(kept) = self.parts.get_mut(&key) {
                    let marks = kept.dead.as_ref().map_or(0, BooleanBuffer::count_set_bits);
                    kept.rows = Rows::Written(part.blob.clone());
                    kept.dead_written = part.dead.clone().map(|blob| (marks, blob));
                }
            }
        }
    }
}

impl KeptPart {
    fn blob(
        &self,
        writer: &mut StateFileWriter,
        compress: bool,
    ) -> Result<BlobRef, CheckpointError> {
        match &self.rows {
            Rows::Written(blob) => Ok(blob.clone()),
            Rows::Waiting(batches) => {
                let encoded = codec::encode_rows(batches, compress);
                let bytes = encoded.map_err(|error| CheckpointError::Inconsistent {
                    reason: format!("its rows can't be encoded: {error}"),
                })?;
                Ok(writer.add(bytes))
            }
        }
    }

    fn dead_blob(&self, writer: &mut StateFileWriter) -> Option<BlobRef> {
        let dead = self.dead.as_ref()?;
        match &self.dead_written {
            // Rows only ever die, so an equal count is an equal bitmap.
            Some((marks, blob)) if *marks == dead.count_set_bits() => Some(blob.clone()),
            _ => Some(writer.add(codec::encode_bitmap(dead))),
        }
    }
}
