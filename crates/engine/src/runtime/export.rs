//! The rows of a checkpoint, for people and other programs.

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use postrider_store::{OperatorState, VerifiedBytes};

use super::restore::read_rows;

/// The rows of an operator that count, in the order of its parts. Rows of one key may be in several: each holds what was added
/// between two checkpoints. The first columns are the key.
///
/// # Errors
/// What is wrong with the checkpoint, for people.
pub fn live_rows(
    operator: &OperatorState,
    blobs: &VerifiedBytes,
) -> Result<Vec<RecordBatch>, String> {
    let mut live = Vec::new();
    for part in &operator.parts {
        let part = read_rows(&operator.name, part, blobs)?;
        let mut from = 0;
        for batch in part.batches {
            let rows = batch.num_rows();
            let batch = match &part.dead {
                None => batch,
                Some(dead) => {
                    let alive = BooleanArray::new(!&dead.slice(from, rows), None);
                    filter_record_batch(&batch, &alive).map_err(|error| error.to_string())?
                }
            };
            from += rows;
            live.extend(Some(batch).filter(|batch| batch.num_rows() > 0));
        }
    }
    Ok(live)
}
