//! Tables that are no streams by themselves: TEMPORARY ones, memory tables, and named queries.

use postrider_core::Diagnostic;
use postrider_plan::{Column, Table};
use sqlparser::ast::{CreateTable, CreateTableOptions, SqlOption};

use crate::{codes, prepass::TableClauses, program::MEMORY};

/// A memory table is its columns and nothing else.
pub(super) fn memory(table: &Table, with: &[SqlOption]) -> Result<(), Vec<Diagnostic>> {
    if table.connector != MEMORY {
        return Ok(());
    }
    let name = &table.name;
    let own = |column: &&Column| column.generated.is_some() || column.metadata.is_some();
    let generated = table.columns.iter().find(own);
    let (message, place, hint) = if table.temporary {
        (
            format!("`{name}` says of no connector where its rows are looked up"),
            table.range.clone(),
            "add WITH (connector = 'single_file', ..); what the program fills itself is not TEMPORARY",
        )
    } else if with.len() > 1 {
        (
            format!("`{name}` is a memory table, which takes no options"),
            table.range.clone(),
            "leave WITH (..) away; of another connector, name it: connector = 'single_file'",
        )
    } else if let Some(column) = generated {
        (
            format!(
                "`{}` can't be generated or metadata: the program fills `{name}` itself",
                column.name
            ),
            column.range.clone(),
            "compute it in the INSERT",
        )
    } else {
        return Ok(());
    };
    Err(vec![Diagnostic::error(codes::MEMORY_TABLE, message).at(place).hint(hint)])
}

/// What is declared TEMPORARY is looked up by its key, as it is.
pub(super) fn temporary(table: &Table) -> Result<(), Vec<Diagnostic>> {
    let name = &table.name;
    let (message, hint) = match (table.temporary, table.primary_key.is_empty(), &table.watermark) {
        (true, ..) if table.holds_changes() => (
            format!("`{name}` is TEMPORARY, so it is looked up as it is, and its rows are changes"),
            "read plain rows, such as format = 'json' or 'csv'",
        ),
        (true, true, _) => (
            format!("`{name}` is TEMPORARY, so it is looked up by its PRIMARY KEY, and has none"),
            "declare it: id TEXT PRIMARY KEY; a table whose rows are a stream is not TEMPORARY",
        ),
        (true, false, Some(_)) => (
            format!("`{name}` is TEMPORARY, so it is looked up as it is, at no time"),
            "remove WATERMARK FOR; or remove TEMPORARY, and look up a version: FOR SYSTEM_TIME AS OF o.ts",
        ),
        _ => return Ok(()),
    };
    Err(vec![Diagnostic::error(codes::BAD_TEMPORARY, message).at(table.range.clone()).hint(hint)])
}

/// Whether `CREATE TABLE t AS SELECT ..` names the rows of a query, and says nothing else.
pub(crate) fn is_named_query(create: &CreateTable, clauses: &TableClauses) -> bool {
    let replaces = create.or_replace || create.if_not_exists;
    let other_kind = create.temporary || create.external || create.like.is_some();
    create.query.is_some()
        && !replaces
        && !other_kind
        && create.columns.is_empty()
        && create.constraints.is_empty()
        && clauses.watermark.is_none()
        && clauses.metadata.is_empty()
        && matches!(create.table_options, CreateTableOptions::None)
}
