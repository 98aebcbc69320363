//! Memory tables: a name for the rows of one INSERT, which many queries may read.
//!
//! Nothing is kept for it: its rows are computed where they are read. With a PRIMARY KEY they are versions that a join looks up.

use std::{ops::Range, sync::Arc};

use datafusion::logical_expr::{Expr, LogicalPlan};
use postrider_core::{Diagnostic, Severity};
use postrider_plan::Table;
use sqlparser::ast::{Insert, Spanned, TableObject};

use super::{Planner, unsupported_insert};
use crate::{
    catalog::{View, fold, only_part},
    checks::Input,
    codes, errors,
    insert::{self, Target},
    parse::{Located, Statement},
    select, table_joins, window_origin,
};

/// The connector of a table that says none.
pub(crate) const MEMORY: &str = "memory";

impl Planner<'_, '_> {
    /// The key of the memory table that an INSERT fills, and its place in the statement.
    pub(super) fn memory_target(&self, insert: &Insert) -> Option<(String, Range<usize>)> {
        let TableObject::TableName(name) = &insert.table else { return None };
        let key = fold(only_part(name)?).to_lowercase();
        let place = self.source.range(name.span())?;
        self.catalog.memory.contains_key(&key).then_some((key, place))
    }

    /// Gives a memory table its rows.
    pub(super) fn fill_memory(&mut self, insert: &Insert, range: &Range<usize>) {
        let Some((key, place)) = self.memory_target(insert) else { return };
        if self.uses_broken(range) {
            self.broken.insert(key);
            return;
        }
        match self.memory_rows(insert, &key, place, range) {
            Ok(view) => drop(self.catalog.views.insert(key, view)),
            Err(errors) => {
                self.errors.extend(errors);
                self.broken.insert(key);
            }
        }
    }

    fn memory_rows(
        &mut self,
        insert: &Insert,
        key: &str,
        place: Range<usize>,
        range: &Range<usize>,
    ) -> Result<View, Vec<Diagnostic>> {
        let (Some(query), Some(table)) = (&insert.source, self.catalog.memory.get(key).cloned())
        else {
            return Err(vec![unsupported_insert(range.clone())]);
        };
        if !insert::is_plain(insert) {
            return Err(vec![unsupported_insert(range.clone())]);
        }
        if self.catalog.views.contains_key(key) {
            let message = format!("`{}` is a memory table, which one INSERT fills", table.name);
            return Err(vec![
                Diagnostic::error(codes::MEMORY_TABLE, message)
                    .at(place)
                    .hint("unite the queries: INSERT INTO t SELECT .. UNION ALL SELECT .."),
            ]);
        }
        let input = Input::Stream;
        let analyzed = select::analyze(&self.catalog, self.source, query, input, range)?;
        let target = Target { insert, query, source: self.source, range: place };
        let mut plan = target.project(&table, analyzed.plan)?;
        check_time(&table, &plan)?;
        let explain = |error| errors::explain(&error, self.source, range);
        let settings = self.settings_of_view(range.start);
        if self.has_other_settings(settings) {
            plan = settings.around(plan).map_err(explain)?;
        }
        plan = table_joins::in_memory(plan, &table).map_err(explain)?;
        self.warnings.extend(analyzed.warnings);
        Ok(View { plan: Arc::new(plan), extent: analyzed.extent })
    }

    /// Warns of memory tables that nobody reads.
    pub(super) fn find_unread(&mut self, statements: &[Located]) {
        for table in self.catalog.memory.values() {
            let names = |located: &&Located| {
                !matches!(located.statement, Statement::Table(..))
                    && self.source.find_name(&table.name, &located.range).is_some()
            };
            // The INSERT is one.
            if statements.iter().filter(names).count() < 2 {
                let message = format!("no query reads memory table `{}`", table.name);
                let warning = Diagnostic {
                    severity: Severity::Warning,
                    ..Diagnostic::error(codes::UNUSED_TABLE, message)
                };
                let hint = "read it, or say where its rows go: WITH (connector = '..')";
                self.warnings.push(warning.at(table.range.clone()).hint(hint));
            }
        }
    }
}

/// The time of rows is known where they come from: a memory table can only say which column it is.
fn check_time(table: &Table, plan: &LogicalPlan) -> Result<(), Vec<Diagnostic>> {
    let Some(watermark) = &table.watermark else { return Ok(()) };
    let name = &watermark.column;
    let is_it = |column: &datafusion::common::Column| column.name == *name;
    let index = table.columns.iter().position(|column| column.name == *name);
    let (message, hint) = if !matches!(&watermark.expr, Expr::Column(column) if is_it(column)) {
        (
            format!(
                "the rows of `{}` have the watermark of the tables that they come from",
                table.name
            ),
            format!(
                "write WATERMARK FOR {name}, and let the table that is read say how late rows may be"
            ),
        )
    } else if index.is_none_or(|index| !window_origin::is_event_time(plan, index)) {
        (
            format!("`{name}` is not the event time of the rows that `{}` gets", table.name),
            "insert the column that the table which is read names in its WATERMARK FOR, or window_time".to_owned(),
        )
    } else {
        return Ok(());
    };
    Err(vec![
        Diagnostic::error(codes::MEMORY_TABLE, message).at(watermark.range.clone()).hint(hint),
    ])
}
