//! The names a statement can use, as DataFusion's planner asks for them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    common::{Result, TableReference, config::ConfigOptions, plan_err},
    logical_expr::{
        AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, TableType, WindowUDF,
        planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner},
    },
};
use postrider_plan::{StreamTable, Table};
use sqlparser::ast::{Ident, ObjectName};

use crate::{
    checks::Extent, functions::Functions, late_rows::LateTables, macros::Macros,
    table_joins::syntax::AsOf, types::StreamTypes, unnest::UnnestTables,
    window_tables::WindowTables,
};

/// Tables, views and functions.
#[derive(Debug)]
pub(crate) struct Catalog {
    /// By lower-case name.
    pub(crate) tables: BTreeMap<String, Arc<Table>>,
    /// By lower-case name.
    pub(crate) views: BTreeMap<String, View>,
    /// Memory tables by lower-case name. Those that are filled are views as well.
    pub(crate) memory: BTreeMap<String, Arc<Table>>,
    pub(crate) functions: Functions,
    pub(crate) macros: Macros,
    relations: [Arc<dyn RelationPlanner>; 3],
    config: ConfigOptions,
}

/// A named query.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) plan: Arc<LogicalPlan>,
    /// How large it is once everything is expanded.
    pub(crate) extent: Extent,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        let mut config = ConfigOptions::new();
        config.sql_parser.collect_spans = true;
        config.sql_parser.map_string_types_to_utf8view = false;
        config.execution.enable_recursive_ctes = false;
        Self {
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            memory: BTreeMap::new(),
            functions: Functions::new(),
            macros: Macros::default(),
            relations: [Arc::new(WindowTables), Arc::new(UnnestTables), Arc::new(LateTables)],
            config,
        }
    }

    /// The names that FROM may use.
    pub(crate) fn readable_names(&self) -> Vec<&str> {
        self.tables.keys().chain(self.views.keys()).map(String::as_str).collect()
    }

    /// The fields of all STRUCTs in the columns of tables, those in lists and in each other included.
    pub(crate) fn field_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let columns = self.tables.values().flat_map(|table| &table.columns);
        let mut types: Vec<&DataType> = columns.map(|column| &column.data_type).collect();
        while let Some(data_type) = types.pop() {
            match data_type {
                DataType::List(item) => types.push(item.data_type()),
                DataType::Struct(fields) => {
                    names.extend(fields.iter().map(|field| field.name().clone()));
                    types.extend(fields.iter().map(|field| field.data_type()));
                }
                _ => {}
            }
        }
        names
    }
}

/// The name an identifier stands for: lower case unless quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The only part of a name; `None` for `schema.name`.
pub(crate) fn only_part(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident(),
        _ => None,
    }
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if name.schema().is_some() {
            return plan_err!("there are no schemas: `{name}` must be one name");
        }
        let key = name.table().to_lowercase();
        if let Some(view) = self.views.get(&key) {
            return Ok(Arc::new(ViewSource(Arc::clone(&view.plan))));
        }
        match self.tables.get(&key) {
            Some(table) => Ok(Arc::new(StreamTable(Arc::clone(table)))),
            None => plan_err!("table `{}` does not exist", name.table()),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(StreamTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        // In the place of FOR SYSTEM_TIME.
        let as_of = (name == AsOf::NAME).then(|| Arc::new(ScalarUDF::from(AsOf::new())));
        as_of.or_else(|| self.functions.scalar.get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}

/// A view as a table; the planner puts its plan in place of the scan.
struct ViewSource(Arc<LogicalPlan>);

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.schema().inner())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.0))
    }
}
