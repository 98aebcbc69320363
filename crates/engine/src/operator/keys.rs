//! Keys as bytes that can be compared and hashed. NULL equals NULL.

use std::{hash::BuildHasher, sync::Arc};

use arrow::{
    array::ArrayRef,
    datatypes::Fields,
    row::{Row, RowConverter, Rows, SortField},
};
use datafusion::common::{DataFusionError, Result, hash_utils::RandomState};

/// Encodes the key columns of one operator.
pub(super) struct KeyEncoder(Arc<RowConverter>);

/// The encoded keys of a batch.
pub(super) struct Keys {
    rows: Rows,
    hasher: RandomState,
}

/// One row's key.
pub(super) struct Key<'a> {
    pub(super) row: Row<'a>,
    pub(super) hash: u64,
}

impl Keys {
    pub(super) fn row(&self, row: usize) -> Row<'_> {
        self.rows.row(row)
    }

    pub(super) fn key(&self, row: usize) -> Key<'_> {
        let row = self.rows.row(row);
        Key { row, hash: self.hasher.hash_one(row.as_ref()) }
    }
}

impl KeyEncoder {
    pub(super) fn new(columns: &Fields) -> Result<Self> {
        let fields = columns.iter().map(|field| SortField::new(field.data_type().clone()));
        Ok(Self(Arc::new(RowConverter::new(fields.collect())?)))
    }

    /// Encodes the keys of a batch; no key column at all is one key.
    pub(super) fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<Keys> {
        let rows = if keys.is_empty() {
            let mut empty = self.0.empty_rows(rows, 0);
            let parser = self.0.parser();
            for _ in 0..rows {
                empty.push(parser.parse(&[]));
            }
            empty
        } else {
            self.0.convert_columns(keys).map_err(DataFusionError::from)?
        };
        Ok(Keys { rows, hasher: RandomState::default() })
    }

    /// What makes key columns of keys.
    pub(super) fn converter(&self) -> Arc<RowConverter> {
        Arc::clone(&self.0)
    }
}
