//! `FROM late_rows(events)`: the rows of a table that came too late for its watermark.

use std::sync::Arc;

use datafusion::{
    common::{Result, plan_datafusion_err},
    logical_expr::{
        Extension, LogicalPlan,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
};
use postrider_core::Diagnostic;
use postrider_plan::LateRows;
use sqlparser::{
    ast::{
        Expr as SqlExpr, FunctionArg, FunctionArgExpr, ObjectName, Spanned, TableAlias,
        TableFactor, TableFunctionArgs,
    },
    tokenizer::Span,
};

use crate::{
    catalog::{Catalog, fold, only_part},
    codes, lower,
    text::SourceText,
    window_tables::{relation_name, relation_of},
};

/// The name of the function.
pub(crate) const NAME: &str = "late_rows";

/// A call of it in FROM.
pub(crate) struct LateTable<'q> {
    args: &'q [FunctionArg],
    span: Span,
    alias: Option<&'q TableAlias>,
}

impl<'q> LateTable<'q> {
    pub(crate) fn of(factor: &'q TableFactor) -> Option<Self> {
        let TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), alias, .. } =
            factor
        else {
            return None;
        };
        let is_it = only_part(name).is_some_and(|name| fold(name) == NAME);
        is_it.then(|| Self { args, span: name.span(), alias: alias.as_ref() })
    }

    fn table(&self) -> Option<&'q SqlExpr> {
        match self.args {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some(expr),
            _ => None,
        }
    }

    /// The table that it names, or what is wrong with that.
    pub(crate) fn check(
        &self,
        catalog: &Catalog,
        source: &SourceText<'_>,
    ) -> std::result::Result<ObjectName, Diagnostic> {
        let place = source.balanced(self.span).or_else(|| source.range(self.span));
        let wrong = |message: String, hint: &str| {
            let error = Diagnostic::error(codes::LATE_ROWS, message);
            Err(error.at_option(place.clone()).hint(hint))
        };
        const HINT: &str = "write FROM late_rows(events), with the name of a table";
        let Some(name) = self.table().and_then(relation_name) else {
            return wrong(format!("`{NAME}` takes one table"), HINT);
        };
        let key = only_part(&name).map(|name| fold(name).to_lowercase()).unwrap_or_default();
        if catalog.views.contains_key(&key) {
            return wrong(
                format!("`{key}` is a view, and only a table knows which of its rows are late"),
                "read the late rows of the table that it reads",
            );
        }
        let Some(table) = catalog.tables.get(&key) else { return Ok(name) };
        if table.watermark.is_none() {
            let place = place.unwrap_or_else(|| table.range.clone());
            return Err(lower::no_event_time(table, place, "are never late"));
        }
        if table.holds_changes() {
            return wrong(
                format!("`{}` holds changes, and a change is not late by one time", table.name),
                "read the table itself: what it computes waits for no time",
            );
        }
        let has = |wanted: &&str| table.columns.iter().any(|column| column.name == *wanted);
        if let Some(taken) = LateRows::NAMES.into_iter().find(has) {
            return wrong(
                format!("`{}` has a column `{taken}`, and so would its late rows", table.name),
                "give the column another name: name TYPE GENERATED ALWAYS AS (..), or rename the field",
            );
        }
        Ok(name)
    }
}

/// Plans it.
#[derive(Debug)]
pub(crate) struct LateTables;

impl RelationPlanner for LateTables {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(table) = LateTable::of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(named) = table.table() else {
            return Err(plan_datafusion_err!("`{NAME}` takes one table"));
        };
        let input = context.plan(relation_of(named))?;
        let node = Extension { node: Arc::new(LateRows::try_new(Arc::new(input))?) };
        let plan = LogicalPlan::Extension(node);
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, table.alias.cloned()))))
    }
}
