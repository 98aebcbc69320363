//! The test that an object store can keep two processes apart.

use object_store::PutPayload;

use super::{
    CheckpointError, CheckpointStore,
    names::{PROBES, nonce_text},
    objects::Created,
};

impl CheckpointStore {
    /// Checks that the store honours put-if-absent, on which everything here rests: an object is created
    /// twice, and the second time must be refused.
    ///
    /// # Errors
    /// [`CheckpointError::NoConditionalPut`] if it does not, and [`CheckpointError::Store`] if that could
    /// not be found out.
    pub async fn self_test(&self) -> Result<(), CheckpointError> {
        let name = nonce_text((self.nonces)());
        let tested = self.probe(&name).await;
        let cleaned = self.objects.delete(PROBES, &name).await;
        tested.and(cleaned)
    }

    async fn probe(&self, name: &str) -> Result<(), CheckpointError> {
        let create = || self.objects.create(PROBES, name, PutPayload::from_static(b"probe\n"));
        create().await.map_err(|error| self.unsupported(error))?;
        match create().await? {
            Created::Exists => Ok(()),
            Created::New => Err(CheckpointError::NoConditionalPut {
                store: self.objects.store_name(),
                reason: "it created the same object twice".to_owned(),
            }),
        }
    }

    /// A store that says that it can't is told from one that fails.
    fn unsupported(&self, error: CheckpointError) -> CheckpointError {
        match error {
            CheckpointError::Store {
                source:
                    source @ (object_store::Error::NotSupported { .. }
                    | object_store::Error::NotImplemented { .. }),
                ..
            } => CheckpointError::NoConditionalPut {
                store: self.objects.store_name(),
                reason: source.to_string(),
            },
            error => error,
        }
    }
}
