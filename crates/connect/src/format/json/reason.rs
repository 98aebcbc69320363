//! Why a record is no row.

use arrow_schema::{DataType, TimeUnit};
use postrider_core::type_name;

use crate::limits::QUOTED_CHARS_MAX;

/// The fault of one record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// A stable word.
    pub(crate) reason: &'static str,
    /// A sentence for people that names the column and what was found.
    pub(crate) message: String,
}

/// A value, or the fault of the record. Boxed: faults are rare, and the value stays small.
pub(super) type Parsed<T> = Result<T, Box<Bad>>;

impl Bad {
    pub(crate) fn new(reason: &'static str, message: String) -> Box<Self> {
        Box::new(Self { reason, message })
    }

    /// The text is no JSON at this byte.
    #[cold]
    pub(super) fn json(at: usize, what: &str) -> Box<Self> {
        Self::new("bad_json", format!("invalid JSON at byte {at}: {what}"))
    }

    /// A NOT NULL column got nothing.
    #[cold]
    pub(crate) fn missing(column: &str, found: &str) -> Box<Self> {
        Self::new(
            "missing_value",
            format!("column `{column}` is NOT NULL, but its field is {found}"),
        )
    }

    /// The JSON value has a type that the column can't take.
    #[cold]
    pub(super) fn wrong_type(column: &str, data_type: &DataType, found: &str) -> Box<Self> {
        let message = format!(
            "column `{column}` is {}, but its field is {}",
            sql_name(data_type),
            kind(found)
        );
        Self::new("wrong_type", message)
    }

    /// The value has the right type, but is too large for the column.
    #[cold]
    pub(crate) fn out_of_range(column: &str, data_type: &DataType, found: &str) -> Box<Self> {
        let message = format!(
            "column `{column}` is {}, which can't hold {}",
            sql_name(data_type),
            quote(found)
        );
        Self::new("out_of_range", message)
    }

    /// A text that does not say what the column needs.
    #[cold]
    pub(super) fn bad_value(
        column: &str,
        data_type: &DataType,
        found: &str,
        wanted: &str,
    ) -> Box<Self> {
        let message = format!(
            "column `{column}` is {}, but its field is '{}'; write {wanted}",
            sql_name(data_type),
            quote(found)
        );
        Self::new("bad_value", message)
    }
}

/// The start of a value, for messages.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A JSON value in words.
fn kind(raw: &str) -> String {
    let what = match raw.as_bytes().first() {
        Some(b'"') => "the text",
        Some(b'{') => "the object",
        Some(b'[') => "the list",
        Some(b't' | b'f') => "the boolean",
        _ => "the number",
    };
    format!("{what} {}", quote(raw))
}

/// The type as SQL writes it.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, None) => "TIMESTAMP(0)".to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP(3)".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP(6)".to_owned(),
        DataType::Struct(_) => "a STRUCT".to_owned(),
        DataType::List(item) => format!("a list of {}", sql_name(item.data_type())),
        other => type_name(other),
    }
}
