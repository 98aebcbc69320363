//! What came to one side of a join in an epoch.

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::SchemaRef,
};
use datafusion::common::{
    Result,
    hash_utils::{RandomState, create_hashes},
};
use hashbrown::HashTable;
use postrider_core::Batch;

use super::UpdatingJoinSpec;
use crate::{
    chain::new_batch,
    changes::{TAKES_BACK, kinds_of},
    operator::{
        keys::{KeyEncoder, Keys},
        state::column_bytes,
    },
};

/// Apart from the seed of the exchange, so that the keys of a shard fill its table evenly.
const TABLE_SEED: u64 = 0x7570_6461_7469_6e67;

/// Rows of the current epoch as they came, with their kinds if they have such.
#[derive(Debug, Default)]
pub(super) struct Arrived(Vec<Batch>);

/// Rows that came, and how often: each once if equal rows are counted.
pub(super) struct Came {
    /// Without kinds.
    pub(super) rows: RecordBatch,
    pub(super) times: Vec<i64>,
    /// How often each came, less how often it was taken back. Never zero.
    pub(super) counts: Vec<i64>,
    /// The hash of each key; `None` for one that equals nothing.
    pub(super) hashes: Vec<Option<u64>>,
    /// The rows as bytes, and where each of them is in there, if they are counted.
    pub(super) encoded: Option<(Keys, Vec<u32>)>,
}

impl Arrived {
    pub(super) fn push(&mut self, batch: &Batch) {
        self.0.push(batch.clone());
    }

    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|batch| column_bytes(batch.rows.columns())).sum()
    }

    /// Ends the epoch.
    pub(super) fn close(
        &mut self,
        spec: &UpdatingJoinSpec,
        side: usize,
        encoder: &KeyEncoder,
    ) -> Result<Option<Came>> {
        let batches = std::mem::take(&mut self.0);
        let Some(first) = batches.first() else { return Ok(None) };
        let all = concat_batches(&first.rows.schema(), batches.iter().map(|batch| &batch.rows))?;
        let times: Vec<i64> =
            batches.iter().flat_map(|batch| batch.times.values().iter().copied()).collect();
        let signs = spec.takes_back[side].then(|| signs(all.column(all.num_columns() - 1)));
        let rows = without_kinds(&all, &spec.inputs[side])?;
        let came = if spec.is_counted(side) {
            counted(&rows, &times, signs.as_deref(), encoder)?
        } else {
            let counts = vec![1; rows.num_rows()];
            Came { rows, times, counts, hashes: Vec::new(), encoded: None }
        };
        let hashes = spec.hashes(&came.rows)?;
        Ok(Some(Came { hashes, ..came }))
    }
}

/// One for each row that is added, minus one for each that is taken back.
fn signs(kinds: &ArrayRef) -> Vec<i64> {
    let kinds = kinds_of(kinds).values().iter();
    kinds.map(|kind| if kind & TAKES_BACK == TAKES_BACK { -1 } else { 1 }).collect()
}

fn without_kinds(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = rows.columns()[..schema.fields().len()].to_vec();
    new_batch(schema, columns, rows.num_rows())
}

/// Equal rows as one. Those that came as often as they were taken back are left out.
fn counted(
    rows: &RecordBatch,
    times: &[i64],
    signs: Option<&[i64]>,
    encoder: &KeyEncoder,
) -> Result<Came> {
    let keys = encoder.encode(rows.columns(), rows.num_rows())?;
    let mut table: HashTable<u32> = HashTable::new();
    let (mut firsts, mut hashes) = (Vec::<u32>::new(), Vec::new());
    let (mut counts, mut since) = (Vec::<i64>::new(), Vec::<i64>::new());
    for (row, &time) in times.iter().enumerate() {
        let key = keys.key(row);
        let is_it = |of: &u32| keys.row(firsts[*of as usize] as usize) == key.row;
        let at = match table.find(key.hash, is_it) {
            Some(at) => *at as usize,
            None => {
                table.insert_unique(key.hash, firsts.len() as u32, |of| hashes[*of as usize]);
                firsts.push(row as u32);
                hashes.push(key.hash);
                counts.push(0);
                since.push(time);
                firsts.len() - 1
            }
        };
        counts[at] += signs.map_or(1, |signs| signs[row]);
        since[at] = since[at].min(time);
    }
    let left: Vec<usize> = (0..counts.len()).filter(|at| counts[*at] != 0).collect();
    let firsts: Vec<u32> = left.iter().map(|at| firsts[*at]).collect();
    Ok(Came {
        rows: take_record_batch(rows, &UInt32Array::from(firsts.clone()))?,
        times: left.iter().map(|at| since[*at]).collect(),
        counts: left.iter().map(|at| counts[*at]).collect(),
        hashes: Vec::new(),
        encoded: Some((keys, firsts)),
    })
}

impl UpdatingJoinSpec {
    /// The hash of each row's key; `None` for a key that equals nothing, because it has a NULL.
    pub(super) fn hashes(&self, rows: &RecordBatch) -> Result<Vec<Option<u64>>> {
        let keys = &rows.columns()[..self.keys];
        let mut hashes = vec![0; rows.num_rows()];
        create_hashes(keys, &RandomState::with_seed(TABLE_SEED), &mut hashes)?;
        let nulls = keys.iter().any(|key| key.null_count() > 0) && !self.null_equals_null;
        let is_null = |row: usize| nulls && keys.iter().any(|key| key.is_null(row));
        let hash = |(row, hash): (usize, u64)| (!is_null(row)).then_some(hash);
        Ok(hashes.into_iter().enumerate().map(hash).collect())
    }
}
