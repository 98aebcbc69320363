//! Ranks within windows.

use std::sync::Arc;

use arrow::{
    compute::SortOptions,
    datatypes::Schema,
    row::{RowConverter, SortField},
};
use datafusion::{
    common::ScalarValue,
    logical_expr::{
        BinaryExpr, Expr, Extension, Filter, LogicalPlan, Operator, utils::split_conjunction,
    },
};
use postrider_core::{Diagnostic, Diagnostics};
use postrider_plan::WindowRank;

use super::{Branch, Origin, Planner, expressions::projection, step_input::StepInput};
use crate::{
    chain::{Chain, ChainStep},
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{OperatorSpec, RankSpec},
};

/// The ranks below a filter, without those that are greater than any it lets through.
pub(super) fn limited(filter: &Filter) -> Option<LogicalPlan> {
    let LogicalPlan::Extension(extension) = filter.input.as_ref() else { return None };
    let rank = extension.node.as_any().downcast_ref::<WindowRank>()?;
    let column = rank.schema.fields().len() - 1;
    let limits = split_conjunction(&filter.predicate).into_iter().filter_map(|part| match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(name), Expr::Literal(value, _)) => {
                let is_rank = rank.schema.maybe_index_of_column(name) == Some(column);
                limit(*op, value).filter(|_| is_rank)
            }
            _ => None,
        },
        _ => None,
    });
    let node = WindowRank { limit: Some(limits.min()?), ..rank.clone() };
    Some(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

fn limit(operator: Operator, value: &ScalarValue) -> Option<u64> {
    let ScalarValue::UInt64(Some(value)) = value else { return None };
    match operator {
        Operator::Lt => value.checked_sub(1),
        Operator::LtEq | Operator::Eq => Some(*value),
        _ => None,
    }
}

impl Planner {
    pub(super) fn rank(
        &mut self,
        node: &WindowRank,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let branches = self.lower(&node.input)?;
        let (step, spec) = inputs(node)?;
        let keys = spec.keys;
        let stage = self.flow.stages.len();
        let identity = stage_identity(plan, &self.flow.stages);
        let words = words(node);
        let operator = OperatorSpec::Rank(spec);
        self.flow.stages.push(StageNode {
            identity,
            words,
            operator,
            outputs: Vec::new(),
            updating: false,
        });
        for mut branch in branches {
            branch.chain.0.push(step.clone());
            self.connect(branch, Target::Stage(stage), 0, Route::Hash { keys });
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }
}

/// A projection to `[keys.., start, order.., columns..]`, and what is done with that.
fn inputs(node: &WindowRank) -> Result<(ChainStep, RankSpec), Diagnostics> {
    let input = node.input.schema();
    let mut exprs = node.partition_by.clone();
    exprs.push(node.start.clone());
    exprs.extend(node.order_by.iter().map(|sort| sort.expr.clone()));
    exprs.extend(input.columns().into_iter().map(Expr::Column));
    let exprs = projection(&exprs, &StepInput::of([], input)?)?;
    let mut fields = Vec::with_capacity(exprs.len());
    for (index, expr) in exprs.iter().enumerate() {
        let field = expr
            .return_field(input.as_arrow())
            .map_err(|error| super::expressions::plan_error(&error))?;
        let field = field.as_ref().clone().with_name(format!("c{index}"));
        if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
            let message = format!("rows with a {} can't be ranked", field.data_type());
            return Err(Diagnostic::error("PR0420", message).hint("leave that column out").into());
        }
        fields.push(field);
    }
    let options = node
        .order_by
        .iter()
        .map(|sort| SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first });
    let input_schema = Arc::new(Schema::new(fields));
    let spec = RankSpec {
        ranking: node.ranking,
        limit: node.limit,
        reach_ns: node.reach_ns,
        input_schema: Arc::clone(&input_schema),
        keys: node.partition_by.len(),
        order: options.collect(),
        output_schema: Arc::new(node.schema.as_arrow().clone()),
    };
    Ok((ChainStep::Project(exprs.into(), input_schema), spec))
}

fn words(node: &WindowRank) -> StageWords {
    let keys: Vec<_> = node.partition_by.iter().map(of_expression).collect();
    let order: Vec<_> = node
        .order_by
        .iter()
        .map(|sort| of_expression(&sort.expr) + if sort.asc { "" } else { " DESC" })
        .collect();
    let by = if order.is_empty() { "".to_owned() } else { format!(" by {}", order.join(", ")) };
    let what = match node.limit {
        Some(1) => format!("the first of each window{by}"),
        Some(limit) => format!("the first {limit} of each window{by}"),
        None => format!("the {} in each window{by}", node.ranking),
    };
    let mut results: Vec<_> =
        node.schema.fields().iter().map(|field| field.name().clone()).collect();
    if let Some(rank) = results.last_mut() {
        *rank = node.ranking.to_string();
    }
    let state = "the rows of each window, until the watermark passes its end".to_owned();
    let timers = "one for each time at which windows end, fired by the watermark".to_owned();
    StageWords { what, keys, aggregates: Vec::new(), results, state, timers }
}
