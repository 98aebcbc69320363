//! Window table functions in FROM.

use postrider_core::Diagnostic;
use sqlparser::ast::Expr;

use super::{Checker, address};
use crate::{
    codes,
    functions::is_window,
    window_spec::{self, Arg},
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
        let written =
            |(position, length): (usize, &&Expr)| Arg::written(self.catalog, position, length);
        let lengths: Vec<_> = args.lengths.iter().enumerate().map(written).collect();
        if lengths.iter().any(|arg| matches!(arg, Arg::OfRow)) {
            self.errors.push(
                Diagnostic::error(
                    codes::WINDOW_LENGTH,
                    format!(
                        "the lengths and the time zone of `{}` in FROM are literals",
                        table.name
                    ),
                )
                .at_option(self.source.balanced(table.span))
                .hint("for the zone of each row: GROUP BY user_id, tumble(INTERVAL '1 day', zone)"),
            );
            return;
        }
        if let Err(problem) = window_spec::window(&table.name, &lengths) {
            self.errors.push(
                Diagnostic::error(codes::WINDOW_LENGTH, problem.message)
                    .at_option(self.source.balanced(table.span))
                    .hint(problem.hint),
            );
        }
    }
}
