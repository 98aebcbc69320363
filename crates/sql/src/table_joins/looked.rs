//! Relations that can be looked up: tables, and memory tables, which are the rows of a query under a name.

use datafusion::{
    common::Result,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
};
use postrider_plan::{StreamTable, Table};

use super::unnamed;
use crate::lower;

/// How the alias around the rows of a memory table starts: behind it stand its name and the columns of the key, each as
/// `length:name`.
const KEY_ALIAS: &str = "__key ";

/// A relation that can be looked up.
pub(super) struct Looked {
    pub(super) name: String,
    /// The columns of its primary key.
    pub(super) key: Vec<String>,
    pub(super) rows: Rows,
}

/// What its rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// What is so from a time on.
    Versions,
    /// What is so, once all were read.
    Whole,
    /// Neither.
    Others,
}

/// The rows of a memory table, known as its.
pub(crate) fn in_memory(plan: LogicalPlan, table: &Table) -> Result<LogicalPlan> {
    let names = std::iter::once(&table.name).chain(&table.primary_key);
    let names: Vec<_> = names.map(|name| format!("{}:{name}", name.len())).collect();
    LogicalPlanBuilder::from(plan).alias(format!("{KEY_ALIAS}{}", names.join(" ")))?.build()
}

/// The names in such an alias.
fn names(alias: &str) -> Option<Vec<String>> {
    let mut rest = alias.strip_prefix(KEY_ALIAS)?;
    let mut names = Vec::new();
    while let Some((length, behind)) = rest.split_once(':') {
        let (name, others) = behind.split_at_checked(length.trim_start().parse().ok()?)?;
        names.push(name.to_owned());
        rest = others;
    }
    Some(names)
}

/// The table whose columns a relation picks, if it does nothing else.
pub(super) fn looked(plan: &LogicalPlan) -> Option<Looked> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let StreamTable(table) = scan.source.downcast_ref::<StreamTable>()?;
            let rows = match table.watermark {
                Some(_) => Rows::Versions,
                None if table.is_lookup() => Rows::Whole,
                None => Rows::Others,
            };
            Some(Looked { name: table.name.clone(), key: table.primary_key.clone(), rows })
        }
        LogicalPlan::SubqueryAlias(alias) => match names(alias.alias.table()) {
            Some(names) => {
                let (name, key) = names.split_first()?;
                let clocks = lower::clocks(&alias.input);
                let timed = clocks.iter().all(|table| table.watermark.is_some());
                let rows = if timed { Rows::Versions } else { Rows::Others };
                Some(Looked { name: name.clone(), key: key.to_vec(), rows })
            }
            None => looked(&alias.input),
        },
        LogicalPlan::Projection(node) => {
            let picks = node.expr.iter().all(|expr| matches!(unnamed(expr), Expr::Column(_)));
            if picks { looked(&node.input) } else { None }
        }
        _ => None,
    }
}

/// The column of the table behind that of a relation for which [`looked`] finds one.
pub(super) fn table_column(plan: &LogicalPlan, index: usize) -> Option<&str> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            Some(scan.projected_schema.fields().get(index)?.name().as_str())
        }
        LogicalPlan::SubqueryAlias(alias) => match names(alias.alias.table()) {
            Some(_) => Some(alias.schema.fields().get(index)?.name().as_str()),
            None => table_column(&alias.input, index),
        },
        LogicalPlan::Projection(node) => {
            let Expr::Column(column) = unnamed(node.expr.get(index)?) else { return None };
            table_column(&node.input, node.input.schema().maybe_index_of_column(column)?)
        }
        _ => None,
    }
}
