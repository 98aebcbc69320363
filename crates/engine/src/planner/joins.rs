//! Joins to stages with two inputs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::{DFSchema, JoinType},
    logical_expr::{Expr, LogicalPlan, builder::build_join_schema},
    physical_expr::PhysicalExpr,
};
use postrider_core::{Diagnostic, Diagnostics, format_duration, type_name};
use postrider_plan::IntervalJoin;

use super::{
    Branch, Origin, Planner,
    expressions::{Columns, physical, plan_error},
};
use crate::{
    chain::{Chain, ChainStep},
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{IntervalJoinSpec, OperatorSpec},
};

/// What a join needs of one side: a projection to `[keys.., others..]`, and where the side's columns are in it.
pub(super) struct Side {
    pub(super) step: ChainStep,
    pub(super) schema: Arc<Schema>,
    pub(super) columns: Arc<[usize]>,
}

/// The stage of a join but for its inputs.
pub(super) struct Joined {
    pub(super) operator: OperatorSpec,
    pub(super) updating: bool,
    pub(super) words: StageWords,
}

impl Planner {
    /// A stage that takes two plans, each through a step that puts its `keys` first.
    pub(super) fn two_sided(
        &mut self,
        plan: &LogicalPlan,
        [(left, left_step), (right, right_step)]: [(&LogicalPlan, ChainStep); 2],
        keys: usize,
        joined: Joined,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let inputs = [(self.lower(left)?, left_step), (self.lower(right)?, right_step)];
        let stage = self.flow.stages.len();
        let Joined { operator, updating, words } = joined;
        self.flow.stages.push(StageNode {
            identity: stage_identity(plan, &self.flow.stages),
            operator,
            outputs: Vec::new(),
            updating,
            words,
        });
        for (port, (branches, step)) in inputs.into_iter().enumerate() {
            for mut branch in branches {
                branch.chain.0.push(step.clone());
                self.connect(branch, Target::Stage(stage), port, Route::Hash { keys });
            }
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }

    pub(super) fn interval_join(
        &mut self,
        node: &IntervalJoin,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = node.on.iter().cloned().unzip();
        let left = side(&left_keys, node.left.schema())?;
        let right = side(&right_keys, node.right.schema())?;
        let joined = Joined {
            operator: OperatorSpec::IntervalJoin(spec(node, &left, &right)?),
            updating: false,
            words: words(node),
        };
        let sides = [(&*node.left, left.step), (&*node.right, right.step)];
        self.two_sided(plan, sides, node.on.len(), joined)
    }
}

pub(super) fn side(keys: &[Expr], schema: &DFSchema) -> Result<Side, Diagnostics> {
    let mut columns = Columns::new(schema.as_arrow());
    for key in keys {
        columns.push(physical(key, schema)?)?;
    }
    if columns.len() < keys.len() {
        return Err(Diagnostic::error("PR0420", "a join names the same key twice")
            .hint("compare each column once")
            .into());
    }
    let mut own = Vec::new();
    for column in schema.columns() {
        own.push(columns.push(physical(&Expr::Column(column), schema)?)?);
    }
    let (step, schema) = columns.finish();
    Ok(Side { step, schema, columns: own.into() })
}

/// Refuses keys that can't be compared as they are.
pub(super) fn same_types(
    on: &[(Expr, Expr)],
    left_schema: &Schema,
    right_schema: &Schema,
) -> Result<(), Diagnostics> {
    for (key, (left, right)) in on.iter().enumerate() {
        let (one, other) =
            (left_schema.field(key).data_type(), right_schema.field(key).data_type());
        if one != other || one.is_nested() || matches!(one, DataType::Null) {
            let (is, others) = (type_name(one), type_name(other));
            let message =
                format!("`{left}` ({is}) and `{right}` ({others}) can't be the key of a join");
            let hint = if one.is_nested() {
                "compare what is in them, such as a field of a STRUCT"
            } else {
                "cast both to TEXT"
            };
            return Err(Diagnostic::error("PR0420", message).hint(hint).into());
        }
    }
    Ok(())
}

/// A condition that can be computed.
type Condition = Arc<dyn PhysicalExpr>;

/// The columns of pairs, and what else they must meet.
pub(super) fn pairs(
    left: &LogicalPlan,
    right: &LogicalPlan,
    filter: Option<&Expr>,
) -> Result<(Arc<Schema>, Option<Condition>), Diagnostics> {
    let pairs = build_join_schema(left.schema(), right.schema(), &JoinType::Full);
    let pairs = pairs.map_err(|error| plan_error(&error))?;
    let filter = filter.map(|filter| physical(filter, &pairs)).transpose()?;
    Ok((Arc::new(pairs.as_arrow().clone()), filter))
}

fn spec(node: &IntervalJoin, left: &Side, right: &Side) -> Result<IntervalJoinSpec, Diagnostics> {
    same_types(&node.on, &left.schema, &right.schema)?;
    let (pair_schema, filter) = pairs(&node.left, &node.right, node.filter.as_ref())?;
    Ok(IntervalJoinSpec {
        kind: node.kind,
        keys: node.on.len(),
        inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
        columns: [Arc::clone(&left.columns), Arc::clone(&right.columns)],
        bounds: node.bounds,
        filter,
        pair_schema,
        output_schema: Arc::new(node.schema.as_arrow().clone()),
    })
}

/// The keys of a join as a person would write them.
pub(super) fn key_words(on: &[(Expr, Expr)]) -> Vec<String> {
    let words = on.iter().map(|(left, right)| {
        let (left, right) = (of_expression(left), of_expression(right));
        if left == right { left } else { format!("{left} = {right}") }
    });
    words.collect()
}

fn words(node: &IntervalJoin) -> StageWords {
    let what = match node.kind {
        JoinType::LeftAnti => "absence: left rows with no right row",
        JoinType::LeftSemi => "left rows with a right row",
        JoinType::Left => "left join: right rows",
        JoinType::Right => "right join: right rows",
        JoinType::Full => "full join: right rows",
        _ => "join: right rows",
    };
    let (after, before) = (node.bounds.to_ns, node.bounds.from_ns.saturating_neg());
    let kept = |ns: i64| match ns {
        ns if ns <= 0 => "until the watermark passes them".to_owned(),
        // `<` makes it a nanosecond short of what was meant.
        ns => {
            let round = ns.saturating_add(i64::from(ns % 1_000 == 999));
            format!("until the watermark is {} ahead of them", format_duration(round))
        }
    };
    let lonely =
        matches!(node.kind, JoinType::Left | JoinType::Right | JoinType::Full | JoinType::LeftAnti);
    let timers = if lonely {
        "one for each row without a partner, fired by the watermark once none can come"
    } else {
        "none that emit; rows are let go by the watermark"
    };
    StageWords {
        what: format!("{what} {}", node.bounds),
        keys: key_words(&node.on),
        aggregates: Vec::new(),
        results: node.schema.fields().iter().map(|field| field.name().clone()).collect(),
        state: format!("left rows {}, right rows {}", kept(after), kept(before)),
        timers: timers.to_owned(),
    }
}
