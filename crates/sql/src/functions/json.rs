//! JSON in TEXT: the functions and operators of `datafusion-functions-json`, which are those of Arroyo.
//!
//! There, `json_get` and `->` give an Arrow union, one member for each type of JSON. No sink and no key takes one, so a call that
//! is not under a cast or another JSON function becomes the text of the JSON here, and no union is ever in a row.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, Result,
        config::ConfigOptions,
        not_impl_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::FunctionRegistry,
    functions::core::expr_fn::nullif,
    logical_expr::{
        AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, Operator, ScalarUDF,
        WindowUDF,
        expr::ScalarFunction,
        expr_rewriter::{FunctionRewrite, NamePreserver},
        lit,
        planner::ExprPlanner,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};
use datafusion_functions_json::{register_all, udfs};

use super::scalar::refused;

/// Functions that show the union.
const HIDDEN: [&str; 2] = ["json_from_scalar", "json_union_to_text"];

const JSON_GET: &str = "json_get";
const JSON_NULL: &str = "null";

/// What the crate registers.
#[derive(Default)]
pub(super) struct Json {
    pub(super) functions: Vec<Arc<ScalarUDF>>,
    pub(super) planners: Vec<Arc<dyn ExprPlanner>>,
    pub(super) rewrites: Vec<Arc<dyn FunctionRewrite + Send + Sync>>,
}

impl Json {
    pub(super) fn new() -> Self {
        let mut all = Self::default();
        let registered = register_all(&mut all);
        debug_assert!(registered.is_ok(), "the registry takes what it is given");
        all.functions.retain(|function| !HIDDEN.contains(&function.name()));
        all
    }
}

/// The crate gives its operators and rewrites to a registry alone.
impl FunctionRegistry for Json {
    fn register_udf(&mut self, udf: Arc<ScalarUDF>) -> Result<Option<Arc<ScalarUDF>>> {
        self.functions.push(udf);
        Ok(None)
    }

    fn register_function_rewrite(
        &mut self,
        rewrite: Arc<dyn FunctionRewrite + Send + Sync>,
    ) -> Result<()> {
        self.rewrites.push(rewrite);
        Ok(())
    }

    fn register_expr_planner(&mut self, planner: Arc<dyn ExprPlanner>) -> Result<()> {
        self.planners.push(planner);
        Ok(())
    }

    fn expr_planners(&self) -> Vec<Arc<dyn ExprPlanner>> {
        self.planners.clone()
    }

    fn udfs(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn higher_order_function_names(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn udafs(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn udwfs(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn udf(&self, name: &str) -> Result<Arc<ScalarUDF>> {
        not_impl_err!("{name} is not looked up here")
    }

    fn higher_order_function(&self, name: &str) -> Result<Arc<HigherOrderUDF>> {
        not_impl_err!("{name} is not looked up here")
    }

    fn udaf(&self, name: &str) -> Result<Arc<AggregateUDF>> {
        not_impl_err!("{name} is not looked up here")
    }

    fn udwf(&self, name: &str) -> Result<Arc<WindowUDF>> {
        not_impl_err!("{name} is not looked up here")
    }
}

/// Turns what is left of the unions into text, or into what it is compared with. Runs behind the crate's own rewrites, which put
/// `json_get` under a cast or in another call together, and before types are resolved.
#[derive(Debug)]
pub(super) struct JsonAsText;

impl AnalyzerRule for JsonAsText {
    fn name(&self) -> &str {
        "json_as_text"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            let schema = merge_schema(&node.inputs());
            let node = node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(without_unions(expr, &schema)?.update_data(|expr| name.restore(expr)))
            })?;
            // A column that was a union below is a text here as well.
            node.map_data(LogicalPlan::recompute_schema)
        })?;
        Ok(plan.data)
    }
}

/// Whether a plan calls a function of JSON.
pub(super) fn is_called(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found |= matches!(part, Expr::ScalarFunction(call) if is_json(call));
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    debug_assert!(walked.is_ok(), "no step fails");
    found
}

/// Applies the crate's rewrites and [`JsonAsText`] to an expression that is in no plan.
pub(super) fn resolve(
    expr: Expr,
    schema: &DFSchema,
    rewrites: &[Arc<dyn FunctionRewrite + Send + Sync>],
) -> Result<Expr> {
    let options = ConfigOptions::default();
    let rewritten = rewrites.iter().try_fold(expr, |expr, rewrite| {
        expr.transform_up(|part| rewrite.rewrite(part, schema, &options)).map(|expr| expr.data)
    })?;
    Ok(without_unions(rewritten, schema)?.data)
}

fn without_unions(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| match part {
        Expr::BinaryExpr(mut binary) if compares(binary.op) => {
            let left = compared(&binary.left, &binary.right, schema);
            let right = compared(&binary.right, &binary.left, schema);
            let changes = left.is_some() || right.is_some();
            binary.left = left.map_or(binary.left, Box::new);
            binary.right = right.map_or(binary.right, Box::new);
            Ok(Transformed::new_transformed(Expr::BinaryExpr(binary), changes))
        }
        Expr::InList(mut list) => {
            let found = list.list.first().and_then(|first| compared(&list.expr, first, schema));
            let changes = found.is_some();
            list.expr = found.map_or(list.expr, Box::new);
            Ok(Transformed::new_transformed(Expr::InList(list), changes))
        }
        Expr::Between(mut between) => {
            let found = compared(&between.expr, &between.low, schema);
            let changes = found.is_some();
            between.expr = found.map_or(between.expr, Box::new);
            Ok(Transformed::new_transformed(Expr::Between(between), changes))
        }
        Expr::ScalarFunction(call) if is_json(&call) => {
            check_path(&call)?;
            if call.name() != JSON_GET {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            }
            // The text of a JSON null is `null`; that of a string has quotes.
            let text = udfs::json_get_json_udf().call(call.args);
            Ok(Transformed::yes(nullif(text, lit(JSON_NULL))))
        }
        part => Ok(Transformed::no(part)),
    })
}

/// JSON that is compared with a value of some type is read as that type, not as the text of the JSON; `None` if `json` is none.
fn compared(json: &Expr, with: &Expr, schema: &DFSchema) -> Option<Expr> {
    let args = text_of_json(json)?;
    if text_of_json(with).is_some() {
        return None;
    }
    let reader = match with.get_type(schema).ok()? {
        DataType::Boolean => udfs::json_get_bool_udf(),
        // A whole number may be compared with a fraction.
        data_type if data_type.is_numeric() => udfs::json_get_float_udf(),
        _ => udfs::json_as_text_udf(),
    };
    Some(reader.call(args.to_vec()))
}

fn is_json(call: &ScalarFunction) -> bool {
    call.name().starts_with("json_") && !HIDDEN.contains(&call.name())
}

/// Several steps at once are looked up one row like the other: only one of them may be a column.
fn check_path(call: &ScalarFunction) -> Result<()> {
    if call.args.len() > 2 && call.args.iter().skip(1).any(Expr::any_column_refs) {
        return Err(refused(
            format!("a path of several steps in `{}` must consist of literals", call.name()),
            "take one step at a time: json_get(json_get(data, a), b)",
        ));
    }
    Ok(())
}

/// The arguments of the `json_get` that [`without_unions`] made an expression of.
fn text_of_json(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Alias(alias) => text_of_json(&alias.expr),
        Expr::ScalarFunction(call) if call.name() == "nullif" => match call.args.as_slice() {
            [Expr::ScalarFunction(json), Expr::Literal(null, _)]
                if json.name() == "json_get_json" && null.try_as_str() == Some(Some(JSON_NULL)) =>
            {
                Some(&json.args)
            }
            _ => None,
        },
        _ => None,
    }
}

const fn compares(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}
