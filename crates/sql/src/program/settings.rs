//! `SET`: how long what changes is remembered, and when the results of windows leave.

use std::ops::Range;

use datafusion::logical_expr::LogicalPlan;
use postrider_core::Diagnostic;
use postrider_plan::Emission;
use sqlparser::ast::{Set, Spanned};

use super::Planner;
use crate::{
    catalog::{fold, only_part},
    changelog::{self, DEFAULT_TTL_NS},
    codes,
    emission::Settings,
    interval,
    parse::{Located, Statement},
    suggest,
};

const NAMES: [&str; 3] = ["updating_ttl", "emit_every", "allowed_lateness"];

impl Planner<'_, '_> {
    /// Reads every SET.
    pub(super) fn settle(&mut self, statements: &[Located]) {
        for Located { statement, range } in statements {
            let Statement::Set(set) = statement else { continue };
            match self.setting(set, range) {
                Ok((name, ns)) => self.apply(&name, ns, range.start),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn apply(&mut self, name: &str, ns: i64, at: usize) {
        let length = Some(ns).filter(|ns| *ns > 0);
        let emission = self.emission_before(at);
        match name {
            "emit_every" => {
                self.emissions.push((at, Emission { every_ns: length, ..emission }));
            }
            "allowed_lateness" => {
                self.emissions.push((at, Emission { lateness_ns: ns, ..emission }));
            }
            _ => self.ttls.push((at, length)),
        }
    }

    /// The name of a setting, and its nanoseconds.
    fn setting(&self, set: &Set, range: &Range<usize>) -> Result<(String, i64), Diagnostic> {
        const EXAMPLE: &str = "SET updating_ttl = INTERVAL '1 day'; zero is for ever";
        let wrong = |message: String, place: Range<usize>, hint: &str| {
            Err(Diagnostic::error(codes::BAD_SETTING, message).at(place).hint(hint))
        };
        let Set::SingleAssignment { scope: None, hivevar: false, variable, values } = set else {
            return wrong("this form of SET is not supported".to_owned(), range.clone(), EXAMPLE);
        };
        let place = |span| self.source.range(span).unwrap_or_else(|| range.clone());
        let name = only_part(variable).map_or_else(|| variable.to_string(), fold);
        if !NAMES.contains(&name.as_str()) {
            let hint = suggest::hint(&name, "settings", NAMES);
            return wrong(format!("there is no setting `{name}`"), place(variable.span()), &hint);
        }
        let example = match name.as_str() {
            "emit_every" => {
                "SET emit_every = INTERVAL '1 minute'; zero is at the end of a window only"
            }
            "allowed_lateness" => "SET allowed_lateness = INTERVAL '1 hour'; zero is none",
            _ => EXAMPLE,
        };
        let [value] = values.as_slice() else {
            return wrong(format!("`{name}` takes one length of time"), range.clone(), example);
        };
        match interval::literal_ns(&self.catalog, value) {
            Ok(ns) if ns >= 0 => Ok((name, ns)),
            _ => {
                let place = self.source.balanced(value.span()).unwrap_or_else(|| range.clone());
                wrong(format!("`{name}` takes a length of time without months"), place, example)
            }
        }
    }

    /// The time to live that a view takes: the last that was set before it.
    fn ttl_before(&self, start: usize) -> Option<i64> {
        let before = self.ttls.iter().rfind(|(at, _)| *at < start);
        before.map_or(Some(DEFAULT_TTL_NS), |(_, ttl)| *ttl)
    }

    /// Warnings for what a query remembers.
    pub(super) fn remembered(&self, plan: &LogicalPlan, range: &Range<usize>) -> Vec<Diagnostic> {
        let said: Vec<_> = self.ttls.iter().map(|(_, ttl)| *ttl).collect();
        changelog::remembered(plan, &said, self.source, range)
    }

    /// When results of windows leave in the statement there: as was set last before it.
    fn emission_before(&self, start: usize) -> Emission {
        let before = self.emissions.iter().rfind(|(at, _)| *at < start);
        before.map_or_else(Emission::default, |(_, emission)| *emission)
    }

    pub(super) fn settings_of_view(&self, start: usize) -> Settings {
        Settings { ttl_ns: self.ttl_before(start), emission: self.emission_before(start) }
    }

    /// The time to live of queries is the last that was set, wherever they stand.
    pub(super) fn settings_of_query(&self, start: usize) -> Settings {
        Settings { ttl_ns: self.ttl_before(usize::MAX), emission: self.emission_before(start) }
    }

    /// Whether some query may have other settings than a view.
    pub(super) fn has_other_settings(&self, view: Settings) -> bool {
        view.ttl_ns != self.ttl_before(usize::MAX) || !self.emissions.is_empty()
    }
}
