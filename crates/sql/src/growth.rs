//! Refuses calls that make values of any size out of small ones: the optimizer computes constant
//! calls itself, so `repeat('x', 2000000000)` would fill the memory before anything runs.

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    common::ScalarValue,
    logical_expr::{Expr, LogicalPlan, expr::ScalarFunction},
};
use postrider_core::Diagnostic;

use crate::{codes, limits::MAX_GROWTH, text::SourceText, walk};

/// Functions whose result is as long as an argument says, and which argument that is.
const GROWING: [(&str, usize); 8] = [
    ("repeat", 1),
    ("lpad", 1),
    ("rpad", 1),
    ("array_repeat", 1),
    ("list_repeat", 1),
    ("array_resize", 1),
    ("list_resize", 1),
    ("space", 0),
];
/// Functions that make a list out of bounds that could be anything.
const SERIES: [&str; 2] = ["range", "generate_series"];

/// Multiplies the growth of all calls of a plan, wherever they are: one may feed another.
pub(crate) fn check(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let mut growth = 1_u64;
    let mut last = None;
    walk::nodes(plan, |node| {
        for expr in node.expressions() {
            walk::parts(&expr, |part| {
                if let Expr::ScalarFunction(call) = part
                    && let Some(times) = growth_of(call)
                {
                    growth = growth.saturating_mul(times);
                    if growth > MAX_GROWTH && last.is_none() {
                        last = Some(call.name().to_owned());
                    }
                }
            });
        }
    });
    let name = last?;
    Some(
        Diagnostic::error(
            codes::TOO_LARGE,
            format!("`{name}` could make values longer than {MAX_GROWTH}"),
        )
        .at(source.find_name(&name, within).unwrap_or_else(|| within.clone()))
        .hint("give its length as a small literal, such as 10"),
    )
}

fn growth_of(call: &ScalarFunction) -> Option<u64> {
    if SERIES.contains(&call.name()) {
        let bounds: Option<Vec<u64>> = call.args.iter().map(literal).collect();
        return Some(
            bounds.map_or(u64::MAX, |bounds| bounds.into_iter().fold(1, u64::saturating_add)),
        );
    }
    let (_, argument) = GROWING.iter().find(|(name, _)| *name == call.name())?;
    Some(call.args.get(*argument).and_then(literal).map_or(u64::MAX, |times| times.max(1)))
}

fn literal(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Alias(alias) => literal(&alias.expr),
        Expr::Negative(inner) => literal(inner),
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(number)) => Some(number.unsigned_abs()),
            _ => None,
        },
        _ => None,
    }
}
