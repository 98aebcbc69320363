//! JSON in TEXT: the functions and operators of `datafusion-functions-json`, which are those of Arroyo.
//!
//! There, `json_get` and `->` give an Arrow union, one member for each type of JSON, which no sink, no key and few functions take.
//! Here they give the text of the JSON, unless what stands around them asks for a type: see [`by_type`].

mod by_type;
mod get;

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::{
        DFSchema, Result, not_impl_err,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::FunctionRegistry,
    logical_expr::{
        AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, WindowUDF,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
};
use datafusion_functions_json::register_all;

pub(super) use self::by_type::{JsonByType, resolve};
use self::get::{JSON_GET, json_get};

/// Functions that show the union.
const HIDDEN: [&str; 2] = ["json_from_scalar", "json_union_to_text"];

/// What the crate registers, and `json_get` in place of its own.
#[derive(Default)]
pub(super) struct Json {
    pub(super) functions: Vec<Arc<ScalarUDF>>,
    pub(super) planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Json {
    pub(super) fn new() -> Self {
        let mut all = Self::default();
        let registered = register_all(&mut all);
        debug_assert!(registered.is_ok(), "the registry takes what it is given");
        all.functions
            .retain(|function| !HIDDEN.contains(&function.name()) && function.name() != JSON_GET);
        all.functions.push(json_get());
        let operators = JsonOperators(std::mem::take(&mut all.planners));
        all.planners.push(Arc::new(operators));
        all
    }
}

/// The crate's operators over the `json_get` of here, and the other operators with JSON on one side.
#[derive(Debug)]
struct JsonOperators(Vec<Arc<dyn ExprPlanner>>);

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        for planner in &self.0 {
            match planner.plan_binary_op(expr, schema)? {
                PlannerResult::Planned(planned) => {
                    return Ok(PlannerResult::Planned(get::with_text(planned)?));
                }
                PlannerResult::Original(original) => expr = original,
            }
        }
        Ok(PlannerResult::Original(by_type::operands(expr, schema)))
    }
}

/// The crate gives its operators to a registry alone.
impl FunctionRegistry for Json {
    fn register_udf(&mut self, udf: Arc<ScalarUDF>) -> Result<Option<Arc<ScalarUDF>>> {
        self.functions.push(udf);
        Ok(None)
    }

    fn register_function_rewrite(
        &mut self,
        _rewrite: Arc<dyn datafusion::logical_expr::expr_rewriter::FunctionRewrite + Send + Sync>,
    ) -> Result<()> {
        // It is about unions.
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

fn is_json(call: &ScalarFunction) -> bool {
    call.name().starts_with("json_") && !HIDDEN.contains(&call.name())
}
