//! The columns of one object: of a whole record, or of a STRUCT inside it.

use arrow_schema::Fields as SchemaFields;

use super::{
    column::Column,
    cursor::Cursor,
    layout::{Keys, Layout, Step},
    reason::Parsed,
};

/// Columns that are filled from the fields of an object.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) columns: Vec<Column>,
    keys: Keys,
    layout: Layout,
    rows: usize,
}

impl Fields {
    /// Empty columns with room for `rows` values.
    ///
    /// # Errors
    /// The name of the first field whose type JSON can't fill.
    pub(super) fn new(fields: &SchemaFields, path: &str, rows: usize) -> Result<Self, String> {
        let mut columns = Vec::with_capacity(fields.len());
        let mut keys = Keys::new();
        for (index, field) in fields.iter().enumerate() {
            columns.push(Column::new(field, path, rows).ok_or_else(|| field.name().clone())?);
            keys.entry(field.name().as_str().into()).or_insert(index);
        }
        Ok(Self { columns, keys, layout: Layout::default(), rows: 0 })
    }

    /// How many objects were read.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Reads an object whose opening brace was stepped over, up to and over its end. After an
    /// error the columns must be truncated.
    #[inline]
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>, scratch: &mut String) -> Parsed<()> {
        let (row, mut open, mut index) = (self.rows, self.columns.len(), 0);
        loop {
            match self.layout.step(cursor, index, &self.keys, scratch)? {
                Step::Wanted(target) => match self.columns.get_mut(target) {
                    // A column that has its value already meets a repeated key: the first wins.
                    Some(column) if column.len() == row => {
                        column.append(cursor, scratch)?;
                        open -= 1;
                    }
                    _ => {
                        cursor.skip()?;
                    }
                },
                Step::Unwanted => {
                    cursor.skip()?;
                }
                Step::End => break,
            }
            index += 1;
        }
        if open > 0 {
            for column in self.columns.iter_mut().filter(|column| column.len() == row) {
                column.append_missing()?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends a row that was filled column by column.
    pub(super) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// A row below a NULL.
    pub(super) fn append_default(&mut self) {
        for column in &mut self.columns {
            column.append_place_holder();
        }
        self.rows += 1;
    }

    /// Forgets every row from number `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.rows = rows;
    }
}
