//! Flink's window table functions: `FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5 minutes'))` and its kin.
//!
//! They become the rows of `t` with three more columns, `window_start`, `window_end` and `window_time`, that are calls no row can
//! answer. Lowering takes an aggregate that groups by them as one over that window; what still uses them then is refused.

use std::sync::Arc;

use datafusion::{
    common::{Column, DFSchema, DataFusionError, Diagnostic, Result, Span, plan_datafusion_err},
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
};
use postrider_plan::Window;
use sqlparser::ast::{
    self, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Spanned, TableAlias, TableFactor, TableFunctionArgs,
};

use crate::{
    catalog::{fold, only_part},
    functions::{WindowColumn, is_window},
    window_calls,
    window_origin::{Part, is_event_time},
    window_spec::{self, Arg},
};

/// A call of a window function in FROM.
pub(crate) struct WindowTable<'q> {
    /// `tumble`, `hop`, `cumulate` or `session`.
    pub(crate) name: String,
    pub(crate) span: sqlparser::tokenizer::Span,
    args: &'q [FunctionArg],
    alias: Option<&'q TableAlias>,
}

/// What is wrong with a call, where, and what to do.
pub(crate) struct Malformed {
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) span: sqlparser::tokenizer::Span,
}

/// The arguments of a call.
pub(crate) struct Arguments<'q> {
    /// The table, or a subquery.
    pub(crate) data: &'q SqlExpr,
    /// What `PARTITION BY` names.
    pub(crate) partition: Vec<&'q SqlExpr>,
    /// The column of `DESCRIPTOR`.
    pub(crate) time: &'q Ident,
    /// The lengths of time, in the order of the function.
    pub(crate) lengths: Vec<&'q SqlExpr>,
}

impl<'q> WindowTable<'q> {
    /// The call that a table is read by, with or without `TABLE(..)` around it.
    pub(crate) fn of(factor: &'q TableFactor) -> Option<Self> {
        match factor {
            TableFactor::TableFunction { expr: SqlExpr::Function(call), alias } => {
                let args = arguments(call);
                let (name, span) = (window_calls::name(call), call.span());
                Some(Self { name, args, span, alias: alias.as_ref() })
            }
            TableFactor::Table {
                name, args: Some(TableFunctionArgs { args, .. }), alias, ..
            } => {
                let (folded, span) = (only_part(name).map(fold)?, name.span());
                Some(Self { name: folded, args, span, alias: alias.as_ref() })
            }
            _ => None,
        }
        .filter(|table| is_window(&table.name))
    }

    /// Takes the arguments apart.
    pub(crate) fn read(&self) -> std::result::Result<Arguments<'q>, Malformed> {
        let wrong = |message: String| Malformed {
            message,
            hint: format!("write {}", self.example()),
            span: self.span,
        };
        let names = self.names();
        let mut slots: Vec<Option<&SqlExpr>> = vec![None; names.len()];
        let mut partition = Vec::new();
        let mut position = 0;
        for arg in self.args {
            let (name, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (None, expr),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    (Some(fold(name)), expr)
                }
                _ => return Err(wrong(format!("`{arg}` is no argument of `{}`", self.name))),
            };
            if let Some(columns) = call_of(expr, "partition_by") {
                partition = columns;
                continue;
            }
            let at = match &name {
                Some(name) => names.iter().position(|known| known == name),
                None => Some(position),
            };
            position += 1;
            let slot = at.and_then(|at| slots.get_mut(at));
            let Some(slot) = slot.filter(|slot| slot.is_none()) else {
                return Err(wrong(format!("`{arg}` is one argument too many for `{}`", self.name)));
            };
            *slot = Some(expr);
        }
        let mut slots = slots.into_iter();
        let data = slots.next().flatten();
        let Some(data) = data.filter(|data| is_relation(data)) else {
            return Err(wrong(format!("the first argument of `{}` is a table", self.name)));
        };
        let time = slots.next().flatten().and_then(|expr| call_of(expr, "descriptor"));
        let Some([SqlExpr::Identifier(time)]) = time.as_deref() else {
            let message = format!("the second argument of `{}` names the event time", self.name);
            return Err(wrong(message));
        };
        if self.name != "session" && !partition.is_empty() {
            return Err(wrong(format!("`{}` takes no PARTITION BY", self.name)));
        }
        Ok(Arguments { data, partition, time, lengths: slots.flatten().collect() })
    }

    fn names(&self) -> &'static [&'static str] {
        match self.name.as_str() {
            "tumble" => &["data", "timecol", "size", "offset", "zone"],
            "hop" => &["data", "timecol", "slide", "size", "offset"],
            "cumulate" => &["data", "timecol", "step", "size", "offset"],
            _ => &["data", "timecol", "gap"],
        }
    }

    fn example(&self) -> String {
        let (name, lengths) = match self.name.as_str() {
            "tumble" => ("TUMBLE", "INTERVAL '1 hour'"),
            "hop" => ("HOP", "INTERVAL '10 minutes', INTERVAL '1 hour'"),
            "cumulate" => ("CUMULATE", "INTERVAL '1 hour', INTERVAL '1 day'"),
            _ => return "TABLE(SESSION(TABLE t PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '30 minutes'))".to_owned(),
        };
        format!("TABLE({name}(TABLE t, DESCRIPTOR(ts), {lengths}))")
    }
}

fn arguments(call: &Function) -> &[FunctionArg] {
    match &call.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    }
}

/// The arguments of an expression that calls `name`.
fn call_of<'q>(expr: &'q SqlExpr, name: &str) -> Option<Vec<&'q SqlExpr>> {
    let SqlExpr::Function(call) = expr else { return None };
    if window_calls::name(call) != name {
        return None;
    }
    let args = arguments(call).iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    args.collect()
}

const fn is_relation(expr: &SqlExpr) -> bool {
    matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) | SqlExpr::Subquery(_))
}

/// The name of a table that is written as an expression.
pub(crate) fn relation_name(data: &SqlExpr) -> Option<ObjectName> {
    let idents = match data {
        SqlExpr::Identifier(ident) => vec![ident.clone()],
        SqlExpr::CompoundIdentifier(idents) => idents.clone(),
        _ => return None,
    };
    Some(ObjectName::from(idents))
}

/// Plans window table functions.
#[derive(Debug)]
pub(crate) struct WindowTables;

impl RelationPlanner for WindowTables {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(table) = WindowTable::of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let args = table.read().map_err(|wrong| plan_datafusion_err!("{}", wrong.message))?;
        let input = context.plan(relation_of(args.data))?;
        check_time(&input, args.time, context)?;
        let mut lengths = Vec::with_capacity(args.lengths.len());
        for (position, length) in args.lengths.iter().enumerate() {
            let planned = context.sql_to_expr((*length).clone(), &DFSchema::empty())?;
            lengths.push(Arg::planned(position, &planned));
        }
        let window = window_spec::window(&table.name, &lengths)
            .map_err(|problem| plan_datafusion_err!("{}", problem.message))?;
        let mut partition = Vec::with_capacity(args.partition.len());
        for column in args.partition {
            partition.push(context.sql_to_expr(column.clone(), input.schema())?);
        }
        let plan = windowed(input, window, &partition)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, table.alias.cloned()))))
    }
}

/// The relation that is named or written in place of a table.
pub(crate) fn relation_of(data: &SqlExpr) -> TableFactor {
    match data {
        SqlExpr::Subquery(query) => TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        },
        data => TableFactor::Table {
            name: relation_name(data).unwrap_or_else(|| ObjectName(Vec::new())),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::<ast::TableIndexHints>::new(),
        },
    }
}

/// Rows have one time, whatever a query says: the descriptor must name it.
fn check_time(
    input: &LogicalPlan,
    time: &Ident,
    context: &dyn RelationPlannerContext,
) -> Result<()> {
    let column = Column::new_unqualified(context.normalize_ident(time.clone()));
    let columns = input.schema().columns_with_unqualified_name(&column.name);
    let found = columns.iter().find_map(|column| input.schema().maybe_index_of_column(column));
    if found.is_some_and(|index| is_event_time(input, index)) {
        return Ok(());
    }
    let message = format!("`{}` is not the event time of the rows", column.name);
    let place = Span::try_from_sqlparser_span(time.span);
    let help = "name the column of WATERMARK FOR, or the window_time that an aggregate grouped by";
    let noted = Diagnostic::new_error(&message, place).with_help(help, None);
    Err(DataFusionError::Plan(message).with_diagnostic(noted))
}

fn windowed(input: LogicalPlan, window: Window, partition: &[Expr]) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    for part in [Part::Start, Part::End, Part::Time] {
        let function = ScalarUDF::from(WindowColumn::new(part, window, partition.len()));
        columns.push(Arc::new(function).call(partition.to_vec()).alias(part.name()));
    }
    LogicalPlanBuilder::from(input).project(columns)?.build()
}
