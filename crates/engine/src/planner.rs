//! From a planned program to its physical dataflow.
//!
//! Flow: each query's plan is walked from its sink down to its scans; what comes back up is a list of
//! *branches* (a UNION ALL has several), each a node and the chain of stateless operators
//! behind it. A windowed aggregate ends its branches in a hash exchange and starts a new one.

mod expressions;
mod joins;
mod over;
mod ranks;
mod sources;
mod step_input;
mod table_joins;
mod unnest;
mod updating;
mod updating_join;
mod updating_top;
mod windows;

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::{
    logical_expr::{Extension, Filter, LogicalPlan, Projection, TableScan, Union},
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, lit},
    },
};
use postrider_core::{Diagnostic, Diagnostics, Format};
use postrider_plan::{
    IntervalJoin, LateRows, Over, Program, Query, SinkTarget, Table, TableJoin, UpdatingAggregate,
    UpdatingJoin, UpdatingTop, WindowAggregate, WindowRank, WindowRows, is_updating,
};

pub(crate) use self::sources::scanned_table;
use self::{
    expressions::{physical, projection},
    sources::SourceUse,
    step_input::StepInput,
};
use crate::{
    chain::{Chain, ChainStep},
    changes::{INSERT, field, with_kinds, written_schema},
    dataflow::{Dataflow, Output, SinkNode, Target},
    exchange::Route,
};

/// Plans a program.
///
/// # Errors
/// The program uses something the engine can't run yet.
pub(crate) fn plan_dataflow(program: &Program) -> Result<Dataflow, Diagnostics> {
    let mut planner =
        Planner { sources: BTreeMap::new(), lowered: Vec::new(), flow: Dataflow::default() };
    for query in &program.queries {
        planner.collect_scans(&query.plan)?;
    }
    for source in planner.sources.values() {
        planner.flow.sources.push(source.node()?);
    }
    let mut errors = Vec::new();
    for query in &program.queries {
        if let Err(mut error) = planner.query(query, takes_changes(program, query)) {
            for diagnostic in &mut error.0 {
                if diagnostic.span.is_none() {
                    *diagnostic = diagnostic.clone().at(query.range.clone());
                }
            }
            errors.extend(error.0);
        }
    }
    if errors.is_empty() { Ok(planner.flow) } else { Err(Diagnostics(errors)) }
}

/// Where the rows of a branch come from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Source(usize),
    Stage(usize),
}

/// Rows on their way: a node and the stateless operators behind it.
#[derive(Debug, Clone)]
struct Branch {
    origin: Origin,
    chain: Chain,
}

struct Planner {
    sources: BTreeMap<String, SourceUse>,
    /// What each stage computes: queries that share a part of their plan share its stage.
    lowered: Vec<(LogicalPlan, usize)>,
    flow: Dataflow,
}

impl Planner {
    fn collect_scans(&mut self, plan: &LogicalPlan) -> Result<(), Diagnostics> {
        if let LogicalPlan::TableScan(scan) = plan {
            let table = scanned_table(scan)?;
            let entry = self.sources.entry(table.name.clone());
            entry.or_insert_with(|| SourceUse::new(table)).add(scan);
        }
        plan.inputs().into_iter().try_for_each(|input| self.collect_scans(input))
    }

    fn query(&mut self, query: &Query, updating: bool) -> Result<(), Diagnostics> {
        let branches = self.lower(&query.plan)?;
        let table: Option<Arc<Table>> = match &query.sink {
            SinkTarget::Table(table) => Some(Arc::clone(table)),
            SinkTarget::Print => None,
        };
        let schema: SchemaRef = match &table {
            Some(table) if !table.columns.is_empty() => table.schema(),
            _ => Arc::new(Schema::new(query.plan.schema().as_arrow().fields().clone())),
        };
        let known = table.as_ref().and_then(|table| {
            let same = |sink: &SinkNode| sink.table.as_ref().is_some_and(|t| t.name == table.name);
            self.flow.sinks.iter().position(same)
        });
        let sink = known.unwrap_or_else(|| {
            let name = table.as_ref().map_or_else(|| self.print_name(), |table| table.name.clone());
            let (table, schema) = (table.clone(), Arc::clone(&schema));
            self.flow.sinks.push(SinkNode { name, table, schema, updating });
            self.flow.sinks.len() - 1
        });
        let schema = Arc::clone(&self.flow.sinks[sink].schema);
        let step = same_columns(&schema, is_updating(&query.plan), updating);
        for mut branch in branches {
            branch.chain.0.push(step.clone());
            self.connect(branch, Target::Sink(sink), 0, Route::First);
        }
        Ok(())
    }

    /// Every SELECT on its own has other columns, so each is a sink of its own.
    fn print_name(&self) -> String {
        match self.flow.sinks.iter().filter(|sink| sink.table.is_none()).count() {
            0 => "stdout".to_owned(),
            before => format!("stdout {}", before + 1),
        }
    }

    fn connect(&mut self, branch: Branch, target: Target, port: usize, route: Route) {
        let output = Output { chain: branch.chain, target, port, route };
        match branch.origin {
            Origin::Source(source) => self.flow.sources[source].outputs.push(output),
            Origin::Stage(stage) => self.flow.stages[stage].outputs.push(output),
        }
    }

    fn lower(&mut self, plan: &LogicalPlan) -> Result<Vec<Branch>, Diagnostics> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Extension(extension) => self.extension(extension, plan),
            _ => Err(unsupported(plan)),
        }
    }

    fn extension(
        &mut self,
        extension: &Extension,
        plan: &LogicalPlan,
    ) -> Result<Vec<Branch>, Diagnostics> {
        let node = extension.node.as_any();
        if let Some(rows) = node.downcast_ref::<WindowRows>() {
            return self.window_rows(rows);
        }
        if let Some(rows) = node.downcast_ref::<LateRows>() {
            let schema = Arc::new(rows.schema.as_arrow().clone());
            return self.behind(&rows.input, &[ChainStep::Late(schema)]);
        }
        let known = self.lowered.iter().find(|(other, _)| other == plan);
        if let Some((_, stage)) = known {
            return Ok(vec![Branch { origin: Origin::Stage(*stage), chain: Chain::default() }]);
        }
        let branches = if let Some(window) = node.downcast_ref::<WindowAggregate>() {
            self.window(window, plan)?
        } else if let Some(rank) = node.downcast_ref::<WindowRank>() {
            self.rank(rank, plan)?
        } else if let Some(join) = node.downcast_ref::<IntervalJoin>() {
            self.interval_join(join, plan)?
        } else if let Some(join) = node.downcast_ref::<TableJoin>() {
            self.table_join(join, plan)?
        } else if let Some(over) = node.downcast_ref::<Over>() {
            self.over(over, plan)?
        } else if let Some(aggregate) = node.downcast_ref::<UpdatingAggregate>() {
            self.updating(aggregate, plan)?
        } else if let Some(join) = node.downcast_ref::<UpdatingJoin>() {
            self.updating_join(join, plan)?
        } else if let Some(top) = node.downcast_ref::<UpdatingTop>() {
            self.updating_top(top, plan)?
        } else {
            return Err(unsupported(plan));
        };
        if let [Branch { origin: Origin::Stage(stage), .. }] = branches.as_slice() {
            self.lowered.push((plan.clone(), *stage));
        }
        Ok(branches)
    }

    fn scan(&self, scan: &TableScan) -> Result<Vec<Branch>, Diagnostics> {
        let table = scanned_table(scan)?;
        let index = self.sources.keys().position(|name| *name == table.name);
        let (Some(index), Some(source)) = (index, self.sources.get(&table.name)) else {
            return Err(Diagnostic::error("PR0420", "a scan was not collected").into());
        };
        let columns = source.positions(scan)?;
        let mut schema = Arc::new(scan.projected_schema.as_arrow().clone());
        if table.holds_changes() {
            schema = with_kinds(&schema);
        }
        let chain = Chain(vec![ChainStep::Pick(columns.into(), schema)]);
        Ok(vec![Branch { origin: Origin::Source(index), chain }])
    }

    fn filter(&mut self, filter: &Filter) -> Result<Vec<Branch>, Diagnostics> {
        let relation = filter.input.schema();
        let input = StepInput::of([&filter.predicate], relation)?;
        let predicate = physical(&input.resolve(&filter.predicate)?, input.schema())?;
        let mut steps = input.steps();
        steps.push(if is_updating(&filter.input) {
            ChainStep::FilterChanges(predicate)
        } else {
            ChainStep::Filter(predicate)
        });
        if steps.len() > 1 {
            let columns = (0..relation.fields().len()).collect();
            steps.push(ChainStep::Pick(columns, Arc::new(relation.as_arrow().clone())));
        }
        let limited = ranks::limited(filter);
        self.behind(limited.as_ref().unwrap_or(&filter.input), &steps)
    }

    fn projection(&mut self, node: &Projection) -> Result<Vec<Branch>, Diagnostics> {
        let input = StepInput::of(&node.expr, node.input.schema())?;
        let mut expressions = projection(&node.expr, &input)?;
        let mut schema = Arc::new(node.schema.as_arrow().clone());
        if is_updating(&node.input) {
            expressions.push(kinds_at(node.input.schema().fields().len()));
            schema = with_kinds(&schema);
        }
        let mut steps = input.steps();
        steps.push(ChainStep::Project(expressions.into(), schema));
        self.behind(&node.input, &steps)
    }

    /// The branches of a plan with some more steps.
    fn behind(
        &mut self,
        plan: &LogicalPlan,
        steps: &[ChainStep],
    ) -> Result<Vec<Branch>, Diagnostics> {
        let mut branches = self.lower(plan)?;
        for branch in &mut branches {
            branch.chain.0.extend_from_slice(steps);
        }
        Ok(branches)
    }

    fn union(&mut self, union: &Union) -> Result<Vec<Branch>, Diagnostics> {
        let schema = Arc::new(union.schema.as_arrow().clone());
        let updating = union.inputs.iter().any(|input| is_updating(input));
        let mut branches = Vec::new();
        for input in &union.inputs {
            for mut branch in self.lower(input)? {
                branch.chain.0.push(same_columns(&schema, is_updating(input), updating));
                branches.push(branch);
            }
        }
        Ok(branches)
    }
}

/// The columns in which the sink of a query is given its rows: of a changelog, the kinds of rows first, as text.
pub fn sink_schema(program: &Program, query: &Query) -> SchemaRef {
    let rows = query.plan.schema().as_arrow();
    if takes_changes(program, query) { written_schema(rows) } else { Arc::new(rows.clone()) }
}

/// Whether the sink of a query takes a changelog: it says so, or some query fills it with one.
fn takes_changes(program: &Program, query: &Query) -> bool {
    let SinkTarget::Table(table) = &query.sink else { return is_updating(&query.plan) };
    let fills =
        |other: &&Query| matches!(&other.sink, SinkTarget::Table(sink) if sink.name == table.name);
    table.common.format == Format::DebeziumJson
        || program.queries.iter().filter(fills).any(|other| is_updating(&other.plan))
}

/// The kinds of rows behind so many columns.
fn kinds_at(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(field().name(), index))
}

/// The same columns under other names. Rows that stay are inserts where a changelog is wanted.
fn same_columns(schema: &SchemaRef, has_kinds: bool, updating: bool) -> ChainStep {
    let count = schema.fields().len();
    match (has_kinds, updating) {
        (false, true) => {
            let column = |(index, field): (usize, &Arc<Field>)| {
                Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>
            };
            let columns = schema.fields().iter().enumerate().map(column);
            ChainStep::Project(columns.chain([lit(INSERT)]).collect(), with_kinds(schema))
        }
        (true, _) => ChainStep::Pick((0..=count).collect(), with_kinds(schema)),
        (false, false) => ChainStep::Pick((0..count).collect(), Arc::clone(schema)),
    }
}

fn unsupported(plan: &LogicalPlan) -> Diagnostics {
    let what = plan.display().to_string();
    let name = what.split([':', ' ']).next().unwrap_or("this").to_owned();
    Diagnostic::error("PR0420", format!("{name} can't run on a stream yet"))
        .hint("use filters, projections, UNION ALL, aggregates, joins and OVER; `postrider query` takes more")
        .into()
}
