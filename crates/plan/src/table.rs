//! One `CREATE TABLE`, and how DataFusion's planner sees it.

use std::{fmt, ops::Range, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, Schema, SchemaRef},
    logical_expr::{Expr, TableSource},
};
use postrider_core::{Format, JsonForm, METADATA_KEY, TableOptions};

/// A declared table: a source, a sink, or not used at all.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, in lower case unless it was quoted; names are compared without regard to case.
    pub name: String,
    /// Every column in order, generated ones included.
    pub columns: Vec<Column>,
    /// Who moves its rows, such as `collector` or `email`.
    pub connector: String,
    /// What the `WITH (..)` holds beyond the common options: for the connector to read.
    pub options: TableOptions,
    /// The options that every table may have.
    pub common: CommonOptions,
    /// Its event time, if it declares one.
    pub watermark: Option<WatermarkDef>,
    /// The names of its primary key columns, in key order.
    pub primary_key: Vec<String>,
    /// Whether it was declared TEMPORARY: it is there to be looked up only.
    pub temporary: bool,
    /// The table's name in the text.
    pub range: Range<usize>,
}

impl Table {
    /// All columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// The columns that come with the records: all but the generated ones.
    pub fn physical_schema(&self) -> SchemaRef {
        let physical = self.columns.iter().filter(|column| column.generated.is_none());
        Arc::new(Schema::new(physical.map(Column::decoded_field).collect::<Vec<_>>()))
    }

    /// Whether it can be looked up as it is once it was read to its end: its rows have a key and no time, they end and never change. Of other
    /// connectors than files, TEMPORARY says so.
    pub fn is_lookup(&self) -> bool {
        let ends =
            self.temporary || matches!(self.connector.as_str(), "single_file" | "filesystem");
        ends && !self.holds_changes() && !self.primary_key.is_empty() && self.watermark.is_none()
    }

    /// Whether its records are changes of rows: read, it is a changelog.
    pub fn holds_changes(&self) -> bool {
        self.common.format == Format::DebeziumJson
    }

    /// Whether its rows become email.
    pub fn is_email(&self) -> bool {
        self.connector == "email"
    }
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// How it is computed from the table's physical columns, if it is.
    pub generated: Option<Expr>,
    /// What it tells about a record, if it holds no part of it: `METADATA FROM 'key'`.
    pub metadata: Option<String>,
    /// The column's name in the text.
    pub range: Range<usize>,
}

impl Column {
    /// The column as Arrow knows it.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }

    /// The same for who fills it: with its key, if it is one of metadata.
    pub fn decoded_field(&self) -> Field {
        let key = self.metadata.iter().map(|key| (METADATA_KEY.to_owned(), key.clone()));
        self.field().with_metadata(key.collect())
    }
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct WatermarkDef {
    /// The column that holds the event time.
    pub column: String,
    /// The watermark that a row promises: `Timestamp(ns)` over all columns of the table.
    pub expr: Expr,
    /// The clause in the text.
    pub range: Range<usize>,
}

/// The options that every table may have, whatever its connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonOptions {
    /// What happens to a record that can't become a row.
    pub bad_data: BadData,
    /// After how long without input the table counts as idle, in nanoseconds.
    pub idle_timeout: Option<i64>,
    /// Whether the clock of an idle table runs on.
    pub idle_advance: bool,
    /// How far ahead of the epoch clock an event time may be, in nanoseconds; `None`: as far as it likes. A record that is further
    /// ahead can't become a row.
    pub max_future_skew: Option<i64>,
    /// What the end of bounded input does to an action sink.
    pub at_end: AtEnd,
    /// How many bytes of it may be kept on each shard where it is looked up.
    pub max_lookup_bytes: u64,
    /// What `type = '..'` says the table is for.
    pub role: Option<TableRole>,
    /// How its records are written.
    pub format: Format,
    /// And how, if they are JSON.
    pub json: JsonForm,
}

impl CommonOptions {
    /// How much of a table that is looked up each shard keeps unless it says otherwise: about a million short rows.
    pub const MAX_LOOKUP_BYTES: u64 = 256 << 20;
}

impl Default for CommonOptions {
    fn default() -> Self {
        Self {
            bad_data: BadData::DeadLetter,
            idle_timeout: None,
            idle_advance: true,
            max_future_skew: None,
            max_lookup_bytes: Self::MAX_LOOKUP_BYTES,
            at_end: AtEnd::Observed,
            role: None,
            format: Format::Json,
            json: JsonForm::default(),
        }
    }
}

/// What happens to a record that can't become a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadData {
    /// It goes to the dead letters.
    DeadLetter,
    /// The pipeline stops.
    Fail,
}

/// What an action sink does when bounded input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// Acts on windows up to the last event time, as they were observed to complete.
    Observed,
    /// Completes every window.
    Fire,
}

/// What a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRole {
    /// Rows enter here.
    Source,
    /// Rows leave here.
    Sink,
}

impl fmt::Display for TableRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Sink => "sink",
        })
    }
}

/// A [`Table`] as the planner sees it. Scans carry it, so that the engine finds the table again.
///
/// Takes no filters: they stay above the scan, where the engine runs them.
pub struct StreamTable(pub Arc<Table>);

impl TableSource for StreamTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
}
