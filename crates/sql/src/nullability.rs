//! Which columns of a query can be NULL, more exactly than DataFusion says.
//!
//! DataFusion takes the result of nearly every function for nullable. The email contract needs
//! keys that are never NULL, and `lower(email)` of a NOT NULL column is one.

use datafusion::{
    common::Column,
    logical_expr::{Expr, ExprSchemable, LogicalPlan},
};

/// Functions whose result is NULL only if an argument is.
const TOTAL: [&str; 41] = [
    "abs",
    "array_to_string",
    "ascii",
    "bit_length",
    "btrim",
    "ceil",
    "character_length",
    "chr",
    "date_part",
    "date_trunc",
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
];
/// Functions that skip NULL arguments and are never NULL themselves.
const NEVER_NULL: [&str; 1] = ["concat"];

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
        LogicalPlan::Filter(node) => column(&node.input, index),
        LogicalPlan::Aggregate(node) => {
            node.group_expr.get(index).is_none_or(|of| expr(of, &node.input))
        }
        LogicalPlan::Union(node) => node.inputs.iter().any(|input| column(input, index)),
        _ => true,
    }
}

fn expr(of: &Expr, input: &LogicalPlan) -> bool {
    let any = |parts: &[Expr]| parts.iter().any(|part| expr(part, input));
    match of {
        Expr::Alias(alias) => expr(&alias.expr, input),
        Expr::Cast(cast) => expr(&cast.expr, input),
        Expr::Column(name) => index_of(input, name).is_none_or(|index| column(input, index)),
        Expr::BinaryExpr(binary) if binary.op.is_numerical_operators() || is_concat(binary.op) => {
            expr(&binary.left, input) || expr(&binary.right, input)
        }
        Expr::ScalarFunction(call) if TOTAL.contains(&call.name()) => any(&call.args),
        Expr::ScalarFunction(call) if NEVER_NULL.contains(&call.name()) => false,
        Expr::ScalarFunction(call) if call.name() == "coalesce" => {
            call.args.iter().all(|part| expr(part, input))
        }
        other => other.nullable(input.schema()).unwrap_or(true),
    }
}

fn is_concat(operator: datafusion::logical_expr::Operator) -> bool {
    operator == datafusion::logical_expr::Operator::StringConcat
}

fn index_of(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}
