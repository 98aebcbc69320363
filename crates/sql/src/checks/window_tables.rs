//! Window table functions in FROM.

use postrider_core::Diagnostic;
use sqlparser::ast::Expr;

use super::{Checker, address};
use crate::{
    codes,
    functions::is_window,
    interval, window_spec,
    window_tables::{WindowTable, relation_name},
};

/// Whether a name is that of a window table function or of one of its clauses.
pub(super) fn is_part(name: &str) -> bool {
    is_window(name) || matches!(name, "descriptor" | "partition_by")
}

impl Checker<'_, '_, '_> {
    pub(super) fn window_table(&mut self, table: &WindowTable<'_>) {
        let args = match table.read() {
            Ok(args) => args,
            Err(wrong) => {
                self.errors.push(
                    Diagnostic::error(codes::SYNTAX, wrong.message)
                        .at_option(self.source.balanced(wrong.span))
                        .hint(wrong.hint),
                );
                return;
            }
        };
        if let Expr::Subquery(query) = args.data {
            self.read.insert(address(query.as_ref()));
        }
        if let Some(name) = relation_name(args.data) {
            self.relation(&name);
        }
        let lengths = args.lengths.iter().map(|length| interval::literal_ns(self.catalog, length));
        if let Err(problem) = window_spec::window(&table.name, &lengths.collect::<Vec<_>>()) {
            self.errors.push(
                Diagnostic::error(codes::WINDOW_LENGTH, problem.message)
                    .at_option(self.source.balanced(table.span))
                    .hint(problem.hint),
            );
        }
    }
}
