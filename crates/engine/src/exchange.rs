//! The exchange: which shard of the next stage owns a row.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{concat, concat_batches, take},
    datatypes::TimestampNanosecondType,
    row::{RowConverter, SortField},
};
use datafusion::common::{
    Result, exec_err,
    hash_utils::{RandomState, create_hashes},
};
use postrider_core::Batch;

use crate::chain::new_batch;

/// Keeps the exchange apart from the hash tables behind it: with one seed for both, all keys of a
/// shard would share their low bits.
const EXCHANGE_SEED: u64 = 0x706f_7374_7269_6465;

/// Where the rows of an output go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// All to the first shard.
    First,
    /// By the hash of the first `keys` columns.
    Hash {
        /// How many columns are the key.
        keys: usize,
    },
}

/// Splits a batch into at most one batch a shard, in shard order, keeping the order of rows.
/// Equal keys always meet on the same shard.
pub(crate) fn split(batch: &Batch, route: Route, shards: usize) -> Result<Vec<Option<Batch>>> {
    let mut parts = vec![None; shards];
    let keys = match route {
        Route::Hash { keys } if keys > 0 && shards > 1 => keys,
        _ => {
            if let Some(first) = parts.first_mut() {
                *first = Some(batch.clone());
            }
            return Ok(parts);
        }
    };
    for (shard, rows) in
        rows_by_shard(&batch.rows.columns()[..keys], batch.rows.num_rows(), shards)?
            .into_iter()
            .enumerate()
    {
        if rows.len() == batch.rows.num_rows() {
            parts[shard] = Some(batch.clone());
        } else if !rows.is_empty() {
            parts[shard] = Some(pick(batch, &UInt32Array::from(rows))?);
        }
    }
    Ok(parts)
}

/// The rows of a batch that each shard owns, in order. As [`split`], for rows that have no times.
pub(crate) fn rows_by_route(
    rows: &RecordBatch,
    route: Route,
    shards: usize,
) -> Result<Vec<Vec<u32>>> {
    match route {
        Route::Hash { keys } if keys > 0 && shards > 1 => {
            rows_by_shard(&rows.columns()[..keys], rows.num_rows(), shards)
        }
        _ => {
            let mut all = vec![Vec::new(); shards];
            if let Some(first) = all.first_mut() {
                *first = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX)).collect();
            }
            Ok(all)
        }
    }
}

fn rows_by_shard(keys: &[ArrayRef], rows: usize, shards: usize) -> Result<Vec<Vec<u32>>> {
    let mut hashes = vec![0; rows];
    create_hashes(keys, &RandomState::with_seed(EXCHANGE_SEED), &mut hashes)?;
    let mut by_shard = vec![Vec::with_capacity(rows / shards + 16); shards];
    for (row, hash) in (0_u32..).zip(&hashes) {
        // Multiply-shift maps the upper bits evenly onto any number of shards.
        let shard = ((u128::from(*hash) * shards as u128) >> 64) as usize;
        by_shard[shard].push(row);
    }
    Ok(by_shard)
}

/// All rows of some batches of one schema in an order that depends on the rows alone: by time, then by their columns. Equal
/// rows are interchangeable.
pub(crate) fn in_order(batches: &[Batch]) -> Result<Batch> {
    let Some(first) = batches.first() else { return exec_err!("no batch to put in order") };
    let rows = concat_batches(&first.rows.schema(), batches.iter().map(|batch| &batch.rows))?;
    let times: Vec<&dyn Array> = batches.iter().map(|batch| &batch.times as &dyn Array).collect();
    let times = concat(&times)?;
    let columns: Vec<_> = [times.clone()].into_iter().chain(rows.columns().to_vec()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let sortable = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
    let mut order: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap_or(u32::MAX)).collect();
    order.sort_by(|&a, &b| sortable.row(a as usize).cmp(&sortable.row(b as usize)));
    let times = times.as_primitive::<TimestampNanosecondType>().clone();
    pick(&Batch { rows, times }, &UInt32Array::from(order))
}

/// The given rows of a batch.
pub(crate) fn pick(batch: &Batch, rows: &UInt32Array) -> Result<Batch> {
    let columns = batch.rows.columns().iter().map(|column| take(column, rows, None));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    // There may be no column: a window of which only the bounds are asked for.
    let picked = new_batch(&batch.rows.schema(), columns, rows.len())?;
    let times = take(&batch.times, rows, None)?;
    Ok(Batch { rows: picked, times: times.as_primitive::<TimestampNanosecondType>().clone() })
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use arrow::{
        array::{AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray},
        datatypes::Int64Type,
    };
    use postrider_core::Batch;

    use super::{Route, split};

    #[test]
    fn every_row_arrives_once_and_equal_keys_meet() {
        let keys: Vec<_> = (0..1000).map(|n| format!("customer-{}", n % 37)).collect();
        let rows = RecordBatch::try_from_iter([
            ("k", Arc::new(StringArray::from(keys.clone())) as _),
            ("n", Arc::new(Int64Array::from_iter_values(0..1000)) as _),
        ])
        .unwrap();
        let times = TimestampNanosecondArray::from_iter_values(0..1000);
        let parts = split(&Batch { rows, times }, Route::Hash { keys: 1 }, 3).unwrap();
        let mut owner = HashMap::new();
        let mut seen = 0;
        for (shard, part) in parts.iter().enumerate() {
            let part = part.as_ref().unwrap();
            let numbers = part.rows.column(1).as_primitive::<Int64Type>();
            assert!(numbers.values().is_sorted());
            assert_eq!(part.times.values(), numbers.values());
            for &n in numbers.values() {
                seen += 1;
                assert_eq!(*owner.entry(&keys[n as usize]).or_insert(shard), shard);
            }
        }
        assert_eq!(seen, 1000);
    }
}
