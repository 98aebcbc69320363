//! Formats: how the records of a table are written.

/// The format of a table's records, `format = '..'`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    #[default]
    Json,
    /// Comma-separated values, a record a line; the first line of a file names the columns.
    Csv,
    /// A text a record, as it is.
    RawString,
    /// Apache Parquet: files of columns.
    Parquet,
    /// One change a record: `{"before": .., "after": .., "op": "c"}`, where `op` is `c` (created), `u` (updated) or `d` (deleted).
    DebeziumJson,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] =
        [Self::Json, Self::Csv, Self::RawString, Self::Parquet, Self::DebeziumJson];

    /// The word in `format = '..'`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::RawString => "raw_string",
            Self::Parquet => "parquet",
            Self::DebeziumJson => "debezium_json",
        }
    }
}

/// What tables of JSON may say of it beyond `format`: the options `json.*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonForm {
    /// `'json.unstructured' = 'true'`: a record is one value of any shape, the text of the table's only column.
    pub unstructured: bool,
    /// `'json.timestamp_format' = 'unix_millis'`: times are written as whole numbers of milliseconds since 1970, rounded down, instead of as
    /// RFC 3339. Both are read in any case.
    pub unix_millis: bool,
}
