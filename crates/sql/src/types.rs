//! SQL types that DataFusion doesn't map, or maps to what streams don't have yet.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, TimeUnit},
    common::{Result, plan_err},
    logical_expr::planner::TypePlanner,
};
use sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// The types a column can have, for hints.
pub(crate) const TYPES: [&str; 20] = [
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
    "INTERVAL",
    "JSON",
];

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
            SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
                return plan_err!("TIMESTAMP WITH TIME ZONE is not supported yet");
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
