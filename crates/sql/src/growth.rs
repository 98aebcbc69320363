//! Refuses calls that make values of any size out of small ones: the optimizer computes constant
//! calls itself, so `repeat('x', 2000000000)` would fill the memory before anything runs.

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan, expr::ScalarFunction},
};
use postrider_core::Diagnostic;

use crate::{
    codes,
    limits::{ASSUMED_LENGTH, MAX_GROWTH},
    text::SourceText,
    walk,
};

/// Functions whose result is as long as an argument says, and which argument that is.
const SIZED: [(&str, usize); 7] = [
    ("repeat", 1),
    ("lpad", 1),
    ("rpad", 1),
    ("array_repeat", 1),
    ("list_repeat", 1),
    ("array_resize", 1),
    ("list_resize", 1),
];
/// Functions that put one argument in many places of another.
const REPLACING: [(&str, usize); 4] =
    [("replace", 2), ("regexp_replace", 2), ("array_to_string", 1), ("array_join", 1)];
/// Functions that make a list out of bounds.
const SERIES: [&str; 2] = ["range", "generate_series"];

/// Checks all calls of a plan; one may feed another.
pub(crate) fn check(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let mut worst = Growth::default();
    walk::nodes(plan, |node| worst = worst.clone().max(of_plan(node)));
    worst.refuse(source, within)
}

/// Checks the calls of one expression.
pub(crate) fn check_expr(
    expr: &Expr,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    of_expr(expr).refuse(source, within)
}

/// How many times longer than its input a value can become, and by which function at last.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Growth {
    times: u64,
    by: String,
}

impl Default for Growth {
    fn default() -> Self {
        Self { times: 1, by: String::new() }
    }
}

impl Growth {
    fn refuse(&self, source: &SourceText<'_>, within: &Range<usize>) -> Option<Diagnostic> {
        if self.times <= MAX_GROWTH {
            return None;
        }
        let message =
            format!("`{}` could make a value more than {MAX_GROWTH} times longer", self.by);
        Some(
            Diagnostic::error(codes::TOO_LARGE, message)
                .at(source.find_name(&self.by, within).unwrap_or_else(|| within.clone()))
                .hint("give its length as a small literal, such as 10"),
        )
    }
}

fn of_plan(plan: &LogicalPlan) -> Growth {
    let below = plan.inputs().into_iter().map(of_plan).max().unwrap_or_default();
    let here = plan.expressions().iter().map(of_expr).max().unwrap_or_default();
    let by = if here.times > 1 { here.by } else { below.by };
    Growth { times: here.times.saturating_mul(below.times), by }
}

fn of_expr(expr: &Expr) -> Growth {
    let mut growth = Growth::default();
    let walked = expr.apply_children(|part| {
        growth = growth.clone().max(of_expr(part));
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "no step fails");
    if let Expr::ScalarFunction(call) = expr
        && let Some(times) = times(call)
    {
        return Growth { times: growth.times.saturating_mul(times), by: call.name().to_owned() };
    }
    growth
}

fn times(call: &ScalarFunction) -> Option<u64> {
    if SERIES.contains(&call.name()) {
        let bounds: Option<Vec<u64>> = call.args.iter().map(number).collect();
        let sum = |bounds: Vec<u64>| bounds.into_iter().fold(1, u64::saturating_add);
        return Some(bounds.map_or(u64::MAX, sum));
    }
    let argument = |functions: &[(&str, usize)]| {
        let (_, at) = functions.iter().find(|(name, _)| *name == call.name())?;
        call.args.get(*at)
    };
    if let Some(size) = argument(&SIZED) {
        return Some(number(size).map_or(u64::MAX, |size| size.max(1)));
    }
    argument(&REPLACING).map(|part| length(part).max(1))
}

fn number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Cast(cast) => number(&cast.expr),
        Expr::Negative(inner) => number(inner),
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(number)) => Some(number.unsigned_abs()),
            _ => None,
        },
        _ => None,
    }
}

fn length(expr: &Expr) -> u64 {
    let text = match expr {
        Expr::Cast(cast) => return length(&cast.expr),
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    text.and_then(|text| u64::try_from(text.len()).ok()).unwrap_or(ASSUMED_LENGTH)
}
