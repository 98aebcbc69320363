//! Views, and tables that are views: names for the rows of a query.

use std::{ops::Range, sync::Arc};

use datafusion::logical_expr::LogicalPlan;
use postrider_core::Diagnostic;
use postrider_plan::MaterializedView;
use sqlparser::ast::{self, CreateTableOptions, CreateView, ObjectName, ViewColumnDef};

use super::Planner;
use crate::{
    catalog::{View, fold, only_part},
    checks::Input,
    codes, ddl, errors, select,
    text::SourceText,
};

impl Planner<'_, '_> {
    pub(super) fn name_view(
        &mut self,
        create: &CreateView,
        range: &Range<usize>,
    ) -> Result<(), Vec<Diagnostic>> {
        let place = only_part(&create.name).and_then(|name| self.source.range(name.span));
        if !is_plain_view(create) {
            let message = "only plain views are supported";
            return Err(vec![
                Diagnostic::error(codes::UNSUPPORTED, message)
                    .at(place.unwrap_or_else(|| range.clone()))
                    .hint("write CREATE VIEW name AS SELECT .."),
            ]);
        }
        self.name_rows(&create.name, &create.query, &create.columns, range)?;
        if let Some(name) = only_part(&create.name).filter(|_| create.materialized) {
            let view = MaterializedView { name: fold(name), range: range.clone() };
            self.materialized_views.push(view);
        }
        Ok(())
    }

    /// Names the rows of a query, perhaps with other names for its columns.
    pub(super) fn name_rows(
        &mut self,
        name: &ObjectName,
        query: &ast::Query,
        columns: &[ViewColumnDef],
        range: &Range<usize>,
    ) -> Result<(), Vec<Diagnostic>> {
        let Some(ident) = only_part(name) else {
            return Err(vec![ddl::no_schemas(range.clone())]);
        };
        let name = fold(ident);
        let place = self.source.range(ident.span).unwrap_or_else(|| range.clone());
        let key = name.to_lowercase();
        if self.is_taken(&key, &name, place) || self.uses_broken(range) {
            self.broken.insert(key);
            return Ok(());
        }
        let input = Input::Stream;
        let analyzed = select::analyze(&self.catalog, self.source, query, input, range)?;
        let mut plan = rename(analyzed.plan, columns, self.source, range)?;
        let settings = self.settings_of_view(range.start);
        if self.has_other_settings(settings) {
            plan = settings
                .around(plan)
                .map_err(|error| errors::explain(&error, self.source, range))?;
        }
        self.warnings.extend(analyzed.warnings);
        let view = View { plan: Arc::new(plan), extent: analyzed.extent };
        self.catalog.views.insert(key, view);
        Ok(())
    }
}

/// Whether a view has a name, perhaps columns, a query, and nothing else.
const fn is_plain_view(view: &CreateView) -> bool {
    let replaces = view.or_alter || view.or_replace || view.if_not_exists;
    let other_kind = view.secure || view.temporary || view.to.is_some();
    !replaces
        && !other_kind
        && matches!(view.options, CreateTableOptions::None)
        && view.cluster_by.is_empty()
        && view.comment.is_none()
        && !view.with_no_schema_binding
        && !view.copy_grants
        && view.params.is_none()
}

/// `CREATE VIEW v (a, b) AS ..` names the columns anew.
fn rename(
    plan: LogicalPlan,
    columns: &[ViewColumnDef],
    source: &SourceText<'_>,
    range: &Range<usize>,
) -> Result<LogicalPlan, Vec<Diagnostic>> {
    use datafusion::{
        common::Column,
        logical_expr::{Expr, LogicalPlanBuilder},
    };
    if columns.is_empty() {
        return Ok(plan);
    }
    let (is, wanted) = (columns.len(), plan.schema().fields().len());
    if is != wanted {
        return Err(vec![
            Diagnostic::error(
                codes::INSERT_COLUMNS,
                format!("the view names {is} columns, its SELECT yields {wanted}"),
            )
            .at(range.clone())
            .hint("name each column once"),
        ]);
    }
    let exprs: Vec<Expr> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            Expr::Column(Column::from(plan.schema().qualified_field(index)))
                .alias(fold(&column.name))
        })
        .collect();
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| errors::explain(&error, source, range))
}
