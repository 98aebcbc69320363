//! A query's columns to a sink's columns.

use std::ops::Range;

use datafusion::common::ScalarValue;
use datafusion::{
    arrow::compute::can_cast_types,
    common::Column as PlanColumn,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit},
};
use postrider_core::{Diagnostic, OptionValue};
use postrider_plan::{Column, Table};
use sqlparser::ast::{Insert, Query, SelectItem, SetExpr, Spanned};

use crate::{
    catalog::{fold, only_part},
    codes, errors, lower, nullability, suggest,
    text::SourceText,
};

/// What an INSERT writes, and where its parts are.
pub(crate) struct Target<'t, 's, 'a> {
    pub(crate) insert: &'t Insert,
    pub(crate) query: &'t Query,
    pub(crate) source: &'s SourceText<'a>,
    /// The table's name in the INSERT.
    pub(crate) range: Range<usize>,
}

impl Target<'_, '_, '_> {
    /// The columns that a sink declared without columns gets from this query.
    pub(crate) fn infer(
        &self,
        table: &Table,
        plan: &LogicalPlan,
    ) -> Result<Vec<Column>, Vec<Diagnostic>> {
        let mut columns: Vec<Column> = Vec::new();
        let mut found = Vec::new();
        for (index, field) in plan.schema().fields().iter().enumerate() {
            let range = self.item(index);
            if columns.iter().any(|column| column.name == *field.name()) {
                found.push(
                    Diagnostic::error(
                        codes::DUPLICATE_NAME,
                        format!("two columns are named `{}`", field.name()),
                    )
                    .at(range.clone())
                    .hint("give one of them another name: expr AS name"),
                );
            } else if table.is_email() && !is_identifier(field.name()) {
                found.push(
                    Diagnostic::error(
                        codes::UNNAMED_VARIABLE,
                        "this column has no name that a template could use",
                    )
                    .at(range.clone())
                    .hint("name it: expr AS name"),
                );
            }
            columns.push(Column {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                nullable: nullability::column(plan, index),
                generated: None,
                metadata: None,
                range,
            });
        }
        if found.is_empty() { Ok(columns) } else { Err(found) }
    }

    /// Puts the query's columns in the order, names and types of the sink's.
    pub(crate) fn project(
        &self,
        table: &Table,
        plan: LogicalPlan,
    ) -> Result<LogicalPlan, Vec<Diagnostic>> {
        let sources = self.assign(table, plan.schema().fields().len())?;
        let mut exprs = Vec::with_capacity(table.columns.len());
        let mut found = Vec::new();
        for (column, from) in table.columns.iter().zip(sources) {
            let Some(from) = from else {
                match ScalarValue::try_from(&column.data_type) {
                    Ok(null) => exprs.push(lit(null).alias(&column.name)),
                    Err(error) => found.extend(errors::explain(&error, self.source, &self.range)),
                }
                continue;
            };
            if !column.nullable && nullability::column(&plan, from) {
                found.push(self.may_be_null(table, column, from));
                continue;
            }
            let (qualifier, field) = plan.schema().qualified_field(from);
            let value = Expr::Column(PlanColumn::from((qualifier, field)));
            let (is, wanted) = (field.data_type(), &column.data_type);
            if is == wanted {
                exprs.push(value.alias(&column.name));
            } else if can_cast_types(is, wanted) {
                exprs.push(cast(value, wanted.clone()).alias(&column.name));
            } else {
                let (is, wanted) = (errors::type_name(is), errors::type_name(wanted));
                found.push(
                    Diagnostic::error(
                        codes::INSERT_TYPE,
                        format!("`{}` takes {wanted}, and {is} can't become it", column.name),
                    )
                    .at(self.item(from))
                    .hint("compute a value of that type, or change the column's type"),
                );
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        LogicalPlanBuilder::from(plan)
            .project(exprs)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| errors::explain(&error, self.source, &self.range))
    }

    /// A sink would fail on the first NULL, and on each restart again.
    fn may_be_null(&self, table: &Table, column: &Column, from: usize) -> Diagnostic {
        let (name, sink) = (&column.name, &table.name);
        Diagnostic::error(
            codes::INSERT_TYPE,
            format!("`{name}` of `{sink}` is NOT NULL, and this value may be NULL"),
        )
        .at(self.item(from))
        .hint("give another value in place of NULL: COALESCE(value, other), or declare the column without NOT NULL")
    }

    /// For each column of the table, the column of the query that fills it.
    fn assign(&self, table: &Table, width: usize) -> Result<Vec<Option<usize>>, Vec<Diagnostic>> {
        if let Some(column) = table.columns.iter().find(|column| column.generated.is_some()) {
            return Err(vec![
                Diagnostic::error(
                    codes::BAD_GENERATED,
                    format!("sink `{}` can't generate `{}`", table.name, column.name),
                )
                .at(column.range.clone())
                .hint("compute it in the SELECT"),
            ]);
        }
        if let Some(column) = table.columns.iter().find(|column| column.metadata.is_some()) {
            let message = format!("sink `{}` can't write metadata `{}`", table.name, column.name);
            return Err(vec![
                Diagnostic::error(codes::BAD_METADATA, message)
                    .at(column.range.clone())
                    .hint("metadata is that of records that are read; remove METADATA FROM"),
            ]);
        }
        let listed = self.listed(table)?;
        let names = || table.columns.iter().map(|column| column.name.as_str());
        let wanted = listed.as_ref().map_or(table.columns.len(), Vec::len);
        if wanted != width {
            let takes = listed.as_ref().map_or_else(
                || names().collect(),
                |listed| listed.iter().filter_map(|at| names().nth(*at)).collect::<Vec<_>>(),
            );
            return Err(vec![
                Diagnostic::error(
                    codes::INSERT_COLUMNS,
                    format!(
                        "the SELECT yields {}, `{}` takes {wanted}",
                        columns(width),
                        table.name
                    ),
                )
                .at(self.range.clone())
                .hint(format!("in order: {}", takes.join(", "))),
            ]);
        }
        let Some(listed) = listed else { return Ok((0..width).map(Some).collect()) };
        let sources: Vec<_> = (0..table.columns.len())
            .map(|column| listed.iter().position(|at| *at == column))
            .collect();
        let unfilled = table.columns.iter().zip(&sources);
        let missing: Vec<&str> = unfilled
            .filter(|(column, from)| from.is_none() && !column.nullable)
            .map(|(column, _)| column.name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(sources);
        }
        Err(vec![
            Diagnostic::error(
                codes::INSERT_COLUMNS,
                format!("NOT NULL columns get no value: {}", missing.join(", ")),
            )
            .at(self.range.clone())
            .hint("add them to the column list and to the SELECT"),
        ])
    }

    /// Positions of the columns in `INSERT INTO t (..)`, if there is a list.
    fn listed(&self, table: &Table) -> Result<Option<Vec<usize>>, Vec<Diagnostic>> {
        if self.insert.columns.is_empty() {
            return Ok(None);
        }
        let mut positions = Vec::new();
        for name in &self.insert.columns {
            let folded = only_part(name).map_or_else(|| name.to_string(), fold);
            let place = self.source.range(name.span()).unwrap_or_else(|| self.range.clone());
            let wrong = |message: String, hint: String| {
                vec![Diagnostic::error(codes::INSERT_COLUMNS, message).at(place.clone()).hint(hint)]
            };
            let names = table.columns.iter().map(|column| column.name.as_str());
            let Some(position) = names.clone().position(|name| name == folded) else {
                return Err(wrong(
                    format!("`{}` has no column `{folded}`", table.name),
                    suggest::hint(&folded, "columns", names),
                ));
            };
            if positions.contains(&position) {
                return Err(wrong(
                    format!("column `{folded}` is listed twice"),
                    "remove one of them".to_owned(),
                ));
            }
            positions.push(position);
        }
        Ok(Some(positions))
    }

    /// Where the query's column is written, if each has its own item.
    fn item(&self, index: usize) -> Range<usize> {
        let SetExpr::Select(select) = self.query.body.as_ref() else { return self.range.clone() };
        let plain = select.projection.iter().all(|item| {
            matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
        });
        let item = select.projection.get(index).filter(|_| plain);
        item.and_then(|item| self.source.balanced(item.span()))
            .unwrap_or_else(|| self.range.clone())
    }

    /// Email may not go to addresses that anybody with a page's key can name.
    pub(crate) fn check_recipients(&self, table: &Table, plan: &LogicalPlan) -> Option<Diagnostic> {
        if !table.is_email() {
            return None;
        }
        let open = lower::tables(plan).into_iter().find(|read| {
            let accept = read.options.peek("accept").map(|option| &option.value);
            read.connector == "collector"
                && matches!(accept, Some(OptionValue::Text(accept)) if accept == "any")
        })?;
        let range = open
            .options
            .peek("accept")
            .map_or_else(|| open.range.clone(), |option| option.range.clone());
        Some(
            Diagnostic::error(
                codes::OPEN_RECIPIENTS,
                format!(
                    "`{}` would mail whoever a browser names: `{}` takes events from browser keys",
                    table.name, open.name
                ),
            )
            .at(range)
            .hint("set accept = 'server', and post these events from your server"),
        )
    }
}

/// Whether nothing in an INSERT says that some rows are to be replaced, left out or given back.
pub(crate) const fn is_plain(insert: &Insert) -> bool {
    insert.or.is_none()
        && !insert.ignore
        && !insert.overwrite
        && !insert.replace_into
        && insert.on.is_none()
        && insert.returning.is_none()
        && insert.output.is_none()
        && insert.priority.is_none()
        && insert.partitioned.is_none()
        && insert.after_columns.is_empty()
        && insert.assignments.is_empty()
        && insert.table_alias.is_none()
        && insert.insert_alias.is_none()
        && insert.settings.is_none()
        && insert.format_clause.is_none()
        && insert.multi_table_insert_type.is_none()
}

fn columns(number: usize) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} column{ending}")
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}
