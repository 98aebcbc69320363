//! Joins with tables that are looked up to stages with two inputs.

use std::sync::Arc;

use datafusion::{
    common::JoinType,
    logical_expr::{Expr, LogicalPlan, builder::build_join_schema},
};
use postrider_core::Diagnostics;
use postrider_plan::{Lookup, TableJoin};

use super::{
    Branch, Origin, Planner,
    expressions::{physical, plan_error},
    joins::{Side, same_types, side},
    scanned_table,
};
use crate::{
    chain::Chain,
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{OperatorSpec, TableJoinSpec, TableLimit},
};

impl Planner {
    pub(super) fn table_join(
        &mut self,
        node: &TableJoin,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = node.on.iter().cloned().unzip();
        let left = side(&left_keys, node.left.schema())?;
        let right = side(&right_keys, node.right.schema())?;
        let left_branches = self.lower(&node.left)?;
        let right_branches = self.lower(&node.right)?;
        let stage = self.flow.stages.len();
        self.flow.stages.push(StageNode {
            identity: stage_identity(plan, &self.flow.stages),
            operator: OperatorSpec::TableJoin(spec(node, &left, &right)?),
            outputs: Vec::new(),
            updating: false,
            words: words(node),
        });
        let keys = node.on.len();
        let inputs = [(left_branches, left.step), (right_branches, right.step)];
        for (port, (branches, step)) in inputs.into_iter().enumerate() {
            for mut branch in branches {
                branch.chain.0.push(step.clone());
                self.connect(branch, Target::Stage(stage), port, Route::Hash { keys });
            }
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }
}

fn spec(node: &TableJoin, left: &Side, right: &Side) -> Result<TableJoinSpec, Diagnostics> {
    same_types(&node.on, &left.schema, &right.schema)?;
    let pairs = build_join_schema(node.left.schema(), node.right.schema(), &JoinType::Full);
    let pairs = pairs.map_err(|error| plan_error(&error))?;
    let filter = node.filter.as_ref().map(|filter| physical(filter, &pairs)).transpose()?;
    Ok(TableJoinSpec {
        lookup: node.lookup,
        limit: if node.lookup == Lookup::Last { limit(&node.right)? } else { None },
        outer: node.kind == JoinType::Left,
        keys: node.on.len(),
        inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
        columns: [Arc::clone(&left.columns), Arc::clone(&right.columns)],
        filter,
        pair_schema: Arc::new(pairs.as_arrow().clone()),
        output_schema: Arc::new(node.schema.as_arrow().clone()),
    })
}

/// The limit of the table behind a relation.
fn limit(relation: &LogicalPlan) -> Result<Option<TableLimit>, Diagnostics> {
    if let LogicalPlan::TableScan(scan) = relation {
        let table = scanned_table(scan)?;
        let bytes = table.common.max_lookup_bytes;
        return Ok(Some(TableLimit { table: table.name.as_str().into(), bytes }));
    }
    relation.inputs().into_iter().find_map(|input| limit(input).transpose()).transpose()
}

fn words(node: &TableJoin) -> StageWords {
    let outer = node.kind == JoinType::Left;
    let keys = node.on.iter().map(|(left, right): &(Expr, Expr)| {
        let (left, right) = (of_expression(left), of_expression(right));
        if left == right { left } else { format!("{left} = {right}") }
    });
    let none = if outer { ", or NULLs" } else { "" };
    let (what, state, timers) = match node.lookup {
        Lookup::AsOf => (
            "temporal join: the right row that was the newest at the left row's time",
            "left rows until the watermark reaches them; right rows until it reaches a newer one of their key, the newest for ever",
            "one for each left row, fired by the watermark",
        ),
        Lookup::Last => (
            "lookup join: the right row with the left row's key",
            "the right table whole; left rows until it was read to its end, from then on until the epoch ends",
            "none: left rows wait for no watermark",
        ),
    };
    StageWords {
        what: format!("{what}{none}"),
        keys: keys.collect(),
        aggregates: Vec::new(),
        results: node.schema.fields().iter().map(|field| field.name().clone()).collect(),
        state: state.to_owned(),
        timers: timers.to_owned(),
    }
}
