//! The first rows of keys to stages.

use std::sync::Arc;

use arrow::{
    compute::SortOptions,
    datatypes::Schema,
    row::{RowConverter, SortField},
};
use datafusion::logical_expr::{Expr, LogicalPlan};
use postrider_core::{Diagnostic, Diagnostics, format_duration};
use postrider_plan::{UpdatingTop, is_updating};

use super::{
    Branch, Origin, Planner,
    expressions::{Columns, physical},
    kinds_at,
};
use crate::{
    chain::{Chain, ChainStep},
    changes::{field, with_kinds},
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{OperatorSpec, UpdatingTopSpec},
};

impl Planner {
    pub(super) fn updating_top(
        &mut self,
        node: &UpdatingTop,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let branches = self.lower(&node.input)?;
        let (step, spec) = inputs(node)?;
        let keys = spec.keys;
        let stage = self.flow.stages.len();
        self.flow.stages.push(StageNode {
            identity: stage_identity(plan, &self.flow.stages),
            words: words(node, &spec),
            operator: OperatorSpec::UpdatingTop(spec),
            outputs: Vec::new(),
            updating: true,
        });
        for mut branch in branches {
            branch.chain.0.push(step.clone());
            self.connect(branch, Target::Stage(stage), 0, Route::Hash { keys });
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }
}

/// A projection to `[keys.., order.., columns..]`, and what is done with that.
fn inputs(node: &UpdatingTop) -> Result<(ChainStep, UpdatingTopSpec), Diagnostics> {
    let (schema, takes_back) = (node.input.schema(), is_updating(&node.input));
    let arriving =
        if takes_back { with_kinds(schema.as_arrow()) } else { Arc::clone(schema.inner()) };
    let mut columns = Columns::new(&arriving);
    let order = node.order_by.iter().map(|sort| sort.expr.clone());
    let exprs = node.partition_by.iter().cloned().chain(order);
    for expr in exprs.chain(schema.columns().into_iter().map(Expr::Column)) {
        columns.append(physical(&expr, schema)?)?;
    }
    let fields = columns.fields().to_vec();
    for field in &fields {
        if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
            let message = format!("rows with a {} can't be ranked", field.data_type());
            return Err(Diagnostic::error("PR0420", message).hint("leave that column out").into());
        }
    }
    if takes_back {
        columns.append(kinds_at(schema.fields().len()))?;
    }
    let options = node
        .order_by
        .iter()
        .map(|sort| SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first });
    let spec = UpdatingTopSpec {
        limit: node.limit,
        numbered: node.numbered,
        keys: node.partition_by.len(),
        order: options.collect(),
        input: Arc::new(Schema::new(fields)),
        takes_back,
        output_schema: with_kinds(node.schema.as_arrow()),
        ttl_ns: node.ttl_ns,
    };
    Ok((columns.finish().0, spec))
}

fn words(node: &UpdatingTop, spec: &UpdatingTopSpec) -> StageWords {
    let keys: Vec<_> = node.partition_by.iter().map(of_expression).collect();
    let order: Vec<_> = node
        .order_by
        .iter()
        .map(|sort| of_expression(&sort.expr) + if sort.asc { "" } else { " DESC" })
        .collect();
    let by = if order.is_empty() { String::new() } else { format!(" by {}", order.join(", ")) };
    let of = if keys.is_empty() { "all rows so far" } else { "each key so far" };
    let what = match node.limit {
        1 => format!("the first of {of}{by}"),
        limit => format!("the first {limit} of {of}{by}"),
    };
    let rows = if spec.takes_back { "all rows" } else { "those rows" };
    let until = node.ttl_ns.map_or_else(
        || "for ever".to_owned(),
        |ttl| {
            format!("until {} after the last row of their key (updating_ttl)", format_duration(ttl))
        },
    );
    let mut results: Vec<_> =
        node.schema.fields().iter().map(|field| field.name().clone()).collect();
    let aggregates = if node.numbered { vec!["row_number".to_owned()] } else { Vec::new() };
    if let (true, Some(number)) = (node.numbered, results.last_mut()) {
        *number = "row_number".to_owned();
    }
    results.push(field().name().clone());
    StageWords {
        what,
        keys,
        aggregates,
        results,
        state: format!("{rows}, {until}"),
        timers: "none: what changed leaves at the end of each epoch".to_owned(),
    }
}
