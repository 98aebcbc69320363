//! State files: the blobs of one checkpoint, written as few objects.

use bytes::Bytes;
use object_store::PutPayload;

use super::{
    BlobRef, CheckpointError, NonceSource,
    names::{STATE, state_name},
    objects::{Created, Objects, damaged},
};
use crate::{
    failpoint::{self, Failpoint},
    limits::STATE_FILE_BYTES,
};

/// Collects the blobs of a checkpoint, then writes them.
///
/// Blobs go into one file in the order they come in, or into several of at most 64 MiB; each is whole in
/// one file, and a blob that is larger has a file of its own. Nothing is written before
/// [`finish`](Self::finish); without it, the references that were handed out lead nowhere.
pub struct StateFileWriter {
    objects: Objects,
    nonces: NonceSource,
    epoch: u64,
    files: Vec<StateFile>,
}

struct StateFile {
    name: String,
    blobs: Vec<Bytes>,
    bytes: u64,
    crc32c: u32,
}

impl StateFileWriter {
    pub(super) const fn new(objects: Objects, nonces: NonceSource, epoch: u64) -> Self {
        Self { objects, nonces, epoch, files: Vec::new() }
    }

    /// Adds a blob, and says where it will be.
    pub fn add(&mut self, blob: Bytes) -> BlobRef {
        let bytes = blob.len() as u64;
        let mut file = match self.files.pop() {
            Some(file) if file.bytes + bytes <= STATE_FILE_BYTES => file,
            full => {
                self.files.extend(full);
                StateFile::new(state_name(self.epoch, (self.nonces)()))
            }
        };
        let crc32c = crc32c::crc32c(&blob);
        let added = BlobRef { file: file.name.clone(), offset: file.bytes, bytes, crc32c };
        file.push(blob, crc32c);
        self.files.push(file);
        added
    }

    /// Writes the files, durably, and returns how many bytes they have together.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the object store refuses. The checkpoint is then given up; what was
    /// written of it is collected as garbage later.
    pub async fn finish(self) -> Result<u64, CheckpointError> {
        let mut bytes = 0;
        for file in self.files {
            bytes += file.bytes;
            file.write(&self.objects).await?;
        }
        failpoint::pass(Failpoint::StateWritten);
        Ok(bytes)
    }
}

impl StateFile {
    const fn new(name: String) -> Self {
        Self { name, blobs: Vec::new(), bytes: 0, crc32c: 0 }
    }

    fn push(&mut self, blob: Bytes, crc32c: u32) {
        self.bytes += blob.len() as u64;
        self.crc32c = crc32c::crc32c_combine(self.crc32c, crc32c, blob.len());
        self.blobs.push(blob);
    }

    async fn write(self, objects: &Objects) -> Result<(), CheckpointError> {
        let payload = PutPayload::from_iter(self.blobs);
        match objects.create(STATE, &self.name, payload).await? {
            Created::New => Ok(()),
            // The name is random, so it is this file, and the answer to the first try was lost.
            Created::Exists => {
                let found = objects.read(STATE, &self.name, self.bytes).await?;
                if found.len() as u64 == self.bytes && crc32c::crc32c(&found) == self.crc32c {
                    return Ok(());
                }
                let reason = "somebody else wrote it".to_owned();
                Err(damaged(&objects.path(STATE, &self.name), reason))
            }
        }
    }
}
