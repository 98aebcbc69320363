//! What can be refused by looking at the syntax tree, where every part still knows its place.

mod clauses;
mod extent;
mod time_zone;
mod unnest;
mod versions;
mod window_tables;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    ops::{ControlFlow, Range},
};

use postrider_core::Diagnostic;
use postrider_plan::RowTime;
use sqlparser::ast::{
    Expr, Function, ObjectName, Query, Select, Spanned, TableFactor, Value, ValueWithSpan, Visit,
    Visitor,
};

pub(crate) use extent::Extent;

use crate::{
    catalog::{Catalog, fold, only_part},
    codes,
    functions::{Functions, is_window},
    late_rows::LateTable,
    suggest,
    text::SourceText,
    unnest::{self as unnesting, UnnestTable},
    window_calls::{self, Calls, Endless},
    window_tables::WindowTable,
};

/// What a query runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Rows that never end.
    Stream,
    /// All rows there are.
    Bounded,
}

/// What a query's syntax tells.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) extent: Extent,
    /// Aggregates that would never end, unless the plan shows that they group by a window.
    pub(crate) endless: Vec<Endless>,
}

/// Checks a query.
pub(crate) fn query(
    catalog: &Catalog,
    source: &SourceText<'_>,
    query: &Query,
    input: Input,
) -> Checked {
    let mut checker = Checker::new(catalog, source, input);
    let ControlFlow::Continue(()) = query.visit(&mut checker);
    let extent = checker.extent;
    let found = extent.refuse().map(|error| error.at_option(source.range(query.span())));
    checker.errors.extend(found);
    Checked { errors: checker.errors, extent, endless: checker.endless }
}

/// Checks an expression that is in no query yet.
pub(crate) fn expression(
    catalog: &Catalog,
    source: &SourceText<'_>,
    expr: &Expr,
) -> Vec<Diagnostic> {
    let mut checker = Checker::new(catalog, source, Input::Stream);
    let ControlFlow::Continue(()) = expr.visit(&mut checker);
    checker.errors
}

/// Checks an expression over one row, as in a generated column.
pub(crate) fn row_expression(
    catalog: &Catalog,
    source: &SourceText<'_>,
    expr: &Expr,
) -> Vec<Diagnostic> {
    let mut errors = expression(catalog, source, expr);
    for call in Calls::of(expr).0 {
        let name = window_calls::name(&call);
        let of_rows = call.over.is_some() || catalog.functions.aggregate.contains_key(&name);
        let makes_rows = name == unnesting::NAME;
        let wrong = if is_window(&name) || of_rows {
            ("can't be computed from one row", "aggregate in a query with GROUP BY")
        } else if makes_rows {
            ("makes rows, not a value", "unnest in the query: SELECT unnest(tags) AS tag FROM ..")
        } else if name == RowTime::NAME {
            ("is not known before the row's columns are", "use the column of WATERMARK FOR")
        } else if catalog.functions.reads_clock(&name) {
            ("can't be told of a row when it is read", "call it in the query that reads the table")
        } else {
            continue;
        };
        errors.push(
            Diagnostic::error(codes::BAD_GENERATED, format!("`{name}` {}", wrong.0))
                .at_option(source.balanced(call.span()))
                .hint(wrong.1),
        );
    }
    errors
}

struct Checker<'c, 's, 'a> {
    catalog: &'c Catalog,
    source: &'s SourceText<'a>,
    input: Input,
    errors: Vec<Diagnostic>,
    /// CTE names of the statement, and how large each is.
    ctes: HashMap<String, Extent>,
    /// Names of the queries that are CTEs, by address.
    cte_queries: HashMap<usize, String>,
    /// What each query around the current place reads, as far as it was visited.
    reads: Vec<Extent>,
    /// The largest query.
    extent: Extent,
    /// Names that were refused already, by address.
    refused: HashSet<usize>,
    /// Relations that stand behind another one in FROM, by address.
    beside: HashSet<usize>,
    /// Window table functions around the current place.
    window_tables: usize,
    /// The queries that those read, by address.
    read: HashSet<usize>,
    endless: Vec<Endless>,
    /// Versions of tables that can be looked up, by address.
    versions: HashSet<usize>,
}

impl<'c, 's, 'a> Checker<'c, 's, 'a> {
    fn new(catalog: &'c Catalog, source: &'s SourceText<'a>, input: Input) -> Self {
        Self {
            catalog,
            source,
            input,
            errors: Vec::new(),
            ctes: HashMap::new(),
            cte_queries: HashMap::new(),
            reads: Vec::new(),
            extent: Extent::default(),
            refused: HashSet::new(),
            beside: HashSet::new(),
            window_tables: 0,
            read: HashSet::new(),
            endless: Vec::new(),
            versions: HashSet::new(),
        }
    }

    fn refuse(&mut self, what: &str, range: Option<Range<usize>>, hint: &str) {
        if self.input == Input::Stream {
            let message = format!("{what} on a stream is not supported yet");
            self.errors.push(
                Diagnostic::error(codes::NOT_ON_STREAMS, message).at_option(range).hint(hint),
            );
        }
    }

    fn unsupported(&mut self, what: &str, range: Option<Range<usize>>, hint: &str) {
        let message = format!("{what} is not supported");
        self.errors
            .push(Diagnostic::error(codes::UNSUPPORTED, message).at_option(range).hint(hint));
    }

    fn start_of(&self, query: &Query) -> usize {
        self.source.range(query.span()).map_or(0, |range| range.start)
    }

    fn call(&mut self, call: &Function) {
        let name = window_calls::name(call);
        let place = self.source.range(call.name.span());
        if self.window_tables > 0 && window_tables::is_part(&name) {
            return;
        }
        if name == unnesting::NAME {
            return;
        }
        if !self.catalog.functions.knows(&name) {
            let known = self.catalog.functions.names().into_iter();
            let near = suggest::nearest(&name, known.chain(self.catalog.macros.names()));
            let hint = match near {
                _ if Functions::is_denied(&name) => {
                    "it tells about files or the build, not about rows".to_owned()
                }
                Some(near) => format!("did you mean `{near}`?"),
                None => "functions are those of DataFusion, and tumble, hop, cumulate and session"
                    .to_owned(),
            };
            self.errors.push(
                Diagnostic::error(
                    codes::UNKNOWN_FUNCTION,
                    format!("function `{name}` does not exist"),
                )
                .at_option(place)
                .hint(hint),
            );
            return;
        }
        if self.input == Input::Stream && self.catalog.functions.is_volatile(&name) {
            self.errors.push(
                Diagnostic::error(
                    codes::VOLATILE,
                    format!("`{name}` gives another result on each call, so a replay would trigger other emails"),
                )
                .at_option(self.source.balanced(call.span()).or(place))
                .hint("use the event's own time or id"),
            );
        }
    }

    fn relation(&mut self, name: &ObjectName) {
        let place = self.source.range(name.span());
        let Some(ident) = only_part(name) else {
            self.errors.push(crate::ddl::no_schemas(place.unwrap_or_default()));
            return;
        };
        let folded = fold(ident);
        let place = place.or_else(|| self.source.find_text(&folded, &(0..usize::MAX)));
        let key = folded.to_lowercase();
        let reads = if let Some(reads) = self.ctes.get(&folded) {
            *reads
        } else if let Some(view) = self.catalog.views.get(&key) {
            view.extent
        } else if let Some(table) = self.catalog.memory.get(&key) {
            let message = format!("`{}` has no rows yet: no INSERT stands above this", table.name);
            self.errors.push(
                Diagnostic::error(codes::MEMORY_TABLE, message)
                    .at_option(place)
                    .hint("fill it first: INSERT INTO t SELECT ..; or say where its rows come from: WITH (connector = '..')"),
            );
            Extent::TABLE
        } else if let Some(table) = self.catalog.tables.get(&key) {
            if table.columns.is_empty() {
                self.errors.push(
                    Diagnostic::error(
                        codes::WRONG_ROLE,
                        format!("`{}` has no columns, so it can only be written", table.name),
                    )
                    .at_option(place)
                    .hint("declare its columns, or read the table that feeds it"),
                );
            }
            Extent::TABLE
        } else {
            let names = self.catalog.readable_names();
            let ctes: Vec<&str> = self.ctes.keys().map(String::as_str).collect();
            let mut all = [names, ctes].concat();
            all.sort_unstable();
            let hint = if self.source.declares_view(&folded) {
                format!("move its CREATE .. AS SELECT up: `{folded}` is known below that only")
            } else {
                suggest::hint(&folded, "tables", all)
            };
            self.errors.push(
                Diagnostic::error(codes::UNKNOWN_TABLE, format!("table `{folded}` does not exist"))
                    .at_option(place)
                    .hint(hint),
            );
            Extent::TABLE
        };
        if let Some(sum) = self.reads.last_mut() {
            sum.add(reads);
        }
    }
}

fn address<T>(value: &T) -> usize {
    std::ptr::from_ref(value).addr()
}

impl Visitor for Checker<'_, '_, '_> {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Infallible> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = fold(&cte.alias.name);
            self.ctes.entry(name.clone()).or_insert(Extent::TABLE);
            self.cte_queries.insert(address(cte.query.as_ref()), name);
        }
        self.reads.push(Extent::default());
        self.tail(query);
        self.set_operation(&query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Infallible> {
        let mut reads = self.reads.pop().unwrap_or_default();
        reads.depth += 1;
        self.extent.relations = self.extent.relations.max(reads.relations);
        self.extent.depth = self.extent.depth.max(reads.depth);
        if let Some(name) = self.cte_queries.get(&address(query)) {
            reads.relations = reads.relations.max(1);
            self.ctes.insert(name.clone(), reads);
        } else if let Some(sum) = self.reads.last_mut() {
            sum.add(reads);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Infallible> {
        self.select_clauses(select);
        self.unnest_places(select);
        self.find_versions(select);
        let windows = window_calls::check(self.catalog, self.source, select, self.input);
        self.errors.extend(windows.errors);
        self.endless.extend(windows.endless);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Infallible> {
        self.version(factor);
        if let Some(table) = WindowTable::of(factor) {
            if let TableFactor::Table { name, .. } = factor {
                self.refused.insert(address(name));
            }
            self.window_tables += 1;
            self.window_table(&table);
            return ControlFlow::Continue(());
        }
        if let Some(call) = UnnestTable::of(factor) {
            self.unnest_table(factor, &call);
            return ControlFlow::Continue(());
        }
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.joined_unnests(table_with_joins);
        }
        if let Some(table) = LateTable::of(factor) {
            if let TableFactor::Table { name, .. } = factor {
                self.refused.insert(address(name));
            }
            match table.check(self.catalog, self.source) {
                Ok(name) => self.relation(&name),
                Err(error) => self.errors.push(error),
            }
            return ControlFlow::Continue(());
        }
        let name = match factor {
            TableFactor::Table { args: None, name, .. } => {
                if let TableFactor::Table { sample: Some(_), .. } = factor {
                    self.refuse("TABLESAMPLE", self.source.range(name.span()), "remove it");
                }
                return ControlFlow::Continue(());
            }
            TableFactor::Derived { lateral: false, .. } | TableFactor::NestedJoin { .. } => {
                return ControlFlow::Continue(());
            }
            TableFactor::Table { name, .. } => Some(name),
            _ => None,
        };
        if let Some(name) = name {
            self.refused.insert(address(name));
        }
        let span = name.map_or_else(|| factor.span(), Spanned::span);
        self.errors.push(
            Diagnostic::error(codes::UNSUPPORTED, "FROM takes tables, views and subqueries only")
                .at_option(self.source.range(span))
                .hint("declare a table with CREATE TABLE .. WITH (connector = ..)"),
        );
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Infallible> {
        if WindowTable::of(factor).is_some() {
            self.window_tables -= 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Infallible> {
        if !self.refused.contains(&address(name)) {
            self.relation(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::Function(call) => self.call(call),
            Expr::Subquery(query) if self.read.contains(&address(query.as_ref())) => {}
            Expr::Subquery(query) => {
                self.refuse(
                    "a subquery in an expression",
                    self.source.balanced(query.span()),
                    "read it in FROM",
                );
            }
            Expr::AtTimeZone { time_zone, .. } => self.time_zone(time_zone),
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => {
                self.refuse(
                    "GROUP BY with totals",
                    self.source.range(expr.span()),
                    "write one INSERT for each grouping",
                );
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<Infallible> {
        if let Value::Placeholder(name) = &value.value {
            self.errors.push(
                Diagnostic::error(codes::UNSUPPORTED, format!("there is no value for `{name}`"))
                    .at_option(self.source.range(value.span))
                    .hint("write the value itself"),
            );
        }
        ControlFlow::Continue(())
    }
}
