//! `SET` settings on their way to what they are about, and which windows may leave early or be corrected.

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Extension, LogicalPlan, LogicalPlanBuilder},
};
use postrider_core::Diagnostic;
use postrider_plan::{Emission, Window, WindowAggregate};

use crate::{codes, limits::MAX_COPIES_OF_A_ROW, text::SourceText, walk};

/// What makes the results of windows final.
pub(crate) const AT_THE_END: &str =
    "SET emit_every = INTERVAL '0 seconds' and SET allowed_lateness = INTERVAL '0 seconds'";

/// How the alias around a view starts whose settings are not those of the queries: its time to live follows, and when its windows' results
/// leave, unless that is at the end.
const ALIAS: &str = "__ttl_";

/// What `SET` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long what changes is remembered, in nanoseconds of the clock; `None` is for ever.
    pub(crate) ttl_ns: Option<i64>,
    /// When the results of windows leave.
    pub(crate) emission: Emission,
}

impl Settings {
    /// Those of a query that runs once.
    pub(crate) fn of_query() -> Self {
        Self { ttl_ns: None, emission: Emission::default() }
    }

    /// A view's plan that keeps its own settings wherever it is put.
    pub(crate) fn around(self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let ttl = self.ttl_ns.unwrap_or(0);
        let Emission { every_ns, lateness_ns } = self.emission;
        let alias = match self.emission.is_final() {
            true => format!("{ALIAS}{ttl}"),
            false => format!("{ALIAS}{ttl}_{}_{lateness_ns}", every_ns.unwrap_or(0)),
        };
        LogicalPlanBuilder::from(plan).alias(alias)?.build()
    }

    /// The settings of what is under a node.
    pub(crate) fn under(self, node: &LogicalPlan) -> Self {
        let LogicalPlan::SubqueryAlias(alias) = node else { return self };
        let Some(own) = alias.alias.table().strip_prefix(ALIAS) else { return self };
        let numbers: Vec<i64> = own.split('_').filter_map(|ns| ns.parse().ok()).collect();
        let length = |ns: &i64| Some(*ns).filter(|ns| *ns > 0);
        let (ttl, emission) = match numbers.as_slice() {
            [ttl] => (ttl, Emission::default()),
            [ttl, every, lateness_ns] => {
                (ttl, Emission { every_ns: length(every), lateness_ns: *lateness_ns })
            }
            _ => return self,
        };
        Self { ttl_ns: length(ttl), emission }
    }
}

/// Gives windows their settings. Those that can't be revised are told.
pub(crate) fn set_emission(
    plan: LogicalPlan,
    settings: Settings,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Result<(LogicalPlan, Vec<Diagnostic>)> {
    let plan = revise(plan, settings)?;
    let mut errors = Vec::new();
    walk::nodes(&plan, |node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(node) = extension.node.as_any().downcast_ref::<WindowAggregate>()
            && !node.emission.is_final()
        {
            errors.extend(never_revised(node.window, source, within));
        }
    });
    Ok((plan, errors))
}

fn revise(plan: LogicalPlan, settings: Settings) -> Result<LogicalPlan> {
    let settings = settings.under(&plan);
    let below = |child| revise(child, settings).map(Transformed::yes);
    let plan = plan.map_children(below)?.data;
    let plan = plan.map_subqueries(|query| revise(query, settings).map(Transformed::yes))?.data;
    let LogicalPlan::Extension(extension) = &plan else { return Ok(plan) };
    match extension.node.as_any().downcast_ref::<WindowAggregate>() {
        Some(node) if !settings.emission.is_final() => {
            let node = WindowAggregate { emission: settings.emission, ..node.clone() };
            Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
        }
        _ => Ok(plan),
    }
}

/// Why the results of a window can't leave early or be corrected.
fn never_revised(
    window: Window,
    source: &SourceText<'_>,
    within: &Range<usize>,
) -> Option<Diagnostic> {
    let (what, name) = match window {
        Window::Session { .. } => ("of a session", "session"),
        Window::Calendar { zone: None, .. } => ("by the time zone of each row", "tumble"),
        Window::Given { .. } => ("of the window of other results", "w"),
        Window::Hop { slide_ns, size_ns, .. } if are_many(slide_ns, size_ns) => {
            ("of windows of which a row is in more than 64", "hop")
        }
        Window::Cumulate { step_ns, size_ns, .. } if are_many(step_ns, size_ns) => {
            ("of windows of which a row is in more than 64", "cumulate")
        }
        _ => return None,
    };
    let message = format!("results {what} can't leave early or be corrected");
    Some(
        Diagnostic::error(codes::NEVER_REVISED, message)
            .at(source.find_name(name, within).unwrap_or_else(|| within.clone()))
            .hint(format!("in front of the statement with the window, {AT_THE_END}")),
    )
}

const fn are_many(short_ns: i64, size_ns: i64) -> bool {
    size_ns.unsigned_abs().div_ceil(short_ns.unsigned_abs()) > MAX_COPIES_OF_A_ROW
}
