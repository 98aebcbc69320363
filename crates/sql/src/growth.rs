//! Refuses calls that make values of any size out of small ones: the optimizer computes constant
//! calls itself, so `repeat('x', 2000000000)` would fill the memory before anything runs.

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    common::ScalarValue,
    logical_expr::{Expr, LogicalPlan, Operator, expr::ScalarFunction},
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
/// Functions that put their arguments together; one may stand there twice.
const JOINING: [&str; 12] = [
    "array_append",
    "array_concat",
    "array_prepend",
    "array_union",
    "arrays_zip",
    "concat",
    "concat_ws",
    "make_array",
    "map",
    "named_struct",
    "overlay",
    "struct",
];
/// How much longer a byte becomes in `encode`: hexadecimal.
const ENCODED: u64 = 2;
/// Functions that write some bytes as `%` and two digits.
const PERCENT_ENCODING: [&str; 3] = ["url_encode", "url_host", "url_path"];
/// How much longer a byte becomes there.
const PERCENT_ENCODED: u64 = 3;
/// Functions that make a list out of bounds.
const SERIES: [&str; 2] = ["range", "generate_series"];

/// Checks all calls of a plan; one may feed another.
pub(crate) fn check(
    plan: &LogicalPlan,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    of_plan(plan).refuse(source, within)
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
    /// The argument that says so, as it is written.
    size: Option<String>,
}

impl Default for Growth {
    fn default() -> Self {
        Self { times: 1, by: String::new(), size: None }
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
                .at(self.place(source, within).unwrap_or_else(|| within.clone()))
                .hint("give its length as a small literal, such as 10; copies of a copy multiply"),
        )
    }

    /// The call, which of several is told by the size that it is given.
    fn place(&self, source: &SourceText<'_>, within: &Range<usize>) -> Option<Range<usize>> {
        let names = source.find_names(&self.by, within);
        let given = |name: &&Range<usize>| {
            self.size.as_ref().is_some_and(|size| source.call_has(name, size))
        };
        names.iter().find(given).or_else(|| names.first()).cloned()
    }
}

fn of_plan(plan: &LogicalPlan) -> Growth {
    let below = plan.inputs().into_iter().map(of_plan).max().unwrap_or_default();
    let here = plan.expressions().iter().map(of_expr).max().unwrap_or_default();
    let times = here.times.saturating_mul(below.times);
    let last = if here.times > 1 { here } else { below };
    Growth { times, ..last }
}

fn of_expr(expr: &Expr) -> Growth {
    let (mut most, mut sum) = (Growth::default(), 0_u64);
    walk::children(expr, |part| {
        let growth = of_expr(part);
        // Literals are as short as the program.
        if !matches!(part, Expr::Literal(..)) {
            sum = sum.saturating_add(growth.times);
        }
        most = std::mem::take(&mut most).max(growth);
    });
    match expr {
        Expr::ScalarFunction(call) if JOINING.contains(&call.name()) => {
            joined(most, sum, call.name())
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => joined(most, sum, "||"),
        Expr::ScalarFunction(call) => match times(call) {
            Some((times, size)) => {
                let times = most.times.saturating_mul(times);
                Growth { times, by: call.name().to_owned(), size }
            }
            None => most,
        },
        Expr::ScalarSubquery(query) => most.max(of_plan(&query.subquery)),
        Expr::Exists(exists) => most.max(of_plan(&exists.subquery.subquery)),
        Expr::InSubquery(part) => most.max(of_plan(&part.subquery.subquery)),
        _ => most,
    }
}

fn joined(most: Growth, sum: u64, by: &str) -> Growth {
    if sum > most.times { Growth { times: sum, by: by.to_owned(), size: None } } else { most }
}

/// How many times longer than its arguments a call's result can be, and the argument that says so.
fn times(call: &ScalarFunction) -> Option<(u64, Option<String>)> {
    if call.name() == "encode" {
        return Some((ENCODED, None));
    }
    if PERCENT_ENCODING.contains(&call.name()) {
        return Some((PERCENT_ENCODED, None));
    }
    if SERIES.contains(&call.name()) {
        let bounds: Option<Vec<u64>> = call.args.iter().map(number).collect();
        let sum = |bounds: Vec<u64>| bounds.into_iter().fold(1, u64::saturating_add);
        let largest = call.args.iter().max_by_key(|bound| number(bound)).and_then(written);
        return Some((bounds.map_or(u64::MAX, sum), largest));
    }
    let argument = |functions: &[(&str, usize)]| {
        let (_, at) = functions.iter().find(|(name, _)| *name == call.name())?;
        call.args.get(*at)
    };
    if let Some(size) = argument(&SIZED) {
        return Some((number(size).map_or(u64::MAX, |size| size.max(1)), written(size)));
    }
    argument(&REPLACING).map(|part| (length(part).max(1), None))
}

/// A literal or column as it stands in the text.
fn written(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Cast(cast) => written(&cast.expr),
        Expr::Negative(inner) => written(inner),
        Expr::Literal(value, _) => Some(value.to_string()),
        Expr::Column(column) => Some(column.name.clone()),
        _ => None,
    }
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
