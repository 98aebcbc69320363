//! `FOR SYSTEM_TIME AS OF` in FROM.

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{Select, Spanned, TableFactor, TableVersion},
    keywords::Keyword,
};

use super::{Checker, Input, address};
use crate::{codes, table_joins::syntax};

impl Checker<'_, '_, '_> {
    /// Remembers the versions of tables that stand where they can be looked up.
    pub(super) fn find_versions(&mut self, select: &Select) {
        let joins = select.from.iter().flat_map(|from| &from.joins);
        self.versions.extend(joins.filter_map(syntax::versioned).map(address));
    }

    /// Refuses a version of a table that nobody looks up.
    pub(super) fn version(&mut self, factor: &TableFactor) {
        let TableFactor::Table { version: Some(version), name, .. } = factor else { return };
        let message = match version {
            _ if self.input == Input::Bounded => {
                "a query that ends can't look up versions of tables"
            }
            TableVersion::ForSystemTimeAsOf(_) if self.versions.contains(&address(factor)) => {
                return;
            }
            TableVersion::ForSystemTimeAsOf(_) => {
                "FOR SYSTEM_TIME AS OF stands on the right of JOIN or LEFT JOIN, with ON behind it"
            }
            _ => "the version of a table is asked for in other words",
        };
        let place = match version {
            TableVersion::ForSystemTimeAsOf(time) => {
                let time = self.source.balanced(time.span());
                time.map(|time| self.source.since_keyword(Keyword::FOR, time))
            }
            _ => self.source.range(name.span()),
        };
        let hint = match self.input {
            Input::Bounded => syntax::BOUNDED_HINT,
            Input::Stream => syntax::HINT,
        };
        self.errors.push(Diagnostic::error(codes::NO_VERSION, message).at_option(place).hint(hint));
    }
}
