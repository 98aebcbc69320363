//! Which tables are read, which are written, and which are neither.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use postrider_core::{Diagnostic, Severity};
use postrider_plan::{Table, TableRole};

use super::Planner;
use crate::{codes, lower};

impl Planner<'_, '_> {
    /// A table is a source or a sink, not both, and not against its `type`.
    pub(super) fn check_roles(&mut self) {
        let mut read: BTreeMap<String, Range<usize>> = BTreeMap::new();
        for query in &self.queries {
            for table in lower::tables(&query.plan) {
                read.entry(table.name.to_lowercase()).or_insert_with(|| query.range.clone());
            }
        }
        let mut written = BTreeSet::new();
        for query in &self.queries {
            let Some(key) = &query.sink else { continue };
            let Some(table) = self.catalog.tables.get(key) else { continue };
            written.insert(key.clone());
            self.errors.extend(no_changes(table, false));
            let is_source = table.common.role == Some(TableRole::Source);
            let (what, hint) = if is_source {
                ("is a source, so it can't be written", "declare another table for the result")
            } else if read.contains_key(key) {
                (
                    "is written here and read elsewhere, and a table is one of both",
                    "declare another table for the result; CREATE VIEW names rows for several queries",
                )
            } else {
                continue;
            };
            self.errors.push(
                Diagnostic::error(codes::WRONG_ROLE, format!("`{}` {what}", table.name))
                    .at(query.name_range.clone())
                    .hint(hint),
            );
        }
        for (key, range) in &read {
            let Some(table) = self.catalog.tables.get(key) else { continue };
            self.errors.extend(no_changes(table, true));
            if table.common.role == Some(TableRole::Sink) || table.is_email() {
                let place = self.source.find_name(&table.name, range);
                self.errors.push(
                    Diagnostic::error(
                        codes::WRONG_ROLE,
                        format!("`{}` is a sink, so it can't be read", table.name),
                    )
                    .at(place.unwrap_or_else(|| range.clone()))
                    .hint("read the table that feeds it"),
                );
            }
        }
        for (key, table) in &self.catalog.tables {
            if !read.contains_key(key) && !written.contains(key) {
                self.warnings.push(
                    Diagnostic {
                        severity: Severity::Warning,
                        ..Diagnostic::error(
                            codes::UNUSED_TABLE,
                            format!("no query uses table `{}`", table.name),
                        )
                    }
                    .at(table.range.clone())
                    .hint("remove it, or INSERT INTO it"),
                );
            }
        }
    }
}

/// What is wrong with a table of changes that is read, or whose rows are final.
fn no_changes(table: &Table, is_read: bool) -> Option<Diagnostic> {
    if !table.holds_changes() {
        return None;
    }
    let (code, message, hint) = if table.is_email() {
        (
            codes::BAD_OPTION,
            format!("`{}` sends each row once, so it takes no changes", table.name),
            "remove format = 'debezium_json'",
        )
    } else if is_read && table.primary_key.is_empty() {
        (
            codes::BAD_CHANGES,
            format!("`{}` holds changes, and does not say which rows they are of", table.name),
            "declare its key: id BIGINT PRIMARY KEY, or PRIMARY KEY (a, b)",
        )
    } else {
        return None;
    };
    Some(Diagnostic::error(code, message).at(table.range.clone()).hint(hint))
}
