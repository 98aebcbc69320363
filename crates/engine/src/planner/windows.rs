//! Windows to stages, and rows into windows.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use postrider_core::{Diagnostic, Diagnostics, format_duration};
use postrider_plan::{Emission, Window, WindowAggregate, WindowRows};

use super::{Branch, Origin, Planner, expressions::aggregate_inputs};
use crate::{
    chain::{Chain, ChainStep},
    changes::with_kinds,
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{AggregateSpec, Grid, OperatorSpec, RevisedSpec},
};

impl Planner {
    /// Puts rows into their windows. It is no stage: the step goes behind whatever the rows come from.
    pub(super) fn window_rows(&mut self, node: &WindowRows) -> Result<Vec<Branch>, Diagnostics> {
        let (Some(grid), Some(reach_ns)) = (Grid::of(node.window), node.window.reach_ns()) else {
            return Err(Diagnostic::error("PR0420", "rows can't be put into these windows").into());
        };
        let schema = Arc::new(node.schema.as_arrow().clone());
        let mut branches = self.lower(&node.input)?;
        for branch in &mut branches {
            branch.chain.0.push(ChainStep::Windows { grid, reach_ns, schema: Arc::clone(&schema) });
        }
        Ok(branches)
    }

    pub(super) fn window(
        &mut self,
        node: &WindowAggregate,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let branches = self.lower(&node.input)?;
        let (steps, spec) = aggregate_inputs(node)?;
        let keys = node.group_exprs.len();
        let stage = self.flow.stages.len();
        let identity = stage_identity(plan, &self.flow.stages);
        let operator = if node.emission.is_final() {
            OperatorSpec::Window(node.window, spec)
        } else {
            OperatorSpec::Revised(Box::new(revised(node, spec)?))
        };
        self.flow.stages.push(StageNode {
            identity,
            words: words(node),
            operator,
            outputs: Vec::new(),
            updating: !node.emission.is_final(),
        });
        for mut branch in branches {
            branch.chain.0.extend_from_slice(&steps);
            self.connect(branch, Target::Stage(stage), 0, Route::Hash { keys });
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }
}

/// Windows whose results may be corrected.
fn revised(node: &WindowAggregate, aggregate: AggregateSpec) -> Result<RevisedSpec, Diagnostics> {
    let (Some(grid), Some(reach_ns)) = (Grid::of(node.window), node.window.reach_ns()) else {
        let message = format!("results of {} can't leave early or be corrected", node.window);
        return Err(Diagnostic::error("PR0420", message).into());
    };
    Ok(RevisedSpec {
        grid,
        reach_ns,
        every_ns: node.emission.every_ns,
        lateness_ns: node.emission.lateness_ns,
        output_schema: with_kinds(&aggregate.output_schema),
        aggregate,
    })
}

fn words(node: &WindowAggregate) -> StageWords {
    let aggregates: Vec<_> = node.aggr_exprs.iter().map(of_expression).collect();
    let keys: Vec<_> = node.group_exprs.iter().map(of_expression).collect();
    let mut results = keys.clone();
    results.insert(node.window_index.min(results.len()), "window".to_owned());
    results.extend(aggregates.iter().cloned());
    let each =
        if keys.is_empty() { "".to_owned() } else { format!(" for each {}", keys.join(", ")) };
    let state = match node.window {
        Window::Tumble { size_ns, .. } => format!(
            "partial aggregates{each}, dropped when the watermark passes the end of the {} window",
            format_duration(size_ns)
        ),
        Window::Hop { slide_ns, size_ns, .. } => format!(
            "partial aggregates{each} in slices, each kept for {} (a result every {})",
            format_duration(size_ns),
            format_duration(slide_ns)
        ),
        Window::Cumulate { step_ns, size_ns, .. } => format!(
            "partial aggregates{each}, kept for {} (a result every {})",
            format_duration(size_ns),
            format_duration(step_ns)
        ),
        Window::Calendar { period, .. } => format!(
            "partial aggregates{each}, dropped when the watermark passes the end of the window of {period}"
        ),
        Window::Given { .. } => {
            format!(
                "partial aggregates{each}, dropped when the watermark passes the end of their window"
            )
        }
        Window::Session { gap_ns } => format!(
            "the open session{each}, until the watermark is {} behind its last row",
            format_duration(gap_ns)
        ),
    };
    let Emission { every_ns, lateness_ns } = node.emission;
    let (mut what, mut state) = (node.window.to_string(), state);
    let mut timers = "one for each open window, fired by the watermark".to_owned();
    if let Some(every) = every_ns {
        let every = format_duration(every);
        what.push_str(&format!(", results so far every {every}"));
        timers.push_str(&format!("; one every {every} of the clock while results change"));
    }
    if lateness_ns > 0 {
        let lateness = format_duration(lateness_ns);
        what.push_str(&format!(", corrected by rows up to {lateness} late"));
        state.push_str(&format!("; kept for {lateness} more, for late rows"));
    }
    if !node.emission.is_final() {
        state.push_str("; and the result that was said last");
    }
    StageWords { what, keys, aggregates, results, state, timers }
}
