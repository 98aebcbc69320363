//! The statements of a program as Arroyo takes them.

use super::{Findings, queries, tables};
use crate::parse::{Located, Statement};

/// Looks at one statement.
pub(super) fn statement(located: &Located, findings: &mut Findings<'_, '_>) {
    let Located { statement, range } = located;
    match statement {
        Statement::Table(create, clauses) => {
            tables::check(create, range, findings);
            for clause in &clauses.metadata {
                findings.refused(
                    clause.range.clone(),
                    "Arroyo has no metadata of these tables",
                    "its kafka tables know offset_id, partition, topic, timestamp and key",
                );
            }
            if let Some(query) = &create.query {
                queries::check(query, findings);
            }
        }
        Statement::View(create) => {
            if create.materialized {
                let word = findings.source.find_name("materialized", range);
                findings.refused(
                    word.unwrap_or_else(|| range.clone()),
                    "Arroyo keeps no view to be read",
                    "CREATE VIEW gives the name alone; INSERT its rows into a table to read them",
                );
            }
            queries::check(&create.query, findings);
        }
        Statement::Function(_) => findings.refused(
            range.clone(),
            "Arroyo has no functions written in SQL",
            "write the expression where it is called, or the function in Rust or Python there",
        ),
        Statement::Insert(insert) => {
            if let Some(query) = &insert.source {
                queries::check(query, findings);
            }
        }
        Statement::Select(query) => queries::check(query, findings),
        Statement::Set(_) => {}
    }
}
