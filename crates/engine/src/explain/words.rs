//! Expressions as a person would write them: columns without their table, literals without their type.
//!
//! A tree is named from its leaves up: a node is asked for its text once its children are columns that bear theirs. So no
//! text is searched for what it might mean, and a literal can hold anything.

use std::{collections::BTreeMap, fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        Column as TableColumn, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, Operator},
    physical_expr::{
        PhysicalExpr,
        expressions::{
            BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
        },
    },
};

use crate::{dataflow::Dataflow, operator::OperatorSpec};

/// How an expression reads that is planned but not yet physical.
pub(crate) fn of_expression(expr: &Expr) -> String {
    let named = |name| Ok(Transformed::yes(Expr::Column(TableColumn::new_unqualified(name))));
    let words = expr.clone().transform(|expr| match expr {
        Expr::Column(column) => named(column.name),
        Expr::Literal(value, _) => named(of_value(&value)),
        other => Ok(Transformed::no(other)),
    });
    let text = words.map_or_else(
        |_| expr.schema_name().to_string(),
        |words| words.data.schema_name().to_string(),
    );
    without_default_order(&text)
}

/// Leaves sort options out that are the default. Every other part between quotes is a literal.
fn without_default_order(text: &str) -> String {
    let parts = text.split('\'').enumerate().map(|(index, part)| {
        if index % 2 == 0 {
            part.replace(" ASC NULLS LAST", "").replace(" NULLS FIRST", "")
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("'")
}

/// How physical expressions read.
pub(super) struct Words {
    /// The results of stages by the names that the planner gave them, such as `sum(shop.price)`.
    results: BTreeMap<String, String>,
}

impl Words {
    pub(super) fn new(flow: &Dataflow) -> Self {
        let mut results = BTreeMap::new();
        for stage in &flow.stages {
            let (fields, words): (Vec<_>, Vec<_>) = match &stage.operator {
                OperatorSpec::Window(..) | OperatorSpec::Revised(_) => {
                    let spec = match &stage.operator {
                        OperatorSpec::Revised(spec) => &spec.aggregate,
                        OperatorSpec::Window(_, spec) => spec,
                        _ => continue,
                    };
                    let fields = spec.output_schema.fields().iter().enumerate();
                    let fields = fields.filter(|(index, _)| *index != spec.window_index);
                    let words = stage.words.keys.iter().chain(&stage.words.aggregates);
                    (fields.map(|(_, field)| field).collect(), words.collect())
                }
                OperatorSpec::Rank(spec) => {
                    let rank = spec.output_schema.fields().iter().next_back();
                    (rank.into_iter().collect(), stage.words.results.last().into_iter().collect())
                }
                OperatorSpec::Over(spec) => {
                    let calls = spec.output_schema.fields().iter().skip(spec.width());
                    (calls.collect(), stage.words.aggregates.iter().collect())
                }
                OperatorSpec::Updating(spec) => {
                    let words = stage.words.keys.iter().chain(&stage.words.aggregates);
                    (spec.output_schema.fields().iter().collect(), words.collect())
                }
                OperatorSpec::UpdatingTop(spec) if spec.numbered => {
                    let fields = spec.output_schema.fields();
                    let rank = fields.len().checked_sub(2).map(|at| &fields[at]);
                    (rank.into_iter().collect(), stage.words.aggregates.iter().collect())
                }
                OperatorSpec::IntervalJoin(_)
                | OperatorSpec::TableJoin(_)
                | OperatorSpec::UpdatingJoin(_)
                | OperatorSpec::UpdatingTop(_) => continue,
            };
            let names = fields.into_iter().map(|field| field.name().clone());
            results.extend(names.zip(words.into_iter().cloned()));
        }
        Self { results }
    }

    /// How an expression reads.
    pub(super) fn of(&self, expr: &Arc<dyn PhysicalExpr>) -> String {
        if let Some(column) = expr.downcast_ref::<Column>() {
            let name = column.name();
            return self.results.get(name).map_or(name, String::as_str).to_owned();
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return of_value(literal.value());
        }
        let children = expr.children().into_iter().enumerate().map(|(index, child)| {
            let text = self.of(child);
            let nested = needs_parentheses(expr.as_ref(), index, child.as_ref());
            let text = if nested { format!("({text})") } else { text };
            Arc::new(Column::new(&text, 0)) as Arc<dyn PhysicalExpr>
        });
        match Arc::clone(expr).with_new_children(children.collect()) {
            Ok(named) => Sql(named.as_ref()).to_string(),
            // An expression that insists on its children: its own words must do.
            Err(_) => Sql(expr.as_ref()).to_string(),
        }
    }
}

struct Sql<'a>(&'a dyn PhysicalExpr);

impl fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

/// Whether child `index` of an expression would be read as part of something else without parentheses.
fn needs_parentheses(parent: &dyn PhysicalExpr, index: usize, child: &dyn PhysicalExpr) -> bool {
    let (Some(outer), Some(inner)) = (strength(parent), strength(child)) else { return false };
    // The members of an IN list are apart already.
    if parent.downcast_ref::<InListExpr>().is_some() && index > 0 {
        return false;
    }
    let operator = |expr: &dyn PhysicalExpr| expr.downcast_ref::<BinaryExpr>().map(|e| *e.op());
    let chain = operator(parent) == operator(child)
        && (index == 0 || matches!(operator(parent), Some(Operator::And | Operator::Or)));
    inner < outer || (inner == outer && !chain)
}

/// How strongly an operator binds its operands; `None` for what needs no parentheses.
fn strength(expr: &dyn PhysicalExpr) -> Option<u8> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return Some(binary.op().precedence());
    }
    if expr.downcast_ref::<NotExpr>().is_some() {
        return Some(Operator::And.precedence() + 1);
    }
    let compares = expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some()
        || expr.downcast_ref::<InListExpr>().is_some()
        || expr.downcast_ref::<LikeExpr>().is_some();
    compares.then(|| Operator::LikeMatch.precedence())
}

/// A literal as SQL has it.
fn of_value(value: &ScalarValue) -> String {
    let data_type = value.data_type();
    if value.is_null() {
        return "NULL".to_owned();
    }
    if data_type.is_numeric() || data_type == DataType::Boolean {
        return value.to_string();
    }
    let text = match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => text,
        _ => value.to_string(),
    };
    let prefix = if matches!(data_type, DataType::Interval(_)) { "INTERVAL " } else { "" };
    format!("{prefix}'{}'", text.replace('\'', "''"))
}
