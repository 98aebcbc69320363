//! Which pipelines have checkpoints in a store.

use object_store::ObjectStore;
use postrider_core::PipelineName;

use super::CheckpointError;

/// The pipelines that have objects in a store, in the order of their names.
///
/// # Errors
/// [`CheckpointError::Store`] when the object store refuses.
pub async fn checkpointed_pipelines(
    store: &dyn ObjectStore,
) -> Result<Vec<PipelineName>, CheckpointError> {
    let failed =
        |source| CheckpointError::Store { operation: "list", path: "/".to_owned(), source };
    let listed = store.list_with_delimiter(None).await.map_err(failed)?;
    let folders = listed.common_prefixes.iter().filter_map(|folder| folder.filename());
    let mut names: Vec<_> = folders.map(decoded).collect();
    names.sort_unstable();
    Ok(names.into_iter().map(PipelineName).collect())
}

/// The name of a folder without its percent-encoding.
fn decoded(folder: &str) -> String {
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
