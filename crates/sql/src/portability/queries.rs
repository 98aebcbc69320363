//! Queries as they are written: windows, functions, subqueries and clauses.

use std::ops::{ControlFlow, Range};

use sqlparser::{
    ast::{
        Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
        Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor,
        Visit, Visitor, WindowType, visit_expressions,
    },
    keywords::Keyword,
};

use super::Findings;
use crate::{
    catalog::{Catalog, fold},
    functions::{Functions, is_window},
    interval, late_rows,
    unnest::UnnestTable,
};

/// Functions that ask for the time.
const CLOCK: [&str; 4] = ["now", "current_timestamp", "current_date", "localtimestamp"];

/// Looks at a query and all that is in it.
pub(super) fn check(query: &Query, findings: &mut Findings<'_, '_>) {
    let mut walk = Walk { findings, catalog: Catalog::new() };
    let ControlFlow::Continue(()) = query.visit(&mut walk);
}

struct Walk<'f, 's, 'a> {
    findings: &'f mut Findings<'s, 'a>,
    /// Reads intervals; it has no tables.
    catalog: Catalog,
}

impl Visitor for Walk<'_, '_, '_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.body(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        self.factor(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(call) => self.call(call),
            Expr::Exists { subquery, negated } => {
                let what = if *negated { "NOT EXISTS" } else { "EXISTS" };
                self.subquery(Keyword::EXISTS, subquery, what);
            }
            Expr::InSubquery { subquery, .. } => {
                self.subquery(Keyword::IN, subquery, "IN (SELECT ..)");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_, '_, '_> {
    fn place(&self, node: &impl Spanned) -> Option<Range<usize>> {
        self.findings.source.balanced(node.span())
    }

    fn refused(&mut self, node: &impl Spanned, what: impl Into<String>, hint: &str) {
        if let Some(place) = self.place(node) {
            self.findings.refused(place, what, hint);
        }
    }

    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
                match op {
                    SetOperator::Union if all => {}
                    SetOperator::Union => self.distinct(body, "UNION without ALL"),
                    _ => self.refused(
                        body,
                        format!("Arroyo has no {op}"),
                        "join the two, or write them apart",
                    ),
                }
                self.body(left);
                self.body(right);
            }
            // What is in parentheses is a query, which is visited by itself.
            _ => {}
        }
    }

    fn select(&mut self, select: &Select) {
        if let Some(qualify) = &select.qualify {
            self.refused(
                qualify,
                "Arroyo has no QUALIFY",
                "put the SELECT into FROM (..) and the condition into a WHERE around it",
            );
        }
        match &select.distinct {
            Some(Distinct::Distinct) => {
                if let Some(word) = self
                    .place(select)
                    .and_then(|place| self.findings.source.find_name("distinct", &place))
                {
                    self.distinct_at(word, "SELECT DISTINCT");
                }
            }
            Some(Distinct::On(_)) => {
                self.refused(
                    select,
                    "Arroyo has no DISTINCT ON",
                    "rank the rows of a window by ROW_NUMBER",
                );
            }
            _ => {}
        }
        self.window_aliases(select);
    }

    /// `SELECT tumble(..) AS w, w.start`: Arroyo knows the parts of a window in the query around it only.
    fn window_aliases(&mut self, select: &Select) {
        let windows: Vec<String> = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { expr: Expr::Function(call), alias }
                    if self.is_window_call(call) =>
                {
                    Some(fold(alias))
                }
                _ => None,
            })
            .collect();
        if windows.is_empty() {
            return;
        }
        let mut parts = Vec::new();
        let in_having = select.having.iter();
        let in_projection = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        for expr in in_projection.chain(in_having) {
            let ControlFlow::Continue(()) = visit_expressions(expr, |expr| {
                if let Expr::CompoundIdentifier(path) = expr
                    && path.first().is_some_and(|first| windows.contains(&fold(first)))
                {
                    parts.push(expr.clone());
                }
                ControlFlow::<std::convert::Infallible>::Continue(())
            });
        }
        for part in parts {
            self.refused(
                &part,
                format!("Arroyo can't read `{part}` in the SELECT that names the window"),
                "put the SELECT into FROM (..), and take it in the SELECT around it",
            );
        }
    }

    fn distinct(&mut self, node: &impl Spanned, what: &str) {
        if let Some(place) = self.place(node) {
            self.distinct_at(place, what);
        }
    }

    fn distinct_at(&mut self, place: Range<usize>, what: &str) {
        self.findings.differs(
            place,
            format!("Arroyo takes the rows of {what} for ones that may change"),
            "its sink needs format = 'debezium_json'; for final rows GROUP BY a window",
        );
    }

    fn factor(&mut self, factor: &TableFactor) {
        if UnnestTable::of(factor).is_some() {
            self.refused(
                factor,
                "Arroyo takes unnest in SELECT only",
                "write SELECT unnest(list) AS item",
            );
            return;
        }
        match factor {
            TableFactor::Table { name, args, version, .. } => {
                if version.is_some() {
                    self.refused(
                        factor,
                        "Arroyo has no tables of the past (FOR SYSTEM_TIME AS OF)",
                        "look up the value of now in a TEMPORARY table of connector = 'redis'",
                    );
                } else if args.is_some() && is_window_name(name) {
                    self.table_function(factor);
                } else if args.is_some() && plain_name(name).as_deref() == Some(late_rows::NAME) {
                    self.refused(
                        factor,
                        "Arroyo drops late rows, and nobody can read them",
                        "leave more time in WATERMARK FOR",
                    );
                }
            }
            TableFactor::TableFunction { expr: Expr::Function(call), .. }
                if is_window_name(&call.name) =>
            {
                self.table_function(factor);
            }
            TableFactor::Function { name, .. } if is_window_name(name) => {
                self.table_function(factor)
            }
            TableFactor::MatchRecognize { .. } => self.refused(
                factor,
                "Arroyo has no MATCH_RECOGNIZE",
                "a session of the steps, with HAVING over their times, says some of it",
            ),
            _ => {}
        }
    }

    fn table_function(&mut self, factor: &TableFactor) {
        self.refused(
            factor,
            "Arroyo has windows in GROUP BY only",
            "write GROUP BY k, tumble(INTERVAL '1 hour')",
        );
    }

    /// A subquery that follows `word`.
    fn subquery(&mut self, word: Keyword, query: &Query, what: &str) {
        let Some(query) = self.place(query) else { return };
        let place = self.findings.source.keyword_before(word, query.start).unwrap_or(query);
        self.findings.refused(
            place,
            format!("Arroyo has no {what} over streams"),
            "unite both streams by UNION ALL in a session by key, and compare their times in HAVING",
        );
    }

    fn call(&mut self, call: &Function) {
        let Some(name) = plain_name(&call.name) else { return };
        if is_window(&name) {
            self.window(&name, call);
        } else if matches!(call.over, Some(WindowType::WindowSpec(_) | WindowType::NamedWindow(_)))
        {
            // Its place in the plan says whether it is within a window.
        } else if Functions::is_own(&name) {
            self.refused(
                &call.name,
                format!("Arroyo has no function `{name}`"),
                "compute it before the event is posted, or write it as a function in Rust or Python there",
            );
        } else if CLOCK.contains(&name.as_str())
            && let Some(place) = self.place(&call.name)
        {
            self.findings.differs(
                place,
                format!("on Arroyo `{name}` is the time at which the pipeline started"),
                "compare event times",
            );
        }
    }

    fn window(&mut self, name: &str, call: &Function) {
        let args = arguments(call);
        // Of a table function the table comes first, and FROM says all.
        if matches!(args.first(), Some(Expr::Identifier(_) | Expr::CompoundIdentifier(_))) {
            return;
        }
        let places = match name {
            "cumulate" => {
                self.refused(
                    &call.name,
                    "Arroyo has no cumulating windows",
                    "use tumble for the whole, or hop for what is the newest",
                );
                return;
            }
            "hop" => 2,
            _ => 1,
        };
        if let Some(more) = args.get(places) {
            self.refused(
                *more,
                format!("Arroyo's `{name}` takes no offset and no time zone"),
                "windows start at multiples of their length since 1970, in UTC",
            );
        }
        for arg in args.iter().take(places) {
            match interval::literal(&self.catalog, arg) {
                Ok(length) if length.months != 0 => {
                    self.refused(*arg, "Arroyo has no windows of months", "write days")
                }
                _ => {}
            }
        }
        if let ("hop", [slide, size, ..]) = (name, args.as_slice())
            && let Ok(slide_ns) = interval::literal_ns(&self.catalog, slide)
            && let Ok(size_ns) = interval::literal_ns(&self.catalog, size)
            && slide_ns > 0
            && size_ns % slide_ns != 0
        {
            self.refused(
                *size,
                "Arroyo's `hop` needs a size that is a multiple of its slide",
                "choose another slide",
            );
        }
        if name == "session"
            && let Some(place) = self.place(&call.name)
        {
            self.findings.differs(
                place,
                "on Arroyo two rows exactly one gap apart may be of one session or of two",
                "Postrider and Flink take them for one; choose a gap that no two rows are apart",
            );
        }
    }

    fn is_window_call(&self, call: &Function) -> bool {
        is_window_name(&call.name)
    }
}

fn plain_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().map(|ident| ident.value.to_lowercase())
}

fn is_window_name(name: &ObjectName) -> bool {
    plain_name(name).is_some_and(|name| is_window(&name))
}

fn arguments(call: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &call.args else { return Vec::new() };
    list.args
        .iter()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. } => Some(expr),
            _ => None,
        })
        .collect()
}
