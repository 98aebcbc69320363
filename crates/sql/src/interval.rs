//! Lengths of time that must be known before anything runs.

use datafusion::{
    arrow::datatypes::{DataType, IntervalUnit},
    common::{DFSchema, ScalarValue},
    logical_expr::Expr,
    sql::planner::{PlannerContext, SqlToRel},
};
use sqlparser::ast::{Expr as SqlExpr, Value};

use crate::catalog::Catalog;

const DAY_NS: i64 = 86_400_000_000_000;

/// Why something is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotALength {
    /// It is no literal, or one that can't be read.
    NoLiteral,
    /// Months and years have no fixed length.
    Months,
    /// It doesn't fit 292 years.
    TooLong,
}

/// The nanoseconds of an interval literal, or of a text such as `'5 seconds'`.
pub(crate) fn literal_ns(catalog: &Catalog, expr: &SqlExpr) -> Result<i64, NotALength> {
    let is_text = matches!(expr, SqlExpr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    if !is_text && !matches!(expr, SqlExpr::Interval(_)) {
        return Err(NotALength::NoLiteral);
    }
    let planned = SqlToRel::new(catalog).sql_to_expr(
        expr.clone(),
        &DFSchema::empty(),
        &mut PlannerContext::new(),
    );
    match planned {
        Ok(Expr::Literal(value, _)) => scalar_ns(&value),
        _ => Err(NotALength::NoLiteral),
    }
}

/// The same for a planned literal.
pub(crate) fn scalar_ns(value: &ScalarValue) -> Result<i64, NotALength> {
    let interval = value
        .cast_to(&DataType::Interval(IntervalUnit::MonthDayNano))
        .map_err(|_| NotALength::NoLiteral)?;
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else {
        return Err(NotALength::NoLiteral);
    };
    if interval.months != 0 {
        return Err(NotALength::Months);
    }
    i64::from(interval.days)
        .checked_mul(DAY_NS)
        .and_then(|days| days.checked_add(interval.nanoseconds))
        .ok_or(NotALength::TooLong)
}
