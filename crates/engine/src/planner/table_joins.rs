//! Joins with tables that are looked up to stages with two inputs.

use std::sync::Arc;

use datafusion::{
    common::JoinType,
    logical_expr::{Expr, LogicalPlan, builder::build_join_schema},
};
use postrider_core::Diagnostics;
use postrider_plan::{Lookup, TableJoin};

use super::{
    Branch, Planner,
    expressions::{physical, plan_error},
    joins::{Joined, Side, same_types, side},
    scanned_table,
};
use crate::{
    dataflow::StageWords,
    explain::of_expression,
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
        let joined = Joined {
            operator: OperatorSpec::TableJoin(spec(node, &left, &right)?),
            updating: false,
            words: words(node),
        };
        let sides = [(&*node.left, left.step), (&*node.right, right.step)];
        self.two_sided(plan, sides, node.on.len(), joined)
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
