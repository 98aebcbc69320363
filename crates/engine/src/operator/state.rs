//! State on its way to a checkpoint and back: parts of Arrow rows.
//!
//! A *part* is what an operator instance wrote at one snapshot: rows that never change, and perhaps a bitmap of those
//! that no longer count. Its first columns are the key, so that rows find their shard again by the same hash that
//! brought them there, whatever the number of shards is by then.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch, UInt32Array},
    buffer::BooleanBuffer,
    compute::take_record_batch,
};
use datafusion::common::Result;

use super::deferred::Deferred;
use crate::exchange::{Route, rows_by_route};

/// The whole state of an operator instance at a snapshot, as the list of its parts.
#[derive(Debug, Default)]
pub(crate) struct StateSnapshot {
    /// Every part that the state consists of, ascending by id.
    pub(crate) parts: Vec<StatePart>,
}

/// One part, as a snapshot lists it.
#[derive(Debug)]
pub(crate) struct StatePart {
    /// Its number within the operator instance: that of the snapshot which made it. Never used again for other rows.
    pub(crate) id: u64,
    /// The rows, the first time it is listed. Making them costs more than the flow should stop for.
    pub(crate) new: Option<Deferred<Vec<RecordBatch>>>,
    /// Which rows no longer count, if there are such.
    pub(crate) dead: Option<BooleanBuffer>,
}

/// A part that was read back.
#[derive(Debug, Clone)]
pub(crate) struct RestoredPart {
    /// Its number, as it was written.
    pub(crate) id: u64,
    /// Its rows, in the batches in which they were written.
    pub(crate) batches: Vec<RecordBatch>,
    /// Which rows no longer count.
    pub(crate) dead: Option<BooleanBuffer>,
}

impl RestoredPart {
    /// The rows that count, without the bitmap.
    fn live(self) -> Result<Self> {
        let Some(dead) = self.dead else { return Ok(self) };
        let mut batches = Vec::with_capacity(self.batches.len());
        let mut from = 0;
        for batch in self.batches {
            let dead = dead.slice(from, batch.num_rows());
            from += batch.num_rows();
            let alive = (0..batch.num_rows() as u32).filter(|&row| !dead.value(row as usize));
            let alive = UInt32Array::from_iter_values(alive);
            if !alive.is_empty() {
                batches.push(take_record_batch(&batch, &alive)?);
            }
        }
        Ok(Self { id: self.id, batches, dead: None })
    }
}

/// Gives the parts of all old instances to `shards` new ones: each row goes where the exchange sends its key. Parts of one
/// number become one. Rows that no longer count are left behind.
pub(crate) fn reroute(
    parts: Vec<RestoredPart>,
    route: Route,
    shards: usize,
) -> Result<Vec<Vec<RestoredPart>>> {
    let mut by_shard: Vec<Vec<RestoredPart>> = vec![Vec::new(); shards];
    for part in parts {
        let part = part.live()?;
        for batch in part.batches {
            let rows = rows_by_route(&batch, route, shards)?;
            for (shard, rows) in rows.into_iter().enumerate() {
                if rows.is_empty() {
                    continue;
                }
                let batch = take_record_batch(&batch, &UInt32Array::from(rows))?;
                let own = &mut by_shard[shard];
                match own.iter_mut().find(|own| own.id == part.id) {
                    Some(own) => own.batches.push(batch),
                    None => {
                        own.push(RestoredPart { id: part.id, batches: vec![batch], dead: None });
                    }
                }
            }
        }
    }
    for parts in &mut by_shard {
        parts.sort_unstable_by_key(|part| part.id);
    }
    Ok(by_shard)
}

/// The bytes of some columns; what they share with others is counted again.
pub(crate) fn column_bytes<'a>(columns: impl IntoIterator<Item = &'a Arc<dyn Array>>) -> usize {
    columns.into_iter().map(|column| column.get_array_memory_size()).sum()
}

/// Snapshots whose parts are merged together, at each level.
const SNAPSHOTS_PER_LEVEL: u64 = 4;

/// Every so many snapshots all parts are merged into one, a power of [`SNAPSHOTS_PER_LEVEL`]. Of a key that changes all the time each
/// level keeps a row in each of its parts, so the number of levels bounds how much more memory is taken than the state needs.
const SNAPSHOTS_PER_WHOLE: u64 = 64;

/// The snapshot behind which every part is merged into that of snapshot `number`: every fourth merges the last four, every
/// sixteenth the last sixteen, every 64th all there is. So there are few parts however long rows
/// live, and where states are merged depends on `number` alone.
pub(crate) fn merged_from(number: u64) -> u64 {
    if number.is_multiple_of(SNAPSHOTS_PER_WHOLE) {
        return 0;
    }
    let mut span = 1_u64;
    while number.is_multiple_of(span.saturating_mul(SNAPSHOTS_PER_LEVEL)) {
        span = span.saturating_mul(SNAPSHOTS_PER_LEVEL);
    }
    number.saturating_sub(span)
}

#[cfg(test)]
mod tests {
    use super::merged_from;

    #[test]
    fn every_fourth_snapshot_merges_four_every_sixteenth_sixteen_and_some_merge_all() {
        let from: Vec<_> = (1..=17).map(merged_from).collect();
        assert_eq!(from, [0, 1, 2, 0, 4, 5, 6, 4, 8, 9, 10, 8, 12, 13, 14, 0, 16]);
        assert_eq!([64, 80, 128].map(merged_from), [0, 64, 0]);
    }
}
