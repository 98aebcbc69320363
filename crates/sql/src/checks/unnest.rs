//! `unnest` in SELECT and FROM.

use sqlparser::ast::{
    Join, JoinConstraint, JoinOperator, Select, Spanned, TableFactor, TableWithJoins,
};

use super::{Checker, address};
use crate::{
    unnest::{self, UnnestTable},
    window_calls::{self, Calls},
};

impl Checker<'_, '_, '_> {
    /// Rows are made in SELECT and GROUP BY only.
    pub(super) fn unnest_places(&mut self, select: &Select) {
        let conditions = [
            ("WHERE", &select.selection),
            ("HAVING", &select.having),
            ("QUALIFY", &select.qualify),
        ];
        for (clause, condition) in conditions {
            self.no_unnest(clause, &Calls::of(condition));
        }
        for join in select.from.iter().flat_map(|table| &table.joins) {
            if let Some(JoinConstraint::On(condition)) = constraint(&join.join_operator) {
                self.no_unnest("ON", &Calls::of(condition));
            }
        }
        for call in Calls::of(&select.projection).0 {
            let name = window_calls::name(&call);
            let of_rows =
                call.over.is_some() || self.catalog.functions.aggregate.contains_key(&name);
            if of_rows {
                self.no_unnest(&name, &Calls::of(&call.args));
            }
        }
        for (index, table) in select.from.iter().enumerate() {
            if index > 0 {
                self.beside.insert(address(&table.relation));
            }
            self.joined_unnests(table);
        }
    }

    fn no_unnest(&mut self, clause: &str, calls: &Calls) {
        for call in calls.0.iter().filter(|call| window_calls::name(call) == unnest::NAME) {
            let range = self.source.balanced(call.span());
            let hint = "unnest in FROM: FROM t CROSS JOIN UNNEST(t.tags) AS tag WHERE tag = 'sale'";
            self.unsupported(&format!("unnest in {clause}"), range, hint);
        }
    }

    /// Takes note of the calls that stand behind a table.
    pub(super) fn joined_unnests(&mut self, tables: &TableWithJoins) {
        self.beside.extend(tables.joins.iter().map(|join| address(&join.relation)));
    }

    /// A call in FROM.
    pub(super) fn unnest_table(&mut self, factor: &TableFactor, call: &UnnestTable<'_>) {
        if let TableFactor::Table { name, .. } = factor {
            self.refused.insert(address(name));
        }
        let has_types = call
            .alias
            .is_some_and(|alias| alias.columns.iter().any(|column| column.data_type.is_some()));
        let (what, hint) = if !self.beside.contains(&address(factor)) {
            ("UNNEST without a table before it", "write FROM t CROSS JOIN UNNEST(t.items) AS item")
        } else if call.list.is_none() {
            ("UNNEST of anything but one list", "write CROSS JOIN UNNEST(t.items) AS item")
        } else if call.with_ordinality {
            ("UNNEST WITH ORDINALITY", "remove it")
        } else if has_types {
            ("a type in the alias of UNNEST", "name the columns only: AS i(sku, price)")
        } else {
            return;
        };
        let range = self.source.balanced(factor.span());
        self.unsupported(what, range, hint);
    }

    /// How a call is joined; false if `join` is of something else.
    pub(super) fn unnest_join(&mut self, join: &Join) -> bool {
        if !unnest::is_call(&join.relation) {
            return false;
        }
        if unnest::keeps_rows(&join.join_operator).is_none() {
            let range = self.source.balanced(join.relation.span());
            let hint = "write CROSS JOIN UNNEST(..), or LEFT JOIN UNNEST(..) ON true to keep rows without items";
            self.unsupported("this kind of join with UNNEST", range, hint);
        }
        true
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match operator {
        Join(constraint)
        | Inner(constraint)
        | Left(constraint)
        | LeftOuter(constraint)
        | Right(constraint)
        | RightOuter(constraint)
        | FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}
