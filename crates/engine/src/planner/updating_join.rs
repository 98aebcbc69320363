//! Joins without a bound of time to stages with two inputs.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::{
    common::{JoinType, NullEquality},
    logical_expr::{Expr, LogicalPlan},
};
use postrider_core::{Diagnostics, format_duration};
use postrider_plan::{UpdatingJoin, is_updating};

use super::{
    Branch, Planner,
    expressions::{Columns, physical},
    joins::{self, Joined, same_types},
    kinds_at,
};
use crate::{
    chain::ChainStep,
    changes::with_kinds,
    dataflow::StageWords,
    operator::{OperatorSpec, UpdatingJoinSpec},
};

/// What a join needs of one side: a projection to `[keys.., others..]`, and kinds behind them if it is a changelog.
struct Side {
    step: ChainStep,
    /// Without kinds.
    schema: Arc<Schema>,
    /// Where the side's columns are in it.
    columns: Arc<[usize]>,
    takes_back: bool,
}

impl Side {
    fn new(keys: &[Expr], input: &LogicalPlan) -> Result<Self, Diagnostics> {
        let (schema, takes_back) = (input.schema(), is_updating(input));
        let arriving =
            if takes_back { with_kinds(schema.as_arrow()) } else { Arc::clone(schema.inner()) };
        let mut columns = Columns::new(&arriving);
        for key in keys {
            // One of its own for each, so that those of both sides stand at the same places.
            columns.append(physical(key, schema)?)?;
        }
        let mut own = Vec::new();
        for column in schema.columns() {
            own.push(columns.push(physical(&Expr::Column(column), schema)?)?);
        }
        let fields = columns.fields().to_vec();
        if takes_back {
            columns.append(kinds_at(schema.fields().len()))?;
        }
        let (step, _) = columns.finish();
        Ok(Self { step, schema: Arc::new(Schema::new(fields)), columns: own.into(), takes_back })
    }
}

impl Planner {
    pub(super) fn updating_join(
        &mut self,
        node: &UpdatingJoin,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = node.on.iter().cloned().unzip();
        let left = Side::new(&left_keys, &node.left)?;
        let right = Side::new(&right_keys, &node.right)?;
        let spec = spec(node, &left, &right)?;
        let joined = Joined {
            updating: spec.updating,
            words: words(node, &spec),
            operator: OperatorSpec::UpdatingJoin(Box::new(spec)),
        };
        let sides = [(&*node.left, left.step), (&*node.right, right.step)];
        self.two_sided(plan, sides, node.on.len(), joined)
    }
}

fn spec(node: &UpdatingJoin, left: &Side, right: &Side) -> Result<UpdatingJoinSpec, Diagnostics> {
    same_types(&node.on, &left.schema, &right.schema)?;
    let (pair_schema, filter) = joins::pairs(&node.left, &node.right, node.filter.as_ref())?;
    let output = node.schema.as_arrow();
    let updating = node.is_updating();
    Ok(UpdatingJoinSpec {
        kind: node.kind,
        keys: node.on.len(),
        null_equals_null: node.null_equality == NullEquality::NullEqualsNull,
        inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
        takes_back: [left.takes_back, right.takes_back],
        columns: [Arc::clone(&left.columns), Arc::clone(&right.columns)],
        filter,
        pair_schema,
        output_schema: if updating { with_kinds(output) } else { Arc::new(output.clone()) },
        updating,
        ttl_ns: node.ttl_ns,
    })
}

fn words(node: &UpdatingJoin, spec: &UpdatingJoinSpec) -> StageWords {
    let what = match node.kind {
        JoinType::LeftAnti => "left rows with no right row so far",
        JoinType::LeftSemi => "left rows with a right row",
        JoinType::Left => "left join of all rows so far",
        JoinType::Right => "right join of all rows so far",
        JoinType::Full => "full join of all rows so far",
        _ => "join of all rows so far",
    };
    let until = node.ttl_ns.map_or_else(
        || "for ever".to_owned(),
        |ttl| format!("until {} after it last came (updating_ttl)", format_duration(ttl)),
    );
    let ends = matches!(node.kind, JoinType::LeftSemi | JoinType::LeftAnti)
        && spec.takes_back == [false; 2];
    let rows = if ends {
        "left rows without a partner and right rows, each"
    } else {
        "rows of both sides, each"
    };
    let mut results: Vec<_> =
        node.schema.fields().iter().map(|field| field.name().clone()).collect();
    if spec.updating {
        results.push(crate::changes::field().name().clone());
    }
    StageWords {
        what: what.to_owned(),
        keys: joins::key_words(&node.on),
        aggregates: Vec::new(),
        results,
        state: format!("{rows} {until}"),
        timers: "none: what changed leaves at the end of each epoch".to_owned(),
    }
}
