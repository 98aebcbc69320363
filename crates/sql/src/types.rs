//! SQL types that DataFusion doesn't map, or maps to what streams don't have yet.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, TimeUnit},
    common::{Result, plan_err},
    logical_expr::planner::TypePlanner,
};
use sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// The types a column can have, for hints.
pub(crate) const TYPES: [&str; 21] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "TEXT",
    "VARCHAR",
    "STRING",
    "CHAR",
    "BYTEA",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "INTERVAL",
    "JSON",
];

/// The zone of every TIMESTAMPTZ: it is an instant, and there are no sessions that would see it elsewhere.
pub(crate) const UTC: &str = "UTC";

/// Maps Arroyo's types that DataFusion lacks; leaves the others to DataFusion.
#[derive(Debug)]
pub(crate) struct StreamTypes;

impl TypePlanner for StreamTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlType::Datetime(None) => DataType::Timestamp(TimeUnit::Nanosecond, None),
            SqlType::JSON
            | SqlType::Character(_)
            | SqlType::CharacterVarying(_)
            | SqlType::CharVarying(_)
            | SqlType::Nvarchar(_) => DataType::Utf8,
            SqlType::Bytes(_) | SqlType::Varbinary(_) | SqlType::Blob(_) => DataType::Binary,
            SqlType::Timestamp(digits, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
                let unit = match digits {
                    Some(0) => TimeUnit::Second,
                    Some(3) => TimeUnit::Millisecond,
                    Some(6) => TimeUnit::Microsecond,
                    None | Some(9) => TimeUnit::Nanosecond,
                    Some(digits) => {
                        return plan_err!(
                            "a time has 0, 3, 6 or 9 digits of a second, not {digits}"
                        );
                    }
                };
                DataType::Timestamp(unit, Some(Arc::from(UTC)))
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
