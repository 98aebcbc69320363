//! Which columns of a query can be NULL, more exactly than DataFusion says.
//!
//! DataFusion takes the result of nearly every function for nullable. The email contract needs
//! keys that are never NULL, and `lower(email)` of a NOT NULL column is one.

use datafusion::{
    common::{Column, JoinType},
    logical_expr::{
        Aggregate, Distinct, Expr, ExprSchemable, Join, LogicalPlan, Operator, Window,
        WindowFrameBound, expr::Case, utils::split_conjunction,
    },
};

use crate::unnest;
use postrider_plan::Over;

/// Functions whose result is NULL only if an argument is.
const TOTAL: [&str; 44] = [
    "abs",
    "array_to_string",
    "ascii",
    "bit_length",
    "btrim",
    "ceil",
    "character_length",
    "chr",
    "date_bin",
    "date_part",
    "date_trunc",
    "email_normalize",
    "encode",
    "ends_with",
    "floor",
    "from_unixtime",
    "hex",
    "initcap",
    "left",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "octet_length",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "strpos",
    "substr",
    "to_hex",
    "to_timestamp_millis",
    "translate",
    "trunc",
    "upper",
    "url_encode",
];
/// Functions that skip NULL arguments and are never NULL themselves.
const NEVER_NULL: [&str; 2] = ["concat", "multi_hash"];
/// Aggregates that are NULL only if all values of their group are; a group has at least one row.
const OF_A_ROW: [&str; 6] = ["avg", "first_value", "last_value", "max", "min", "sum"];

/// Whether the query's column at `index` can be NULL.
pub(crate) fn column(plan: &LogicalPlan, index: usize) -> bool {
    let declared = plan.schema().field(index).is_nullable();
    if !declared {
        return false;
    }
    match plan {
        LogicalPlan::Projection(node) => {
            node.expr.get(index).is_none_or(|of| expr(of, &node.input))
        }
        LogicalPlan::SubqueryAlias(node) => column(&node.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => column(input, index),
        LogicalPlan::Unnest(node) => {
            unnest::repeated(node, index).is_none_or(|at| column(&node.input, at))
        }
        LogicalPlan::Filter(node) => {
            let keeps_nulls = |part: &&Expr| !drops_null(part, &node.input, index);
            split_conjunction(&node.predicate).iter().all(keeps_nulls) && column(&node.input, index)
        }
        LogicalPlan::Aggregate(node) => aggregate(node, index),
        LogicalPlan::Join(node) => {
            let compared = node.on.iter().flat_map(|(left, right)| [left, right]);
            let is_it = |part: &Expr| matches!(part, Expr::Column(name) if index_of(plan, name) == Some(index));
            let parts = node.filter.iter().flat_map(split_conjunction);
            let is_inner = node.join_type == JoinType::Inner;
            let dropped = is_inner
                && (compared.into_iter().any(is_it)
                    || parts.into_iter().any(|part| drops_null(part, plan, index)));
            !dropped && joined(node, index)
        }
        LogicalPlan::Window(node) => over(node, index),
        LogicalPlan::Union(node) => node.inputs.iter().any(|input| column(input, index)),
        _ => true,
    }
}

/// A side that is never padded keeps what is known of it.
fn joined(node: &Join, index: usize) -> bool {
    let left = node.left.schema().fields().len();
    let (left_padded, right_padded) = match node.join_type {
        JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti => (false, false),
        JoinType::Left => (false, true),
        JoinType::Right => (true, false),
        _ => (true, true),
    };
    match index.checked_sub(left) {
        None => left_padded || column(&node.left, index),
        Some(right) => right_padded || column(&node.right, right),
    }
}

fn aggregate(node: &Aggregate, index: usize) -> bool {
    if let Some(key) = node.group_expr.get(index) {
        return expr(key, &node.input);
    }
    let computed = index.checked_sub(node.group_expr.len()).and_then(|at| node.aggr_expr.get(at));
    let mut of = computed;
    while let Some(Expr::Alias(alias)) = of {
        of = Some(&alias.expr);
    }
    match of {
        // Without GROUP BY there is a row for no input at all.
        Some(Expr::AggregateFunction(call))
            if !node.group_expr.is_empty()
                && call.params.filter.is_none()
                && OF_A_ROW.contains(&call.func.name()) =>
        {
            call.params.args.iter().any(|part| expr(part, &node.input))
        }
        _ => true,
    }
}

/// A row keeps its columns. A frame that ends with the row has at least that one.
fn over(node: &Window, index: usize) -> bool {
    let Some(at) = index.checked_sub(node.input.schema().fields().len()) else {
        return column(&node.input, index);
    };
    let Some(call) = node.window_expr.get(at).and_then(Over::call) else { return true };
    let params = &call.params;
    !(OF_A_ROW.contains(&call.fun.name())
        && params.filter.is_none()
        && params.window_frame.end_bound == WindowFrameBound::CurrentRow
        && params.args.iter().all(|part| !expr(part, &node.input)))
}

/// Whether no row that meets `condition` has NULL in the column at `index`.
fn drops_null(condition: &Expr, input: &LogicalPlan, index: usize) -> bool {
    let is_it =
        |part: &Expr| matches!(part, Expr::Column(name) if index_of(input, name) == Some(index));
    match condition {
        Expr::IsNotNull(part) => is_it(part),
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            is_it(&binary.left) || is_it(&binary.right)
        }
        Expr::InList(list) => is_it(&list.expr),
        Expr::Like(like) => is_it(&like.expr),
        Expr::Between(between) => is_it(&between.expr) && !between.negated,
        _ => false,
    }
}

fn expr(of: &Expr, input: &LogicalPlan) -> bool {
    let any = |parts: &[Expr]| parts.iter().any(|part| expr(part, input));
    match of {
        Expr::Alias(alias) => expr(&alias.expr, input),
        Expr::Cast(cast) => expr(&cast.expr, input),
        Expr::Column(name) => index_of(input, name).is_none_or(|index| column(input, index)),
        Expr::BinaryExpr(binary) if is_total(binary.op) => {
            expr(&binary.left, input) || expr(&binary.right, input)
        }
        Expr::Not(part) => expr(part, input),
        Expr::Case(case) => any_branch(case, input),
        Expr::ScalarFunction(call) if TOTAL.contains(&call.name()) => any(&call.args),
        Expr::ScalarFunction(call) if NEVER_NULL.contains(&call.name()) => false,
        Expr::ScalarFunction(call) if call.name() == "coalesce" => {
            call.args.iter().all(|part| expr(part, input))
        }
        other => other.nullable(input.schema()).unwrap_or(true),
    }
}

fn any_branch(case: &Case, input: &LogicalPlan) -> bool {
    let branches = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    case.else_expr.is_none() || branches.into_iter().any(|branch| expr(branch, input))
}

/// Operators whose result is NULL only if an operand is.
fn is_total(operator: Operator) -> bool {
    operator.is_numerical_operators()
        || is_comparison(operator)
        || matches!(operator, Operator::And | Operator::Or | Operator::StringConcat)
}

/// Comparisons that are NULL if an operand is.
const fn is_comparison(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
    )
}

fn index_of(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}
