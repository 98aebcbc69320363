//! The edge: the objects of one pipeline, in folders, with errors that name them.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path};

use super::CheckpointError;

/// The folders of a pipeline in an object store. Clones share the store.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Changes when another object takes the name; `None` if the store does not tell.
    pub(super) tag: Option<String>,
}

/// What became of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// The object is there now.
    New,
    /// There was one of that name. It may be this very one, if the answer to the first try was lost.
    Exists,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, pipeline: &str) -> Self {
        Self { store, root: Path::from_iter([pipeline]) }
    }

    /// What the store calls itself.
    pub(super) fn store_name(&self) -> String {
        self.store.to_string()
    }

    /// The full name of an object.
    pub(super) fn path(&self, folder: &str, name: &str) -> Path {
        self.root.clone().join(folder).join(name)
    }

    /// The objects in a folder, in no order.
    pub(super) async fn list(&self, folder: &'static str) -> Result<Vec<Listed>, CheckpointError> {
        let folder = self.root.clone().join(folder);
        let found: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| refused("list", &folder, source))?;
        let direct = found.iter().filter(|object| object.location.parent() == Some(folder.clone()));
        let listed = direct.filter_map(|object| {
            let name = object.location.filename()?.to_owned();
            Some(Listed { name, bytes: object.size, tag: object.e_tag.clone() })
        });
        Ok(listed.collect())
    }

    /// Writes an object that is not there yet.
    pub(super) async fn create(
        &self,
        folder: &str,
        name: &str,
        payload: PutPayload,
    ) -> Result<Created, CheckpointError> {
        let path = self.path(folder, name);
        match self.store.put_opts(&path, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(source) => Err(refused("write", &path, source)),
        }
    }

    /// Reads a whole object, unless it is larger than `bytes_max`.
    pub(super) async fn read(
        &self,
        folder: &str,
        name: &str,
        bytes_max: u64,
    ) -> Result<Bytes, CheckpointError> {
        let path = self.path(folder, name);
        let found = self.store.get(&path).await.map_err(|source| failed("read", &path, source))?;
        let bytes = found.meta.size;
        if bytes > bytes_max {
            return Err(damaged(&path, format!("it has {bytes} bytes, more than {bytes_max}")));
        }
        found.bytes().await.map_err(|source| failed("read", &path, source))
    }

    /// The size of an object in bytes.
    pub(super) async fn size(&self, folder: &str, name: &str) -> Result<u64, CheckpointError> {
        let path = self.path(folder, name);
        let meta = self.store.head(&path).await.map_err(|source| failed("read", &path, source))?;
        Ok(meta.size)
    }

    /// Reads a range, which must not be empty. What comes may be shorter.
    pub(super) async fn read_range(
        &self,
        folder: &str,
        name: &str,
        range: Range<u64>,
    ) -> Result<Bytes, CheckpointError> {
        let path = self.path(folder, name);
        self.store.get_range(&path, range).await.map_err(|source| failed("read", &path, source))
    }

    /// Deletes an object, which may be gone already.
    pub(super) async fn delete(&self, folder: &str, name: &str) -> Result<(), CheckpointError> {
        self.delete_all(folder, [name]).await
    }

    /// Deletes objects in any order, which may be gone already. Goes on after an error, and reports the
    /// first.
    pub(super) async fn delete_all(
        &self,
        folder: &str,
        names: impl IntoIterator<Item = &str>,
    ) -> Result<(), CheckpointError> {
        let paths: Vec<_> = names.into_iter().map(|name| Ok(self.path(folder, name))).collect();
        let mut deleted = self.store.delete_stream(stream::iter(paths).boxed());
        let mut first_error = Ok(());
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) if first_error.is_ok() => {
                    let folder = self.root.clone().join(folder);
                    first_error = Err(refused("delete objects in", &folder, source));
                }
                Err(_) => {}
            }
        }
        first_error
    }
}

/// What an error of the store means: an object that is named somewhere and missing is damage.
fn failed(operation: &'static str, path: &Path, source: object_store::Error) -> CheckpointError {
    match source {
        object_store::Error::NotFound { .. } => damaged(path, "it is missing".to_owned()),
        source => refused(operation, path, source),
    }
}

/// The same where no object has to be there: what is missing is the bucket.
fn refused(operation: &'static str, path: &Path, source: object_store::Error) -> CheckpointError {
    CheckpointError::Store { operation, path: path.to_string(), source }
}

pub(super) fn damaged(path: &Path, reason: String) -> CheckpointError {
    CheckpointError::Damaged { path: path.to_string(), reason }
}
