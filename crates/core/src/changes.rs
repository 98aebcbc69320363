//! The kinds of the rows of a changelog, as Flink numbers them: the last column of their batches.

use arrow_schema::{DataType, Field};

/// A row is new.
pub const INSERT: i8 = 0;
/// What a row was before an update.
pub const UPDATE_BEFORE: i8 = 1;
/// What it is behind it.
pub const UPDATE_AFTER: i8 = 2;
/// A row is gone.
pub const DELETE: i8 = 3;

/// The column of kinds.
pub fn field() -> Field {
    Field::new("op", DataType::Int8, false)
}
