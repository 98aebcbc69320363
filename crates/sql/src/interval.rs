//! Lengths of time that must be known before anything runs.

use datafusion::{
    arrow::datatypes::{DataType, IntervalUnit},
    common::{DFSchema, ScalarValue},
    logical_expr::Expr,
    sql::planner::{PlannerContext, SqlToRel},
};
use sqlparser::ast::{Expr as SqlExpr, Value};

use crate::catalog::Catalog;

pub(crate) const DAY_NS: i64 = 86_400_000_000_000;

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

/// A length of time as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) ns: i64,
}

impl Length {
    /// Its nanoseconds, with days of 24 hours.
    pub(crate) fn fixed(self) -> Result<i64, NotALength> {
        if self.months != 0 {
            return Err(NotALength::Months);
        }
        let days = i64::from(self.days).checked_mul(DAY_NS);
        days.and_then(|days| days.checked_add(self.ns)).ok_or(NotALength::TooLong)
    }
}

/// The nanoseconds of an interval literal, or of a text such as `'5 seconds'`.
pub(crate) fn literal_ns(catalog: &Catalog, expr: &SqlExpr) -> Result<i64, NotALength> {
    literal(catalog, expr).and_then(Length::fixed)
}

/// The same with its months.
pub(crate) fn literal(catalog: &Catalog, expr: &SqlExpr) -> Result<Length, NotALength> {
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
        Ok(Expr::Literal(value, _)) => scalar(&value),
        _ => Err(NotALength::NoLiteral),
    }
}

/// The nanoseconds of a planned literal.
pub(crate) fn scalar_ns(value: &ScalarValue) -> Result<i64, NotALength> {
    scalar(value).and_then(Length::fixed)
}

/// The same with its months.
pub(crate) fn scalar(value: &ScalarValue) -> Result<Length, NotALength> {
    let interval = value
        .cast_to(&DataType::Interval(IntervalUnit::MonthDayNano))
        .map_err(|_| NotALength::NoLiteral)?;
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else {
        return Err(NotALength::NoLiteral);
    };
    Ok(Length { months: interval.months, days: interval.days, ns: interval.nanoseconds })
}
