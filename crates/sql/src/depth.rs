//! Refuses plans whose expressions would be deeper than whoever evaluates them has stack for, or larger than the optimizer
//! has time for: the text bounds one expression, but the optimizer makes one of those of many queries, and writes some parts
//! twice.

use std::ops::Range;

use datafusion::{
    common::DFSchemaRef,
    logical_expr::{Expr, LogicalPlan},
};
use postrider_core::Diagnostic;

use crate::{
    codes,
    limits::{MAX_COPIES, MAX_EXPRESSION_DEPTH},
    walk,
};

/// Functions that the optimizer replaces by a CASE in which their arguments stand twice.
const COPYING: [&str; 4] = ["coalesce", "ifnull", "nvl", "nvl2"];

/// Checks every expression of a plan, with the columns that it reads put in.
pub(crate) fn check(plan: &LogicalPlan, within: &Range<usize>) -> Option<Diagnostic> {
    let mut shapes = Shapes { most: Shape::LEAF };
    shapes.of_plan(plan);
    let Shape { depth, copies } = shapes.most;
    let (code, message, hint) = if depth > MAX_EXPRESSION_DEPTH {
        let message = format!(
            "the query computes an expression of {depth} steps within each other, more than {MAX_EXPRESSION_DEPTH}"
        );
        (codes::TOO_CHAINED, message, "the steps of views and subqueries add up: take some away")
    } else if copies > MAX_COPIES {
        let message = format!(
            "COALESCE, BETWEEN and short IN lists within each other stand for {copies} copies of a value, more than {MAX_COPIES}"
        );
        (codes::TOO_DEEP, message, "COALESCE(a, b, c) takes several values: one does for many")
    } else {
        return None;
    };
    Some(Diagnostic::error(code, message).at(within.clone()).hint(hint))
}

/// What an expression will be once it is optimized, or no more than that.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Levels.
    depth: usize,
    /// How often the same part stands in it.
    copies: u64,
}

impl Shape {
    /// A column or literal.
    const LEAF: Self = Self { depth: 1, copies: 1 };
    const NONE: Self = Self { depth: 0, copies: 1 };

    fn max(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), copies: self.copies.max(other.copies) }
    }

    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    fn twice(self) -> Self {
        Self { copies: self.copies.saturating_mul(2), ..self }
    }
}

struct Shapes {
    most: Shape,
}

/// The columns that a node reads.
struct Input<'p> {
    schema: &'p DFSchemaRef,
    columns: Vec<Shape>,
}

impl Shapes {
    /// The shape of each column of a node.
    fn of_plan(&mut self, plan: &LogicalPlan) -> Vec<Shape> {
        let inputs: Vec<Input<'_>> = plan
            .inputs()
            .into_iter()
            .map(|input| Input { schema: input.schema(), columns: self.of_plan(input) })
            .collect();
        let exprs = plan.expressions();
        let computed: Vec<Shape> = exprs.iter().map(|expr| self.of_expr(expr, &inputs)).collect();
        self.most = computed.iter().copied().fold(self.most, Shape::max);
        let columns: Vec<Shape> = match plan {
            LogicalPlan::Projection(_) => computed,
            LogicalPlan::Union(_) => union(&inputs),
            _ => inputs.into_iter().flat_map(|input| input.columns).collect(),
        };
        // What is neither passed on nor put together is computed here, and read from then on.
        let width = plan.schema().fields().len();
        if columns.len() == width && !matches!(plan, LogicalPlan::Aggregate(_)) {
            columns
        } else {
            vec![Shape::LEAF; width]
        }
    }

    fn of_expr(&mut self, expr: &Expr, inputs: &[Input<'_>]) -> Shape {
        let mut below = Shape::NONE;
        walk::children(expr, |part| below = below.max(self.of_expr(part, inputs)));
        match expr {
            Expr::Alias(_) => below,
            Expr::Column(column) => {
                let read = inputs.iter().filter_map(|input| {
                    input.columns.get(input.schema.maybe_index_of_column(column)?)
                });
                read.copied().reduce(Shape::max).unwrap_or(Shape::LEAF)
            }
            Expr::ScalarFunction(call) if COPYING.contains(&call.name()) => below.deeper().twice(),
            Expr::Between(_) | Expr::InList(_) => below.deeper().twice(),
            Expr::ScalarSubquery(query) => self.of_query(&query.subquery, below),
            Expr::Exists(exists) => self.of_query(&exists.subquery.subquery, below),
            Expr::InSubquery(part) => self.of_query(&part.subquery.subquery, below),
            _ => below.deeper(),
        }
    }

    fn of_query(&mut self, plan: &LogicalPlan, below: Shape) -> Shape {
        self.of_plan(plan).into_iter().fold(below, Shape::max).deeper()
    }
}

/// Each column of a union is that of one of its inputs.
fn union(inputs: &[Input<'_>]) -> Vec<Shape> {
    let columns = inputs.iter().map(|input| input.columns.clone());
    let most = |most: Vec<Shape>, columns: Vec<Shape>| {
        most.into_iter().zip(columns).map(|(one, other)| one.max(other)).collect()
    };
    columns.reduce(most).unwrap_or_default()
}
