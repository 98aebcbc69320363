//! Checkpoints: durable copies of a pipeline's operator state in an object store.
//!
//! Owns: the layout of a pipeline's objects, the manifest, its commit by put-if-absent, recovery from the
//! newest checkpoint that is whole, and garbage collection. Does not own: what the bytes of a part mean,
//! when a checkpoint is taken, and how often garbage is collected (`engine`).
//!
//! Nouns: *manifest* (a numbered object that says what a checkpoint holds), *part* (rows of one shard of an
//! operator), *blob* (the bytes of a part), *state file* (an object with blobs of one checkpoint), *boundary*
//! (the number up to which manifests were given up), *base* (the manifest a process restored or wrote last).
//!
//! ```text
//! <pipeline>/manifest/<id>.json               20 digits; created, never changed
//! <pipeline>/state/<epoch>-<nonce>.state      later checkpoints go on referring to it
//! <pipeline>/savepoint/<name>.json            the text of a manifest, kept until it is forgotten
//! <pipeline>/gc/<boundary>                    empty; the greatest one counts
//! ```
//!
//! Invariants:
//! - Objects are created and deleted, never changed, so any store with put-if-absent will do.
//! - A manifest is written after the files it refers to; what it refers to is there as long as it is
//!   retained, or a savepoint.
//! - A checkpoint without the position of a source can't be written.
//! - Every byte that is read is checked against a checksum. A damaged checkpoint is passed over and
//!   reported, and an error of the store is never taken for one.
//! - A process that was succeeded by another commits nothing any more.
//! - A checkpoint is restored on the log that it was taken of, and on no other: it says which one that is.
//!
//! Flow: 1. [`CheckpointStore::self_test`]  2. [`CheckpointStore::take_over`]; then again and again
//! 3. [`CheckpointStore::writer`] takes blobs and writes them  4. [`CheckpointStore::commit`]
//! 5. [`CheckpointStore::collect_garbage`].

mod collect;
mod commit;
mod contents;
mod error;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod faulty;
mod fit;
mod garbage;
mod lineage;
mod local;
mod manifest;
mod names;
mod objects;
mod pipelines;
mod probe;
mod recover;
mod savepoint;
mod spans;
mod take_over;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::ObjectStore;
use postrider_core::{Clock, Generation, PipelineName};

use lineage::Lineage;
use objects::Objects;

pub use collect::{Collected, ReadsFrom};
pub use contents::{
    BlobRef, Checkpoint, CheckpointContents, OperatorState, PartState, SinkState, SourceState,
};
pub use error::CheckpointError;
pub use fit::{LogSpan, Misfit};
pub use garbage::Retention;
pub use local::{existing_checkpoints, local_checkpoints};
pub use manifest::Manifest;
pub use pipelines::checkpointed_pipelines;
pub use recover::{Recovered, Recovery, VerifiedBytes};
pub use writer::StateFileWriter;

/// Gives random numbers that no other process ever gets: names and nonces are made of them.
pub type NonceSource = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The checkpoints of one pipeline.
pub struct CheckpointStore {
    objects: Objects,
    pipeline: String,
    generation: Generation,
    clock: Arc<dyn Clock>,
    nonces: NonceSource,
    lineage: Mutex<Lineage>,
}

impl CheckpointStore {
    /// The checkpoints of a pipeline in an object store, for a process of a generation. Nothing is read or
    /// written yet.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        pipeline: &PipelineName,
        generation: Generation,
        clock: Arc<dyn Clock>,
        nonces: NonceSource,
    ) -> Self {
        Self {
            objects: Objects::new(store, &pipeline.0),
            pipeline: pipeline.0.clone(),
            generation,
            clock,
            nonces,
            lineage: Mutex::default(),
        }
    }

    /// Starts the state files of a checkpoint at an epoch.
    pub fn writer(&self, epoch: u64) -> StateFileWriter {
        StateFileWriter::new(self.objects.clone(), Arc::clone(&self.nonces), epoch)
    }

    fn lineage(&self) -> MutexGuard<'_, Lineage> {
        self.lineage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
