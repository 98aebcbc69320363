//! A part of JSON is read as the type that it is cast to, compared with or computed with, not as the text of the JSON.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF,
        expr::{Cast, ScalarFunction, TryCast},
        expr_rewriter::NamePreserver,
        planner::RawBinaryExpr,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};
use datafusion_functions_json::udfs;
use sqlparser::ast::BinaryOperator;

use super::{get, is_json};
use crate::functions::scalar::refused;

/// Reads JSON by the types around it where that shows once a plan is made. Runs before types are resolved.
#[derive(Debug)]
pub(in crate::functions) struct JsonByType;

impl AnalyzerRule for JsonByType {
    fn name(&self) -> &str {
        "json_by_type"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            let schema = merge_schema(&node.inputs());
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(plan.data)
    }
}

/// What [`JsonByType`] does, for an expression that is in no plan.
pub(in crate::functions) fn resolve(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(rewrite(expr, schema)?.data)
}

/// The operands of an operator, whose types are looked at as soon as it is planned.
pub(super) fn operands(mut expr: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let (left, right) = match &expr.op {
        op if compares(op) || computes(op) => {
            (beside(&expr.left, &expr.right, schema), beside(&expr.right, &expr.left, schema))
        }
        BinaryOperator::And | BinaryOperator::Or => (condition(&expr.left), condition(&expr.right)),
        _ => (None, None),
    };
    expr.left = left.unwrap_or(expr.left);
    expr.right = right.unwrap_or(expr.right);
    expr
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| match part {
        Expr::Cast(cast) => Ok(under_cast(&cast.expr, cast.field.data_type(), schema, |read| {
            Expr::Cast(Cast { expr: Box::new(read), field: Arc::clone(&cast.field) })
        })
        .map_or_else(|| Transformed::no(Expr::Cast(cast)), Transformed::yes)),
        Expr::TryCast(cast) => Ok(under_cast(&cast.expr, cast.field.data_type(), schema, |read| {
            Expr::TryCast(TryCast { expr: Box::new(read), field: Arc::clone(&cast.field) })
        })
        .map_or_else(|| Transformed::no(Expr::TryCast(cast)), Transformed::yes)),
        Expr::BinaryExpr(mut binary) if is_distinct(binary.op) => {
            let left = beside(&binary.left, &binary.right, schema);
            let right = beside(&binary.right, &binary.left, schema);
            let left = replaced(&mut binary.left, left);
            let right = replaced(&mut binary.right, right);
            let changed = left.transformed || right.transformed;
            Ok(Transformed::new_transformed(Expr::BinaryExpr(binary), changed))
        }
        Expr::InList(mut list) => {
            let found = list.list.first().and_then(|first| beside(&list.expr, first, schema));
            Ok(replaced(&mut list.expr, found).update_data(|()| Expr::InList(list)))
        }
        Expr::Between(mut between) => {
            let found = beside(&between.expr, &between.low, schema);
            Ok(replaced(&mut between.expr, found).update_data(|()| Expr::Between(between)))
        }
        Expr::Case(mut case) => {
            let first = case.when_then_expr.first();
            let found = case.expr.as_ref().zip(first);
            let found = found.and_then(|(value, (first, _))| beside(value, first, schema));
            let changed = found.is_some();
            case.expr = found.map(Box::new).or(case.expr);
            Ok(Transformed::new_transformed(Expr::Case(case), changed))
        }
        Expr::ScalarFunction(call) if is_json(&call) => {
            check_path(&call, schema)?;
            Ok(joined(&call)
                .map_or_else(|| Transformed::no(Expr::ScalarFunction(call)), Transformed::yes))
        }
        part => Ok(Transformed::no(part)),
    })
}

fn replaced(place: &mut Expr, found: Option<Expr>) -> Transformed<()> {
    let changed = found.is_some();
    if let Some(found) = found {
        *place = found;
    }
    Transformed::new_transformed((), changed)
}

/// JSON beside a value of some type is read as that type; `None` if `json` is none.
fn beside(json: &Expr, value: &Expr, schema: &DFSchema) -> Option<Expr> {
    let args = get::arguments(json)?;
    if get::arguments(value).is_some() {
        return None;
    }
    let reader = match value.get_type(schema).ok()? {
        DataType::Boolean => udfs::json_get_bool_udf(),
        // A whole number may be compared with a fraction.
        data_type if data_type.is_numeric() => udfs::json_get_float_udf(),
        _ => udfs::json_as_text_udf(),
    };
    Some(reader.call(args.to_vec()))
}

/// JSON as a condition.
fn condition(json: &Expr) -> Option<Expr> {
    Some(udfs::json_get_bool_udf().call(get::arguments(json)?.to_vec()))
}

/// JSON under a cast: without the cast if the reader gives that type.
fn under_cast(
    json: &Expr,
    data_type: &DataType,
    schema: &DFSchema,
    cast: impl Fn(Expr) -> Expr,
) -> Option<Expr> {
    let read = reader(data_type).call(get::arguments(json)?.to_vec());
    let is_read = read.get_type(schema).is_ok_and(|read| read == *data_type);
    Some(if is_read { read } else { cast(read) })
}

fn reader(data_type: &DataType) -> Arc<ScalarUDF> {
    match data_type {
        DataType::Boolean => udfs::json_get_bool_udf(),
        // What an i64 does not hold is in its text.
        DataType::UInt64 => udfs::json_as_text_udf(),
        data_type if data_type.is_integer() => udfs::json_get_int_udf(),
        data_type if data_type.is_numeric() => udfs::json_get_float_udf(),
        _ => udfs::json_as_text_udf(),
    }
}

/// `json_get_str(json_get(data, 'a'), 'b')` is `json_get_str(data, 'a', 'b')`: the text is read once.
fn joined(call: &ScalarFunction) -> Option<Expr> {
    let joins = matches!(
        call.name(),
        "json_get"
            | "json_get_bool"
            | "json_get_float"
            | "json_get_int"
            | "json_get_json"
            | "json_get_str"
            | "json_as_text"
    );
    let (first, steps) = call.args.split_first().filter(|_| joins)?;
    let mut args = get::arguments(first)?.to_vec();
    args.extend_from_slice(steps);
    let literal = args.iter().skip(1).all(|step| matches!(step, Expr::Literal(..)));
    literal.then(|| call.func.call(args))
}

/// Several steps at once are looked up one row like the other: only one of them may be a column, and that has to be one step.
fn check_path(call: &ScalarFunction, schema: &DFSchema) -> Result<()> {
    let is_list = |step: &Expr| matches!(step.get_type(schema), Ok(DataType::List(_)));
    let steps = call.args.get(1..).unwrap_or_default();
    let mut columns = steps.iter().filter(|step| step.any_column_refs());
    if columns.any(|step| steps.len() > 1 || is_list(step)) {
        return Err(refused(
            format!("a path of several steps in `{}` must consist of literals", call.name()),
            "take one step at a time: json_get(json_get(data, a), b)",
        ));
    }
    Ok(())
}

const fn is_distinct(operator: Operator) -> bool {
    matches!(operator, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

const fn compares(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Spaceship
    )
}

const fn computes(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
    )
}
