//! The functions that SQL may call, and the window functions among them.

mod email;
mod hash;
mod json;
mod json_path;
mod number;
mod scalar;
mod time_zone;
mod url;

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, TimeUnit},
    common::{DFSchema, Result, exec_err},
    execution::SessionStateDefaults,
    logical_expr::{
        AggregateUDF, ColumnarValue, Expr, HigherOrderUDF, LogicalPlan, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowUDF,
        planner::ExprPlanner,
    },
    optimizer::Analyzer,
};
use postrider_plan::{EpochClock, RowTime, Window, window_type};

use self::{
    json::{Json, JsonByType},
    scalar::Scalar,
};
use crate::window_origin::Part;

/// Functions that tell about files or the build, not about rows.
const DENIED: [&str; 4] = ["input_file_name", "file_row_index", "version", "arrow_metadata"];

/// Functions that Arroyo has beside those of DataFusion, under the same names.
const OF_ARROYO: [&str; 4] =
    ["extract_json", "extract_json_string", "get_first_json_object", "multi_hash"];

/// Every function by name and alias.
#[derive(Debug)]
pub(crate) struct Functions {
    pub(crate) scalar: HashMap<String, Arc<ScalarUDF>>,
    pub(crate) aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub(crate) window: HashMap<String, Arc<WindowUDF>>,
    pub(crate) higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    pub(crate) planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    pub(crate) fn new() -> Self {
        let mut scalar = HashMap::new();
        let json = Json::new();
        let windows = WindowFunction::all().map(|function| Arc::new(ScalarUDF::from(function)));
        let row_time = std::iter::once(Arc::new(ScalarUDF::from(RowTime::new())));
        let clock = EpochClock::all().map(|function| Arc::new(ScalarUDF::from(function)));
        let own = own().map(|function| Arc::new(function.into_udf())).chain(row_time).chain(clock);
        let builtin = SessionStateDefaults::default_scalar_functions().into_iter();
        for udf in builtin.chain(windows).chain(json.functions).chain(own) {
            if DENIED.contains(&udf.name()) {
                continue;
            }
            insert(&mut scalar, udf.name(), udf.aliases(), &udf);
        }
        let mut aggregate = HashMap::new();
        for udf in SessionStateDefaults::default_aggregate_functions() {
            insert(&mut aggregate, udf.name(), udf.aliases(), &udf);
        }
        let mut window = HashMap::new();
        for udf in SessionStateDefaults::default_window_functions() {
            insert(&mut window, udf.name(), udf.aliases(), &udf);
        }
        let mut higher_order = HashMap::new();
        for udf in SessionStateDefaults::default_higher_order_functions() {
            insert(&mut higher_order, udf.name(), udf.aliases(), &udf);
        }
        // Those of JSON look at the operands first.
        let mut planners = json.planners;
        planners.extend(SessionStateDefaults::default_expr_planners());
        Self { scalar, aggregate, window, higher_order, planners }
    }

    /// Whoever resolves the types of a plan that calls these functions.
    pub(crate) fn analyzer(&self, plan: &LogicalPlan) -> Analyzer {
        let mut analyzer = Analyzer::new();
        // Most plans are spared these passes, which each statement makes over all views that it reads.
        if json::is_called(plan) {
            analyzer.rules.insert(0, Arc::new(JsonByType));
        }
        analyzer
    }

    /// What [`Self::analyzer`] does before types are resolved, for an expression that is in no plan.
    pub(crate) fn rewrite(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        json::resolve(expr, schema)
    }

    /// Whether any function has this lower-case name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.scalar.contains_key(name)
            || self.aggregate.contains_key(name)
            || self.window.contains_key(name)
            || self.higher_order.contains_key(name)
    }

    /// Whether there is such a function in DataFusion that SQL may not call.
    pub(crate) fn is_denied(name: &str) -> bool {
        DENIED.contains(&name)
    }

    /// Whether a lower-case name is that of a function of a row of Postrider's own, beside those that Arroyo has as well.
    pub(crate) fn is_own(name: &str) -> bool {
        !OF_ARROYO.contains(&name)
            && own()
                .map(Scalar::into_udf)
                .any(|udf| udf.name() == name || udf.aliases().iter().any(|alias| alias == name))
    }

    /// Names to suggest, sorted, so that a hint never changes from run to run.
    pub(crate) fn names(&self) -> Vec<&str> {
        let scalars = self.scalar.keys().chain(self.higher_order.keys());
        let mut names: Vec<_> = scalars.chain(self.aggregate.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether a call may give another result the next time.
    pub(crate) fn is_volatile(&self, name: &str) -> bool {
        !is_window(name)
            && name != RowTime::NAME
            && !self.reads_clock(name)
            && self
                .scalar
                .get(name)
                .is_some_and(|udf| udf.signature().volatility != Volatility::Immutable)
    }

    /// Whether a call gives the reading of the clock.
    pub(crate) fn reads_clock(&self, name: &str) -> bool {
        self.scalar.get(name).is_some_and(|udf| udf.inner().is::<EpochClock>())
    }
}

/// The functions of a row that are Postrider's own.
fn own() -> impl Iterator<Item = Scalar> {
    let texts = url::all().into_iter().chain(email::all());
    let others = time_zone::all().into_iter().chain(hash::all()).chain(number::all());
    json_path::all().into_iter().chain(texts).chain(others)
}

fn insert<F>(map: &mut HashMap<String, Arc<F>>, name: &str, aliases: &[String], udf: &Arc<F>) {
    for name in std::iter::once(name).chain(aliases.iter().map(String::as_str)) {
        map.insert(name.to_owned(), Arc::clone(udf));
    }
}

/// Whether a lower-case name is that of a window function.
pub(crate) fn is_window(name: &str) -> bool {
    matches!(name, "tumble" | "hop" | "cumulate" | "session")
}

/// `tumble(size)`, `hop(slide, size)`, `cumulate(step, size)`, each with an offset, and `session(gap)`: placeholders in a GROUP BY, which lowering
/// replaces. Volatile, so that no rule folds, moves or merges them before that.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowFunction {
    name: &'static str,
    signature: Signature,
}

impl WindowFunction {
    fn all() -> impl Iterator<Item = Self> {
        ["tumble", "hop", "cumulate", "session"]
            .into_iter()
            .map(|name| Self { name, signature: Signature::variadic_any(Volatility::Volatile) })
    }
}

impl ScalarUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(window_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name, window_type(), false)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} is no function of a row; it belongs into GROUP BY", self.name)
    }
}

/// A column of a window table function, whose arguments are the columns that it partitions by. Volatile, so that no rule moves or
/// merges it before lowering, and answered by no row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowColumn {
    pub(crate) part: Part,
    pub(crate) window: Window,
    signature: Signature,
}

impl WindowColumn {
    pub(crate) fn new(part: Part, window: Window, arity: usize) -> Self {
        let signature = match arity {
            0 => Signature::nullary(Volatility::Volatile),
            arity => Signature::any(arity, Volatility::Volatile),
        };
        Self { part, window, signature }
    }
}

impl ScalarUDFImpl for WindowColumn {
    fn name(&self) -> &str {
        self.part.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Nanosecond, None))
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, false)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} is no function of a row", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Functions, json::Json, own};

    /// What the examples give is tested where a binary can run them.
    #[test]
    fn the_page_of_functions_lists_every_function() {
        let page = include_str!("../../../docs/functions.md");
        let json = Json::new().functions.into_iter().map(|function| function.name().to_owned());
        let own = own().map(|function| function.name.to_owned());
        let others =
            ["tumble", "hop", "session", "row_time", "now", "current_date"].map(str::to_owned);
        let functions = Functions::new();
        for name in json.chain(own).chain(others) {
            assert!(page.contains(&format!("| `{name}(")), "docs/functions.md lacks {name}");
            assert!(functions.knows(&name), "{name} can't be called");
        }
    }
}
