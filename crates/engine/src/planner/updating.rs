//! Aggregates without a window to stages.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{
    common::{Column, DFSchema, TableReference},
    functions_aggregate::expr_fn::sum,
    logical_expr::Operator as Op,
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan, binary_expr, cast, expr::AggregateFunction, lit, when,
    },
};
use postrider_core::{Diagnostics, format_duration};
use postrider_plan::{UpdatingAggregate, is_updating};

use super::{
    Branch, Origin, Planner,
    expressions::{Columns, aggregate_call, physical, plan_error},
    step_input::StepInput,
};
use crate::{
    chain::{Chain, ChainStep},
    changes::{TAKES_BACK, field, with_kinds},
    dataflow::{StageNode, StageWords, Target},
    exchange::Route,
    explain::of_expression,
    identity::stage_identity,
    operator::{AggregateCall, AggregateSpec, BagSpec, OperatorSpec, UpdatingSpec},
};

/// The relation that the kinds of rows are said to be of, so that no column of a program is meant.
const KINDS: &str = "__changes";

impl Planner {
    pub(super) fn updating(
        &mut self,
        node: &UpdatingAggregate,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let branches = self.lower(&node.input)?;
        let exprs = node.group_exprs.iter().chain(&node.aggr_exprs);
        let input = StepInput::of(exprs, node.input.schema())?;
        let (step, spec) = Layout::new(node, &input)?.finish(node)?;
        let steps: Vec<_> = input.steps().into_iter().chain([step]).collect();
        let keys = node.group_exprs.len();
        let stage = self.flow.stages.len();
        let identity = stage_identity(plan, &self.flow.stages);
        self.flow.stages.push(StageNode {
            identity,
            words: words(node, &spec),
            updating: spec.updating,
            operator: OperatorSpec::Updating(Box::new(spec)),
            outputs: Vec::new(),
        });
        for mut branch in branches {
            branch.chain.0.extend_from_slice(&steps);
            self.connect(branch, Target::Stage(stage), 0, Route::Hash { keys });
        }
        Ok(vec![Branch { origin: Origin::Stage(stage), chain: Chain::default() }])
    }
}

/// What a stage computes, in the making.
struct Layout<'a> {
    /// The columns that arrive, and those of them that are keys, or keys and values of the bag.
    columns: Columns<'a>,
    /// The input with the kinds of its rows, if it has such.
    input: DFSchema,
    takes_back: bool,
    /// The aggregates over the input.
    aggregates: Vec<Expr>,
    keys: usize,
    totals: Vec<AggregateCall>,
    /// The types of the totals.
    total_types: Vec<DataType>,
    bag: Vec<AggregateCall>,
    bag_types: Vec<DataType>,
}

/// A result over what is computed.
enum Computed {
    Total(usize),
    Bag(usize),
    /// A sum, and how many values it has; without any it is NULL.
    Sum(usize, usize),
    /// A sum divided by its number.
    Mean(usize, usize),
    /// A number that is never NULL.
    Count(usize),
}

type Planned<T> = Result<T, Diagnostics>;

impl<'a> Layout<'a> {
    fn new(node: &UpdatingAggregate, input: &'a StepInput<'_>) -> Planned<Self> {
        let takes_back = is_updating(&node.input);
        let relation = input.schema();
        let aggregates = node.aggr_exprs.iter().map(|expr| input.resolve(expr));
        let mut layout = Self {
            columns: Columns::new(relation.as_arrow()),
            input: if takes_back { with_kind(relation)? } else { relation.clone() },
            takes_back,
            aggregates: aggregates.collect::<Planned<_>>()?,
            keys: 0,
            totals: Vec::new(),
            total_types: Vec::new(),
            bag: Vec::new(),
            bag_types: Vec::new(),
        };
        for expr in &node.group_exprs {
            layout.columns.push(physical(&input.resolve(expr)?, &layout.input)?)?;
        }
        layout.keys = layout.columns.len();
        Ok(layout)
    }

    fn finish(mut self, node: &UpdatingAggregate) -> Planned<(ChainStep, UpdatingSpec)> {
        let mut results = Vec::new();
        let aggregates = std::mem::take(&mut self.aggregates);
        // What is in the bag comes first: its columns are a group of their own.
        for expr in &aggregates {
            let in_bag = self.takes_back && self.signed(expr)?.is_none();
            results.push(if in_bag { Some(self.add_to_bag(expr)?) } else { None });
        }
        let values = self.columns.len();
        let rows = self.takes_back.then(|| self.add_sum(self.sign(&lit(true)))).transpose()?;
        for (expr, result) in aggregates.iter().zip(&mut results) {
            if result.is_none() {
                *result = Some(match self.signed(expr)? {
                    Some(signed) => self.add_signed(signed)?,
                    None => Computed::Total(self.add_total(expr)?),
                });
            }
        }
        let columns = self.columns.fields().to_vec();
        let schema = |fields: &[Field]| Arc::new(Schema::new(fields.to_vec()));
        let spec = |keys: usize, calls: Vec<AggregateCall>| AggregateSpec {
            key_schema: schema(&columns[..keys]),
            calls: calls.into(),
            window_index: 0,
            output_schema: Arc::new(Schema::empty()),
        };
        let bag = if self.bag.is_empty() {
            None
        } else {
            let count = rows.map(|rows| self.totals[rows].clone());
            Some(BagSpec {
                counts: spec(values, count.into_iter().collect()),
                aggregates: spec(self.keys, std::mem::take(&mut self.bag)),
            })
        };
        let computed = self.computed(&columns);
        let results = self.results(node, &computed, results.into_iter().flatten())?;
        let updating = self.takes_back || !node.aggr_exprs.is_empty();
        let output = node.schema.as_arrow();
        let spec = UpdatingSpec {
            totals: spec(self.keys, std::mem::take(&mut self.totals)),
            rows,
            bag,
            computed: Arc::new(computed),
            results: results.into(),
            output_schema: if updating { with_kinds(output) } else { Arc::new(output.clone()) },
            updating,
            ttl_ns: node.ttl_ns,
        };
        Ok((self.columns.finish().0, spec))
    }

    /// Keys, totals, results of the bag, by names of our own.
    fn computed(&self, columns: &[Field]) -> Schema {
        let keys = columns[..self.keys].iter().cloned();
        let named = |letter: char, types: &[DataType]| {
            let fields = types.iter().enumerate();
            fields
                .map(|(at, of)| Field::new(format!("{letter}{at}"), of.clone(), true))
                .collect::<Vec<_>>()
        };
        let totals = named('t', &self.total_types);
        Schema::new(keys.chain(totals).chain(named('b', &self.bag_types)).collect::<Vec<_>>())
    }

    fn results(
        &self,
        node: &UpdatingAggregate,
        computed: &Schema,
        results: impl Iterator<Item = Computed>,
    ) -> Planned<Vec<Arc<dyn datafusion::physical_expr::PhysicalExpr>>> {
        let computed = DFSchema::try_from(computed.clone()).map_err(|error| plan_error(&error))?;
        let column = |name: String| Expr::Column(Column::new_unqualified(name));
        let total = |at: usize| column(format!("t{at}"));
        let keys = (0..self.keys).map(|at| column(format!("c{at}")));
        let aggregates = results.map(|result| match result {
            Computed::Total(at) => Ok(total(at)),
            Computed::Bag(at) => Ok(column(format!("b{at}"))),
            Computed::Count(at) => when(total(at).is_null(), lit(0_i64)).otherwise(total(at)),
            Computed::Sum(sum, count) => when(total(count).gt(lit(0_i64)), total(sum)).end(),
            Computed::Mean(sum, count) => {
                let double = |expr| cast(expr, DataType::Float64);
                when(total(count).gt(lit(0_i64)), double(total(sum)) / double(total(count))).end()
            }
        });
        let exprs: Vec<Expr> = keys
            .map(Ok)
            .chain(aggregates)
            .collect::<datafusion::common::Result<_>>()
            .map_err(|error| plan_error(&error))?;
        let fields = node.schema.fields().iter();
        exprs
            .into_iter()
            .zip(fields)
            .map(|(expr, field)| {
                let is = expr.get_type(&computed).map_err(|error| plan_error(&error))?;
                let wanted = field.data_type();
                let expr = if is == *wanted { expr } else { cast(expr, wanted.clone()) };
                physical(&expr, &computed)
            })
            .collect()
    }

    fn add_total(&mut self, expr: &Expr) -> Planned<usize> {
        let call = aggregate_call(&mut self.columns, expr, &self.input)?;
        self.total_types.push(call.function.field().data_type().clone());
        self.totals.push(call);
        Ok(self.totals.len() - 1)
    }

    fn add_to_bag(&mut self, expr: &Expr) -> Planned<Computed> {
        let call = aggregate_call(&mut self.columns, expr, &self.input)?;
        self.bag_types.push(call.function.field().data_type().clone());
        self.bag.push(call);
        Ok(Computed::Bag(self.bag.len() - 1))
    }

    fn add_sum(&mut self, of: Expr) -> Planned<usize> {
        self.add_total(&sum(of))
    }

    fn add_signed(&mut self, signed: Signed) -> Planned<Computed> {
        let Signed { met, value, is_mean } = signed;
        let count = self.add_sum(self.sign(&met))?;
        let Some(value) = value else { return Ok(Computed::Count(count)) };
        let back = self.is_taken_back();
        let value = when(back, Expr::Negative(Box::new(value.clone())))
            .otherwise(value)
            .and_then(|signed| when(met, signed).end())
            .map_err(|error| plan_error(&error))?;
        let sum = self.add_sum(value)?;
        Ok(if is_mean { Computed::Mean(sum, count) } else { Computed::Sum(sum, count) })
    }

    fn is_taken_back(&self) -> Expr {
        let kind = Expr::Column(Column::new(Some(KINDS), field().name()));
        binary_expr(kind, Op::BitwiseAnd, lit(TAKES_BACK)).eq(lit(TAKES_BACK))
    }

    /// One for a row that is added, minus one for one that is taken back, nothing for one that does not meet the condition.
    fn sign(&self, met: &Expr) -> Expr {
        let signed = when(self.is_taken_back(), lit(-1_i64)).otherwise(lit(1_i64));
        let signed = signed.and_then(|signed| when(met.clone(), signed).otherwise(lit(0_i64)));
        // Both have a type that needs no other.
        signed.unwrap_or_else(|_| lit(0_i64))
    }

    /// An aggregate as signed sums, if rows that are taken back can be subtracted from it without a trace.
    fn signed(&self, expr: &Expr) -> Planned<Option<Signed>> {
        let Some(call) = aggregate(expr).filter(|_| self.takes_back) else { return Ok(None) };
        let params = &call.params;
        if params.distinct || !params.order_by.is_empty() {
            return Ok(None);
        }
        let mut conditions: Vec<Expr> = params.filter.iter().map(|f| f.as_ref().clone()).collect();
        conditions.extend(params.args.iter().map(|argument| argument.clone().is_not_null()));
        let met = conditions.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true));
        let of =
            |argument: &Expr| argument.get_type(&self.input).map_err(|error| plan_error(&error));
        Ok(match (call.func.name(), params.args.as_slice()) {
            ("count", _) => Some(Signed { met, value: None, is_mean: false }),
            ("sum", [value])
                if matches!(of(value)?, DataType::Int64 | DataType::Decimal128(..)) =>
            {
                Some(Signed { met, value: Some(value.clone()), is_mean: false })
            }
            ("avg", [Expr::Cast(converted)]) if of(&converted.expr)?.is_integer() => {
                // Wide enough for any sum, and no last bit is lost.
                let whole = cast(converted.expr.as_ref().clone(), DataType::Decimal128(20, 0));
                Some(Signed { met, value: Some(whole), is_mean: true })
            }
            _ => None,
        })
    }
}

/// An aggregate as signed sums.
struct Signed {
    /// Which rows it counts.
    met: Expr,
    /// What it sums up.
    value: Option<Expr>,
    is_mean: bool,
}

fn aggregate(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::Alias(alias) => aggregate(&alias.expr),
        Expr::AggregateFunction(call) => Some(call),
        _ => None,
    }
}

/// A relation with the kinds of its rows behind its columns.
fn with_kind(schema: &DFSchema) -> Planned<DFSchema> {
    let kinds = Schema::new(vec![field()]);
    DFSchema::try_from_qualified_schema(TableReference::bare(KINDS), &kinds)
        .and_then(|kinds| schema.join(&kinds))
        .map_err(|error| plan_error(&error))
}

fn words(node: &UpdatingAggregate, spec: &UpdatingSpec) -> StageWords {
    let aggregates: Vec<_> = node.aggr_exprs.iter().map(of_expression).collect();
    let keys: Vec<_> = node.group_exprs.iter().map(of_expression).collect();
    let mut results: Vec<_> = keys.iter().chain(&aggregates).cloned().collect();
    if spec.updating {
        results.push(field().name().clone());
    }
    let each =
        if keys.is_empty() { String::new() } else { format!(" of each {}", keys.join(", ")) };
    let what = match (&spec.bag, aggregates.is_empty()) {
        (_, true) => format!("that it was there{each}"),
        (None, _) => format!("partial aggregates{each}"),
        (Some(_), _) => format!("partial aggregates{each}, and all its values"),
    };
    let until = spec.ttl_ns.map_or_else(
        || "for ever".to_owned(),
        |ttl| format!("until {} after its last row (updating_ttl)", format_duration(ttl)),
    );
    let what_it_is = if aggregates.is_empty() { "distinct rows" } else { "updating aggregate" };
    StageWords {
        what: what_it_is.to_owned(),
        keys,
        aggregates,
        results,
        state: format!("{what}, {until}"),
        timers: "none: what changed leaves at the end of each epoch".to_owned(),
    }
}
