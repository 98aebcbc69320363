//! `UNNEST(list)` in FROM: `FROM orders o CROSS JOIN UNNEST(o.items) AS i(sku, price)`.
//!
//! It is no join of two relations: the items are those of each row. So the tables before it and the call become one relation, whose
//! plan is what `unnest` in SELECT gives, with the items as columns of their own. With `LEFT JOIN .. ON true`, a row without items stays.

use std::{convert::Infallible, ops::ControlFlow};

use datafusion::{
    arrow::datatypes::{DataType, Fields},
    common::{
        Column, DataFusionError, Diagnostic, NullHandling, Result, TableReference, UnnestOptions,
        plan_err,
    },
    functions::core::expr_fn::get_field,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Unnest,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, Query,
    Select, TableAlias, TableFactor, TableFunctionArgs, TableWithJoins, Value, VisitMut,
    VisitorMut,
};

use crate::catalog::{fold, only_part};

/// The function, and what its columns are called if nobody says.
pub(crate) const NAME: &str = "unnest";

/// The columns that hold the lists until they are taken apart. Both show in plans, which tell operators with state from each other.
const LISTS: [&str; 2] = ["__unnest", "__unnest_or_null"];

/// A call in FROM.
pub(crate) struct UnnestTable<'q> {
    /// The list; `None` if the call has other arguments, or more.
    pub(crate) list: Option<&'q SqlExpr>,
    pub(crate) alias: Option<&'q TableAlias>,
    pub(crate) with_ordinality: bool,
}

impl<'q> UnnestTable<'q> {
    pub(crate) fn of(factor: &'q TableFactor) -> Option<Self> {
        let TableFactor::Table {
            name,
            args: Some(TableFunctionArgs { args, .. }),
            alias,
            with_ordinality,
            ..
        } = factor
        else {
            return None;
        };
        if only_part(name).map(fold)? != NAME {
            return None;
        }
        let list = match args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] => Some(list),
            _ => None,
        };
        Some(Self { list, alias: alias.as_ref(), with_ordinality: *with_ordinality })
    }
}

/// How a call may be joined to what is before it: `Some(true)` if rows without items stay, `None` if not at all.
pub(crate) fn keeps_rows(operator: &JoinOperator) -> Option<bool> {
    use JoinOperator::{CrossJoin, Inner, Join, Left, LeftOuter};
    let is_true = |constraint: &JoinConstraint| match constraint {
        JoinConstraint::On(SqlExpr::Value(value)) => value.value == Value::Boolean(true),
        _ => false,
    };
    match operator {
        CrossJoin(_) => Some(false),
        Join(constraint) | Inner(constraint) if is_true(constraint) => Some(false),
        Left(constraint) | LeftOuter(constraint) if is_true(constraint) => Some(true),
        _ => None,
    }
}

/// Puts the calls in FROM and the tables before them into parentheses, as [`UnnestTables`] looks for them.
pub(crate) fn nest(query: &mut Query) {
    let ControlFlow::Continue(()) = query.visit(&mut Nest);
}

struct Nest;

impl VisitorMut for Nest {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        let mut tables: Vec<TableWithJoins> = Vec::with_capacity(select.from.len());
        for table in select.from.drain(..) {
            if is_call(&table.relation) && !tables.is_empty() {
                let before = tables.drain(..).reduce(|all, table| beside(all, nested(table)));
                let TableWithJoins { relation, joins } = table;
                let all = before.map(|before| beside(before, relation));
                tables.extend(all.map(|mut all| {
                    all.joins.extend(joins);
                    all
                }));
            } else {
                tables.push(table);
            }
        }
        let put = |table: TableWithJoins| {
            if !table.joins.iter().any(|join| is_call(&join.relation)) {
                return table;
            }
            TableWithJoins { relation: nested(table), joins: Vec::new() }
        };
        select.from = tables.into_iter().map(put).collect();
        ControlFlow::Continue(())
    }
}

pub(crate) fn is_call(factor: &TableFactor) -> bool {
    UnnestTable::of(factor).is_some()
}

fn nested(table: TableWithJoins) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(table), alias: None }
}

/// What a comma in FROM means.
fn beside(mut tables: TableWithJoins, relation: TableFactor) -> TableWithJoins {
    let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
    tables.joins.push(Join { relation, global: false, join_operator });
    tables
}

/// Plans calls in FROM.
#[derive(Debug)]
pub(crate) struct UnnestTables;

impl RelationPlanner for UnnestTables {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::NestedJoin { table_with_joins, alias } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let mut tables = *table_with_joins;
        let Some(last) = tables.joins.iter().rposition(|join| is_call(&join.relation)) else {
            let table_with_joins = Box::new(tables);
            let relation = TableFactor::NestedJoin { table_with_joins, alias };
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let behind = tables.joins.split_off(last + 1);
        let plan = if behind.is_empty() {
            let Some(call) = tables.joins.pop() else { return plan_err!("the call vanished") };
            let before = if tables.joins.is_empty() { tables.relation } else { nested(tables) };
            items(context.plan(before)?, &call, context)?
        } else {
            context.plan(nested(TableWithJoins { relation: nested(tables), joins: behind }))?
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The rows of `before`, once for each item of the list that `call` takes of them.
fn items(
    before: LogicalPlan,
    call: &Join,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let (Some(table), Some(keeps_rows)) =
        (UnnestTable::of(&call.relation), keeps_rows(&call.join_operator))
    else {
        return plan_err!("UNNEST can't be joined like this");
    };
    let Some(list) = table.list else { return plan_err!("UNNEST takes one list") };
    let planned = context.sql_to_expr(list.clone(), before.schema())?;
    let name = LISTS[usize::from(keeps_rows)];
    let mut columns: Vec<Expr> = before.schema().columns().into_iter().map(Expr::Column).collect();
    let handling =
        if keeps_rows { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
    let lists = columns.iter().cloned().chain([planned.alias(name)]);
    let lists = LogicalPlanBuilder::from(before).project(lists)?;
    let last = lists.schema().fields().len().saturating_sub(1);
    let is_list = is_list(lists.schema().field(last).data_type());
    if !is_list {
        let message = format!("`{list}` is no list, so it has no items");
        return Err(wrong(&message, "UNNEST takes a list, such as a column of type TEXT[]"));
    }
    let options = UnnestOptions::new().with_null_handling(handling);
    let column = Column::from_name(name);
    let rows = lists.unnest_columns_with_options(vec![column.clone()], options)?;
    let item = rows.schema().field(last).data_type().clone();
    columns.extend(named(Expr::Column(column), &item, table.alias)?);
    rows.project(columns)?.build()
}

fn wrong(message: &str, help: &str) -> DataFusionError {
    let noted = Diagnostic::new_error(message, None).with_help(help, None);
    DataFusionError::Plan(message.to_owned()).with_diagnostic(noted)
}

const fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _))
}

/// The columns that items become: the fields of structs, or the item itself.
fn named(item: Expr, data_type: &DataType, alias: Option<&TableAlias>) -> Result<Vec<Expr>> {
    let table = alias.map_or_else(|| NAME.to_owned(), |alias| fold(&alias.name));
    let names: Vec<String> =
        alias.iter().flat_map(|alias| &alias.columns).map(|column| fold(&column.name)).collect();
    let fields = match data_type {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    };
    let mut parts: Vec<(String, Expr)> = fields
        .iter()
        .map(|field| (field.name().clone(), get_field(item.clone(), field.name())))
        .collect();
    if parts.is_empty() {
        parts.push((table.clone(), item));
    }
    if !names.is_empty() && names.len() != parts.len() {
        let (is, wanted) = (names.len(), parts.len());
        let message =
            format!("`{table}` names {is} columns, and the items of its list have {wanted}");
        return Err(wrong(&message, "name each field of the items once, or none"));
    }
    let table = TableReference::bare(table);
    let names = names.into_iter().map(Some).chain(std::iter::repeat(None));
    let columns = parts.into_iter().zip(names).map(|((name, part), other)| {
        part.alias_qualified(Some(table.clone()), other.unwrap_or(name))
    });
    Ok(columns.collect())
}

/// The column of its input that a column of the node repeats; `None` for items.
pub(crate) fn repeated(node: &Unnest, index: usize) -> Option<usize> {
    let column = node.schema.columns().into_iter().nth(index)?;
    let is_item = node.list_type_columns.iter().any(|(_, list)| list.output_column == column);
    if is_item { None } else { node.input.schema().maybe_index_of_column(&column) }
}

/// What of an unnesting streams don't do.
pub(crate) fn refused(node: &Unnest) -> Option<(&'static str, &'static str)> {
    if !node.struct_type_columns.is_empty() {
        return Some(("unnest of a struct", "take its fields: item.sku, item.price"));
    }
    (node.list_type_columns.len() > 1).then_some((
        "more than one unnest in a SELECT",
        "unnest the second list in a query around the first: SELECT tag, unnest(sizes) FROM (SELECT unnest(tags) AS tag, sizes FROM ..)",
    ))
}
