//! `SET updating_ttl = INTERVAL '..'`: how long what changes is remembered.

use std::ops::Range;

use datafusion::logical_expr::LogicalPlan;
use postrider_core::Diagnostic;
use sqlparser::ast::{Set, Spanned};

use super::Planner;
use crate::{
    catalog::{fold, only_part},
    changelog::{self, DEFAULT_TTL_NS},
    codes, interval,
    parse::{Located, Statement},
};

impl Planner<'_, '_> {
    /// Reads every SET.
    pub(super) fn settle(&mut self, statements: &[Located]) {
        for Located { statement, range } in statements {
            let Statement::Set(set) = statement else { continue };
            match self.ttl(set, range) {
                Ok(ttl) => self.ttls.push((range.start, ttl)),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn ttl(&self, set: &Set, range: &Range<usize>) -> Result<Option<i64>, Diagnostic> {
        const EXAMPLE: &str = "SET updating_ttl = INTERVAL '1 day'; zero is for ever";
        let wrong = |message: String, place: Range<usize>| {
            Err(Diagnostic::error(codes::BAD_SETTING, message).at(place).hint(EXAMPLE))
        };
        let Set::SingleAssignment { scope: None, hivevar: false, variable, values } = set else {
            return wrong("this form of SET is not supported".to_owned(), range.clone());
        };
        let place = |span| self.source.range(span).unwrap_or_else(|| range.clone());
        let name = only_part(variable).map_or_else(|| variable.to_string(), fold);
        if name != "updating_ttl" {
            let message = format!("there is no setting `{name}`, only `updating_ttl`");
            return wrong(message, place(variable.span()));
        }
        let [value] = values.as_slice() else {
            return wrong("`updating_ttl` takes one length of time".to_owned(), range.clone());
        };
        match interval::literal_ns(&self.catalog, value) {
            Ok(ns) if ns >= 0 => Ok(Some(ns).filter(|ns| *ns > 0)),
            _ => {
                let place = self.source.balanced(value.span()).unwrap_or_else(|| range.clone());
                wrong("`updating_ttl` takes a length of time without months".to_owned(), place)
            }
        }
    }

    /// The time to live that a view takes: the last that was set before it.
    pub(super) fn ttl_before(&self, start: usize) -> Option<i64> {
        let before = self.ttls.iter().rfind(|(at, _)| *at < start);
        before.map_or(Some(DEFAULT_TTL_NS), |(_, ttl)| *ttl)
    }

    /// Warnings for what a query remembers.
    pub(super) fn remembered(&self, plan: &LogicalPlan, range: &Range<usize>) -> Vec<Diagnostic> {
        let said: Vec<_> = self.ttls.iter().map(|(_, ttl)| *ttl).collect();
        changelog::remembered(plan, &said, self.source, range)
    }

    /// The time to live of queries: the last that was set, wherever they stand.
    pub(super) fn last_ttl(&self) -> Option<i64> {
        self.ttl_before(usize::MAX)
    }
}
