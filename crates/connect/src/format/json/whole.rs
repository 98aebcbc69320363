//! A column of whole records.

use arrow_array::ArrayRef;
use arrow_schema::{ArrowError, Field};

use super::{column::Column, cursor::Cursor, reason::Parsed};

/// Takes records, each of which is the value of the same column.
#[derive(Debug)]
pub(crate) struct Whole {
    column: Column,
    scratch: String,
}

impl Whole {
    /// `None`: JSON has no form of this type.
    pub(crate) fn new(field: &Field) -> Option<Self> {
        Some(Self { column: Column::new(field, "", 0)?, scratch: String::new() })
    }

    pub(crate) fn len(&self) -> usize {
        self.column.len()
    }

    /// Takes one record; after an error nothing is left of it.
    pub(crate) fn append(&mut self, record: &str) -> Parsed<()> {
        let record = record.strip_prefix('\u{feff}').unwrap_or(record);
        let mut cursor = Cursor::new(record, 0..record.len());
        let before = self.column.len();
        let read = self.column.append(&mut cursor, &mut self.scratch).and_then(|()| {
            if cursor.at_end() { Ok(()) } else { Err(cursor.unexpected("the end of the record")) }
        });
        if read.is_err() {
            self.column.truncate(before);
        }
        read
    }

    /// The values so far.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let empty = Column::new(&Field::new("", self.column.data_type.clone(), true), "", 0);
        match empty {
            Some(empty) => std::mem::replace(&mut self.column, empty).finish(),
            None => Err(ArrowError::SchemaError("a column has no form in JSON".to_owned())),
        }
    }
}
