//! Where a run keeps the checkpoints of its pipelines, and how often it takes them.

use std::{path::Path, sync::Arc};

use object_store::ObjectStore;
use postrider_core::{Clock, Generation, PipelineName};
use postrider_engine::Checkpoints;
use postrider_store::{CheckpointStore, Retention, local_checkpoints};

use crate::outcome::Outcome;

/// Where checkpoints are kept, below the state directory.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// How far the log grows between two checkpoints at most: what a restart reads behind the newest one.
const LOG_BYTES: u64 = 64 << 20;

/// The checkpoints of a run.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointSettings {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// Time between two checkpoints of a pipeline.
    pub(crate) every_ns: i64,
    /// How long they are kept.
    pub(crate) retention: Retention,
    /// The manifest to go on from, instead of the newest.
    pub(crate) restore: Option<u64>,
}

impl CheckpointSettings {
    /// Those below a state directory.
    pub(crate) fn local(state_dir: &Path, every_ns: i64, restore: Option<u64>) -> Outcome<Self> {
        let objects = local_checkpoints(&state_dir.join(CHECKPOINTS))?;
        Ok(Self { objects, every_ns, retention: Retention::default(), restore })
    }

    /// Those of one pipeline, for a process of a generation.
    pub(crate) fn of(
        &self,
        pipeline: &PipelineName,
        generation: Generation,
        wall: &Arc<dyn Clock>,
    ) -> Checkpoints {
        let objects = Arc::clone(&self.objects);
        let nonces = Arc::new(rand::random::<u128>);
        Checkpoints {
            store: CheckpointStore::new(objects, pipeline, generation, Arc::clone(wall), nonces),
            every_ns: self.every_ns,
            log_bytes: LOG_BYTES,
            retention: self.retention,
            restore: self.restore,
        }
    }
}
