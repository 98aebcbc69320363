//! A whole program: functions first, then tables, then views in order, then queries.

mod functions;
mod memory;
mod names;
mod roles;
mod settings;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use datafusion::logical_expr::LogicalPlan;
use postrider_core::{Diagnostic, Diagnostics, PipelineName};
use postrider_plan::{Emission, MaterializedView, Program, Query, SinkTarget, Table};
use sqlparser::ast::{self, Insert, Spanned, TableObject};

use crate::{
    catalog::{Catalog, fold, only_part},
    changelog,
    checks::Input,
    codes, ddl, guard,
    insert::{self, Target},
    over,
    parse::{self, Located, Statement},
    prepass, select, suggest, table_joins,
    text::SourceText,
};

pub(crate) use self::memory::MEMORY;

/// What a program is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It will run.
    Run,
    /// Its tables and views will be read.
    Tables,
}

/// Plans a program; runs on a thread with enough stack.
pub(crate) fn plan(
    sql: &str,
    name: PipelineName,
    purpose: Purpose,
) -> Result<Program, Diagnostics> {
    guard::check_length(sql)?;
    let source = SourceText::lex(sql)?;
    guard::check_tokens(&source)?;
    let mut planner = Planner::new(&source);
    let statements = planner.parse();
    planner.settle(&statements);
    let statements = planner.put_in_functions(statements);
    planner.declare(&statements, |_| true);
    planner.name_views(&statements);
    planner.plan_queries(&statements);
    planner.check_roles();
    planner.find_unread(&statements);
    planner.finish(sql, name, purpose)
}

/// Fills a catalog with the tables and views of a planned program.
pub(crate) fn reopen(program: &Program) -> Result<Catalog, Diagnostics> {
    let source = SourceText::lex(&program.sql)?;
    let mut planner = Planner::new(&source);
    let statements = planner.parse();
    planner.settle(&statements);
    let statements = planner.put_in_functions(statements);
    for (key, table) in &program.tables {
        planner.catalog.tables.insert(key.clone(), Arc::clone(table));
    }
    // The others are in the program as they turned out.
    planner.declare(&statements, |table| table.connector == MEMORY);
    planner.name_views(&statements);
    if planner.errors.is_empty() { Ok(planner.catalog) } else { Err(Diagnostics(planner.errors)) }
}

/// A planned query whose sink may still get its columns from a later one.
struct Planned {
    /// Key of the table; `None` prints.
    sink: Option<String>,
    plan: LogicalPlan,
    range: Range<usize>,
    /// The sink's name in the INSERT.
    name_range: Range<usize>,
}

struct Planner<'s, 'a> {
    source: &'s SourceText<'a>,
    catalog: Catalog,
    queries: Vec<Planned>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// Lower-case names of tables and views whose declaration is wrong: what uses them is not
    /// looked at, since every finding would follow from the first.
    broken: BTreeSet<String>,
    /// Keys of sinks that were declared without columns.
    inferred: BTreeSet<String>,
    /// Where `updating_ttl` was set, and to what; `None` is for ever.
    ttls: Vec<(usize, Option<i64>)>,
    /// Where it was set when the results of windows leave, and to what.
    emissions: Vec<(usize, Emission)>,
    materialized_views: Vec<MaterializedView>,
}

impl<'s, 'a> Planner<'s, 'a> {
    fn new(source: &'s SourceText<'a>) -> Self {
        Self {
            source,
            catalog: Catalog::new(),
            queries: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            broken: BTreeSet::new(),
            inferred: BTreeSet::new(),
            ttls: Vec::new(),
            emissions: Vec::new(),
            materialized_views: Vec::new(),
        }
    }

    fn parse(&mut self) -> Vec<Located> {
        let mut statements = Vec::new();
        for lexemes in prepass::split(self.source) {
            match parse::statement(self.source, lexemes) {
                Ok(statement) => statements.push(statement),
                Err(error) => {
                    self.errors.push(error);
                    self.broken.extend(prepass::declared_name(lexemes));
                }
            }
        }
        statements
    }

    /// Declares the wanted tables.
    fn declare(&mut self, statements: &[Located], wanted: impl Fn(&Table) -> bool) {
        for Located { statement, range } in statements {
            let Statement::Table(create, clauses) = statement else { continue };
            if ddl::is_named_query(create, clauses) {
                continue;
            }
            let name = only_part(&create.name).map(|ident| fold(ident).to_lowercase());
            match ddl::table(&self.catalog, self.source, create, clauses, range) {
                Ok(table) if !wanted(&table) => {}
                Ok(table) => {
                    let key = table.name.to_lowercase();
                    if self.is_taken(&key, &table.name, table.range.clone()) {
                        continue;
                    }
                    if table.connector == MEMORY {
                        self.catalog.memory.insert(key, Arc::new(table));
                        continue;
                    }
                    if table.columns.is_empty() {
                        self.inferred.insert(key.clone());
                    }
                    self.catalog.tables.insert(key, Arc::new(table));
                }
                Err(errors) => {
                    self.errors.extend(errors);
                    self.broken.extend(name);
                }
            }
        }
    }

    fn is_taken(&mut self, key: &str, name: &str, range: Range<usize>) -> bool {
        let Catalog { tables, views, memory, .. } = &self.catalog;
        let taken = tables.contains_key(key) || views.contains_key(key) || memory.contains_key(key);
        if taken {
            self.errors.push(
                Diagnostic::error(codes::DUPLICATE_NAME, format!("`{name}` is declared twice"))
                    .at(range)
                    .hint("rename or remove one of them; names don't differ by case alone"),
            );
        }
        taken
    }

    fn name_views(&mut self, statements: &[Located]) {
        for Located { statement, range } in statements {
            let (name, named) = match statement {
                Statement::View(create) => (&create.name, self.name_view(create, range)),
                Statement::Table(create, clauses) => match &create.query {
                    Some(query) if ddl::is_named_query(create, clauses) => {
                        (&create.name, self.name_rows(&create.name, query, &[], range))
                    }
                    _ => continue,
                },
                Statement::Insert(insert) => {
                    self.fill_memory(insert, range);
                    continue;
                }
                _ => continue,
            };
            if let Err(errors) = named {
                self.errors.extend(errors);
                self.broken.extend(only_part(name).map(|name| fold(name).to_lowercase()));
            }
        }
    }

    /// Whether a statement mentions a name whose declaration is wrong.
    fn uses_broken(&self, range: &Range<usize>) -> bool {
        self.broken.iter().any(|name| self.source.find_name(name, range).is_some())
    }

    fn plan_queries(&mut self, statements: &[Located]) {
        for Located { statement, range } in statements {
            let planned = match statement {
                Statement::Insert(_) | Statement::Select(_) if self.uses_broken(range) => continue,
                Statement::Insert(insert) if self.memory_target(insert).is_some() => continue,
                Statement::Insert(insert) => self.plan_insert(insert, range),
                Statement::Select(query) => self.plan_print(query, range),
                Statement::Table(..)
                | Statement::View(_)
                | Statement::Function(_)
                | Statement::Set(_) => continue,
            };
            match planned {
                Ok(planned) => self.queries.push(planned),
                Err(errors) => self.errors.extend(errors),
            }
        }
    }

    fn plan_print(
        &mut self,
        query: &ast::Query,
        range: &Range<usize>,
    ) -> Result<Planned, Vec<Diagnostic>> {
        let input = Input::Stream;
        let analyzed = select::analyze(&self.catalog, self.source, query, input, range)?;
        self.warnings.extend(analyzed.warnings);
        let plan = select::finish(
            analyzed.plan,
            input,
            self.source,
            range,
            self.settings_of_query(range.start),
        )?;
        self.warnings.extend(over::kept_for_ever(&plan, self.source, range));
        self.warnings.extend(table_joins::remembered(&plan, self.source, range));
        self.warnings.extend(self.remembered(&plan, range));
        Ok(Planned { sink: None, plan, range: range.clone(), name_range: range.clone() })
    }

    fn plan_insert(
        &mut self,
        insert: &Insert,
        range: &Range<usize>,
    ) -> Result<Planned, Vec<Diagnostic>> {
        let (key, name_range) = self.sink(insert, range)?;
        let Some(query) = &insert.source else {
            return Err(vec![unsupported_insert(range.clone())]);
        };
        if !insert::is_plain(insert) {
            return Err(vec![unsupported_insert(range.clone())]);
        }
        let input = Input::Stream;
        let analyzed = select::analyze(&self.catalog, self.source, query, input, range)?;
        self.warnings.extend(analyzed.warnings);
        let mut table = match self.catalog.tables.get(&key) {
            Some(table) => table.as_ref().clone(),
            None => return Err(vec![unsupported_insert(range.clone())]),
        };
        let target = Target { insert, query, source: self.source, range: name_range.clone() };
        if self.inferred.contains(&key) {
            let columns = target.infer(&table, &analyzed.plan)?;
            if table.columns.is_empty() {
                table.columns = columns;
            } else {
                for (column, other) in table.columns.iter_mut().zip(columns) {
                    column.nullable |= other.nullable;
                }
            }
        }
        let plan = target.project(&table, analyzed.plan)?;
        if let Some(error) = target.check_recipients(&table, &plan) {
            return Err(vec![error]);
        }
        let plan =
            select::finish(plan, input, self.source, range, self.settings_of_query(range.start))?;
        self.warnings.extend(over::kept_for_ever(&plan, self.source, range));
        self.warnings.extend(table_joins::remembered(&plan, self.source, range));
        self.warnings.extend(self.remembered(&plan, range));
        if let Some(error) = changelog::check_sink(&table, &plan, &name_range) {
            return Err(vec![error]);
        }
        if self.inferred.contains(&key) {
            self.catalog.tables.insert(key.clone(), Arc::new(table));
        }
        Ok(Planned { sink: Some(key), plan, range: range.clone(), name_range })
    }

    /// The key of the table that an INSERT writes, and its place.
    fn sink(
        &self,
        insert: &Insert,
        range: &Range<usize>,
    ) -> Result<(String, Range<usize>), Vec<Diagnostic>> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(vec![unsupported_insert(range.clone())]);
        };
        let place = self.source.range(name.span()).unwrap_or_else(|| range.clone());
        let Some(ident) = only_part(name) else { return Err(vec![ddl::no_schemas(place)]) };
        let folded = fold(ident);
        let key = folded.to_lowercase();
        if let Some(table) = self.catalog.tables.get(&key) {
            if table.temporary {
                let message = format!("`{folded}` is TEMPORARY: it is looked up, and not written");
                let error = Diagnostic::error(codes::BAD_TEMPORARY, message).at(place);
                return Err(vec![error.hint("write to another table, without TEMPORARY")]);
            }
            return Ok((key, place));
        }
        if self.catalog.views.contains_key(&key) {
            return Err(vec![
                Diagnostic::error(
                    codes::WRONG_ROLE,
                    format!("`{folded}` is a view, which can't be written"),
                )
                .at(place)
                .hint("insert into a table"),
            ]);
        }
        let names = self.catalog.tables.keys().map(String::as_str);
        Err(vec![
            Diagnostic::error(codes::UNKNOWN_TABLE, format!("table `{folded}` does not exist"))
                .at(place)
                .hint(suggest::hint(&folded, "tables", names)),
        ])
    }

    fn finish(
        mut self,
        sql: &str,
        name: PipelineName,
        purpose: Purpose,
    ) -> Result<Program, Diagnostics> {
        if purpose == Purpose::Run && self.errors.is_empty() && self.queries.is_empty() {
            self.errors.push(
                Diagnostic::error(codes::NO_QUERY, "the program has no query")
                    .hint("add INSERT INTO sink SELECT .. FROM source"),
            );
        }
        self.catalog.macros.name_in(&mut self.errors, self.source);
        self.catalog.macros.name_in(&mut self.warnings, self.source);
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|error| error.span.as_ref().map_or(0, |span| span.range.start));
            self.errors.dedup();
            return Err(Diagnostics(self.errors));
        }
        let tables = self.catalog.tables;
        let sink = |key: Option<String>| {
            let table = key.and_then(|key| tables.get(&key));
            table.map_or(SinkTarget::Print, |table| SinkTarget::Table(Arc::clone(table)))
        };
        let queries = self
            .queries
            .into_iter()
            .map(|query| Query { sink: sink(query.sink), plan: query.plan, range: query.range })
            .collect();
        let materialized_views = self.materialized_views;
        let (sql, warnings) = (Arc::from(sql), self.warnings);
        Ok(Program { name, sql, queries, warnings, tables, materialized_views })
    }
}

fn unsupported_insert(range: Range<usize>) -> Diagnostic {
    Diagnostic::error(codes::UNSUPPORTED, "this form of INSERT is not supported")
        .at(range)
        .hint("write INSERT INTO table [(columns)] SELECT ..")
}
