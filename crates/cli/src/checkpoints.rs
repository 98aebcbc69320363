//! Where a run keeps the checkpoints of its pipelines, and how often it takes them.

mod place;
mod remote;

use std::{ffi::OsString, path::Path, sync::Arc};

use object_store::ObjectStore;
use postrider_core::{Clock, Generation, PipelineName};
use postrider_engine::Checkpoints;
use postrider_store::{CheckpointStore, Retention, local_checkpoints};

use crate::outcome::Outcome;

pub(crate) use place::Place;

/// Where checkpoints are kept, below the state directory.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// How far the log grows between two checkpoints at most: what a restart reads behind the newest one.
const LOG_BYTES: u64 = 64 << 20;

/// The checkpoints of a run.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointSettings {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// How access to them is set up; empty for a directory.
    pub(crate) settings: &'static str,
    /// Time between two checkpoints of a pipeline.
    pub(crate) every_ns: i64,
    /// The manifest to go on from, instead of the newest.
    pub(crate) restore: Option<u64>,
}

impl CheckpointSettings {
    /// Those below a state directory.
    pub(crate) fn local(state_dir: &Path, every_ns: i64, restore: Option<u64>) -> Outcome<Self> {
        Self::at(&Place::Directory(state_dir.join(CHECKPOINTS)), every_ns, restore)
    }

    /// Those at some place. A bucket is set up by the environment.
    pub(crate) fn at(place: &Place, every_ns: i64, restore: Option<u64>) -> Outcome<Self> {
        let (objects, settings) = match place {
            // Not the store that the URL would give: that one does not fsync.
            Place::Directory(dir) => (local_checkpoints(dir)?, ""),
            Place::Bucket(bucket) => {
                (remote::open(bucket, &variables())?, bucket.service.settings())
            }
        };
        Ok(Self { objects, settings, every_ns, restore })
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
            retention: Retention::default(),
            restore: self.restore,
        }
    }
}

/// The environment, as far as it is text.
fn variables() -> remote::Variables {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
