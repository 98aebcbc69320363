//! Where a run keeps the checkpoints of its pipelines, and how often it takes them.

mod place;
mod remote;

use std::{ffi::OsString, path::Path, sync::Arc};

use object_store::ObjectStore;
use postrider_core::{Clock, Generation, PipelineName};
use postrider_engine::{Checkpoints, RestoreFrom};
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
    /// How long they are kept.
    pub(crate) retention: Retention,
    /// What to go on from, instead of the newest checkpoint.
    pub(crate) restore: Option<RestoreFrom>,
    /// Whether state is compressed: not for a disk of this machine.
    pub(crate) compress: bool,
    /// Goes on with an edited program even if the log lacks rows that its windows would hold.
    pub(crate) accept_gap: bool,
    /// Fires again for everything that the log has.
    pub(crate) refire: bool,
}

impl CheckpointSettings {
    /// Those below a state directory.
    pub(crate) fn local(state_dir: &Path, every_ns: i64) -> Outcome<Self> {
        Self::at(&Place::Directory(state_dir.join(CHECKPOINTS)), every_ns)
    }

    /// Those at some place. A bucket is set up by the environment.
    pub(crate) fn at(place: &Place, every_ns: i64) -> Outcome<Self> {
        Ok(match place {
            // Not the store that the URL would give: that one does not fsync.
            Place::Directory(dir) => Self::new(local_checkpoints(dir)?, every_ns),
            Place::Bucket(bucket) => {
                let objects = remote::open(bucket, &variables())?;
                let settings = bucket.service.settings();
                Self { settings, compress: true, ..Self::new(objects, every_ns) }
            }
        })
    }

    /// Those in an object store.
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, every_ns: i64) -> Self {
        Self {
            objects,
            settings: "",
            every_ns,
            retention: Retention::default(),
            restore: None,
            compress: false,
            accept_gap: false,
            refire: false,
        }
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
            compress: self.compress,
            retention: self.retention,
            restore: self.restore.clone(),
            accept_gap: self.accept_gap,
            refire: self.refire,
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
