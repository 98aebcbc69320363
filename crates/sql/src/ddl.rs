//! `CREATE TABLE` to [`Table`].

mod kinds;
mod watermark;

pub(crate) use self::kinds::is_named_query;

use std::{ops::Range, sync::Arc};

use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::{
    arrow::datatypes::{DataType, Schema},
    common::DFSchema,
    logical_expr::{Expr, ExprSchemable},
    optimizer::simplify_expressions::ExprSimplifier,
    sql::planner::{PlannerContext, SqlToRel},
};
use postrider_core::Diagnostic;
use postrider_plan::{Column, CommonOptions, Table};
use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, Expr as SqlExpr, TableConstraint,
};

use crate::{
    catalog::{Catalog, fold, only_part},
    checks, codes, errors, fields, growth, lower, options,
    prepass::{MetadataClause, TableClauses},
    program::MEMORY,
    suggest,
    text::SourceText,
    types,
};

/// Plans one `CREATE TABLE`.
pub(crate) fn table(
    catalog: &Catalog,
    source: &SourceText<'_>,
    create: &CreateTable,
    clauses: &TableClauses,
    statement: &Range<usize>,
) -> Result<Table, Vec<Diagnostic>> {
    check_clauses(source, create, statement)?;
    let Some(ident) = only_part(&create.name) else {
        return Err(vec![no_schemas(statement.clone())]);
    };
    let name = fold(ident);
    let range = source.range(ident.span).unwrap_or_else(|| statement.clone());
    let mut errors = Vec::new();
    let with = match &create.table_options {
        CreateTableOptions::With(with) => with.as_slice(),
        _ => &[],
    };
    let in_memory = with.is_empty() && !create.columns.is_empty();
    let read =
        options::read(catalog, source, &name, range.clone(), with).and_then(|mut options| {
            if in_memory {
                return Ok((options, MEMORY.to_owned(), CommonOptions::default()));
            }
            options::take_common(&mut options)
                .map(|(connector, common)| (options, connector, common))
        });
    let metadata = &clauses.metadata;
    let mut builder = Columns { catalog, source, metadata, columns: Vec::new(), key: Vec::new() };
    errors.extend(builder.declare(create));
    if errors.is_empty() {
        errors.extend(builder.generate(create));
    }
    let read = read.map_err(|found| errors.extend(found)).ok();
    let Columns { columns, key, .. } = builder;
    let mut table = match (read, errors.is_empty()) {
        (Some((options, connector, common)), true) => Table {
            name,
            columns,
            connector,
            options,
            common,
            watermark: None,
            primary_key: key,
            temporary: create.temporary,
            range,
        },
        _ => return Err(errors),
    };
    if let Some(clause) = &clauses.watermark {
        table.watermark = Some(watermark::define(catalog, source, &table, clause)?);
    }
    kinds::temporary(&table)?;
    kinds::memory(&table, with)?;
    if table.is_lookup() {
        table.common.max_lookup_bytes =
            options::lookup_bytes(&mut table.options).map_err(|error| vec![error])?;
    }
    if table.common.max_future_skew.is_some() && table.watermark.is_none() {
        let misses = "can't be ahead of the clock, as `max_future_skew` would forbid";
        return Err(vec![lower::no_event_time(&table, table.range.clone(), misses)]);
    }
    Ok(table)
}

pub(crate) fn no_schemas(range: Range<usize>) -> Diagnostic {
    Diagnostic::error(codes::UNSUPPORTED, "a table's name is one word: there are no schemas")
        .at(range)
        .hint("write name instead of schema.name")
}

fn check_clauses(
    source: &SourceText<'_>,
    create: &CreateTable,
    statement: &Range<usize>,
) -> Result<(), Vec<Diagnostic>> {
    let start = statement.start;
    let refuse = |word: &str, range: Option<Range<usize>>, hint: &str| {
        let message = format!("CREATE TABLE with {word} is not supported");
        let range = range.unwrap_or_else(|| statement.clone());
        Err(vec![Diagnostic::error(codes::UNSUPPORTED, message).at(range).hint(hint)])
    };
    let name = |text: &str| source.find_name(text, statement);
    if create.query.is_some() {
        let hint = "write CREATE TABLE t AS SELECT .. and nothing else; a table with columns or options is filled by INSERT INTO";
        return refuse("more than a name, and AS SELECT,", name("AS"), hint);
    }
    if create.or_replace || create.external || create.if_not_exists {
        let words = ["REPLACE", "EXTERNAL", "IF"];
        let found = words.into_iter().find_map(|word| Some((word, name(word)?)));
        let (word, range) = found.unwrap_or(("options", start..start));
        return refuse(word, Some(range), "write CREATE TABLE name (..) WITH (..)");
    }
    if create.partition_by.is_some() || create.like.is_some() || create.clone.is_some() {
        let hint = "write CREATE TABLE name (columns) WITH (options)";
        return refuse("PARTITION BY, LIKE or CLONE", None, hint);
    }
    match &create.table_options {
        CreateTableOptions::None | CreateTableOptions::With(_) => Ok(()),
        _ => refuse("options outside WITH", None, "write WITH (name = value, ..)"),
    }
}

struct Columns<'c, 's, 'a> {
    catalog: &'c Catalog,
    source: &'s SourceText<'a>,
    metadata: &'c [MetadataClause],
    columns: Vec<Column>,
    key: Vec<String>,
}

impl Columns<'_, '_, '_> {
    /// Names, types, nullability and keys.
    fn declare(&mut self, create: &CreateTable) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        for definition in &create.columns {
            if let Err(error) = self.declare_one(definition) {
                errors.push(error);
            }
        }
        for constraint in &create.constraints {
            if let Err(error) = self.constrain(constraint, create) {
                errors.push(error);
            }
        }
        let key = self.key.clone();
        for column in self.columns.iter_mut().filter(|column| key.contains(&column.name)) {
            column.nullable = false;
        }
        errors
    }

    fn declare_one(&mut self, definition: &ColumnDef) -> Result<(), Diagnostic> {
        let name = fold(&definition.name);
        let range = self.source.range(definition.name.span).unwrap_or_default();
        if self.columns.iter().any(|column| column.name == name) {
            return Err(Diagnostic::error(
                codes::DUPLICATE_NAME,
                format!("column `{name}` is declared twice"),
            )
            .at(range)
            .hint("rename or remove one of them"));
        }
        let data_type = self.data_type(definition, &range)?;
        let mut nullable = true;
        for option in &definition.options {
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => nullable = false,
                ColumnOption::PrimaryKey(_) => self.key.push(name.clone()),
                ColumnOption::Generated { generation_expr: Some(_), .. } => {}
                other => {
                    let text = other.to_string();
                    let word = text.split([' ', '(']).next().unwrap_or_default();
                    let within = self.source.item(range.start);
                    return Err(Diagnostic::error(
                        codes::UNSUPPORTED,
                        format!("a column can't have {word}"),
                    )
                    .at(self.source.find_name(word, &within).unwrap_or(range))
                    .hint(
                        "a column has a type, NOT NULL, PRIMARY KEY, METADATA FROM 'key' and GENERATED ALWAYS AS (..)",
                    ));
                }
            }
        }
        let metadata = self.metadata.iter().find(|clause| clause.column == range.start);
        let is_generated = |option: &ColumnOption| matches!(option, ColumnOption::Generated { .. });
        if let Some(clause) = metadata
            && definition.options.iter().any(|option| is_generated(&option.option))
        {
            let message = format!("`{name}` can't be metadata and generated");
            return Err(Diagnostic::error(codes::BAD_METADATA, message)
                .at(clause.range.clone())
                .hint("generate a second column from this one"));
        }
        let metadata = metadata.map(|clause| clause.key.clone().unwrap_or_else(|| name.clone()));
        self.columns.push(Column { name, data_type, nullable, generated: None, metadata, range });
        Ok(())
    }

    fn data_type(
        &self,
        definition: &ColumnDef,
        name: &Range<usize>,
    ) -> Result<DataType, Diagnostic> {
        let mut plain = definition.clone();
        plain.options.clear();
        let error = match SqlToRel::new(self.catalog).build_schema(vec![plain]) {
            Ok(schema) => return Ok(schema.field(0).data_type().clone()),
            Err(error) => error,
        };
        let written = definition.data_type.to_string();
        let start = self.source.lexemes().get(self.source.index_at(name.end));
        let item = self.source.item(name.start);
        let range = start.map_or_else(
            || item.clone(),
            |first| {
                let first = first.range.clone();
                let end = item.end.min(first.start + written.len()).max(first.end);
                first.start..end
            },
        );
        let said = errors::root_message(&error);
        let (message, hint) = if said.contains("digits of a second") {
            (said, "write TIMESTAMPTZ or TIMESTAMPTZ(3)".to_owned())
        } else {
            let message = format!("a column can't have type {written}");
            (message, suggest::hint(&written, "types", types::TYPES))
        };
        Err(Diagnostic::error(codes::BAD_TYPE, message).at(range).hint(hint))
    }

    fn constrain(
        &mut self,
        constraint: &TableConstraint,
        create: &CreateTable,
    ) -> Result<(), Diagnostic> {
        let table = only_part(&create.name).and_then(|ident| self.source.range(ident.span));
        let TableConstraint::PrimaryKey(key) = constraint else {
            let text = constraint.to_string();
            let start = table.as_ref().map_or(0, |range| range.end);
            let word = text.split([' ', '(']).next().unwrap_or_default();
            let place = self.source.find_name(word, &(start..usize::MAX)).or(table);
            return Err(Diagnostic::error(
                codes::UNSUPPORTED,
                format!("`{text}` is not supported"),
            )
            .at_option(place)
            .hint("a table has columns, PRIMARY KEY (..) and WATERMARK FOR"));
        };
        if !self.key.is_empty() {
            return Err(Diagnostic::error(codes::BAD_KEY, "a table has at most one PRIMARY KEY")
                .at_option(table)
                .hint("name all its columns in one PRIMARY KEY (a, b)"));
        }
        for column in &key.columns {
            let SqlExpr::Identifier(ident) = &column.column.expr else {
                return Err(Diagnostic::error(codes::BAD_KEY, "PRIMARY KEY takes column names")
                    .at_option(table)
                    .hint("write PRIMARY KEY (a, b)"));
            };
            let name = fold(ident);
            if !self.columns.iter().any(|column| column.name == name) {
                let names = self.columns.iter().map(|column| column.name.as_str());
                return Err(Diagnostic::error(
                    codes::BAD_KEY,
                    format!("PRIMARY KEY names `{name}`, which is no column"),
                )
                .at_option(self.source.range(ident.span))
                .hint(suggest::hint(&name, "columns", names)));
            }
            self.key.push(name);
        }
        Ok(())
    }

    /// Generated columns, over the columns that are not.
    fn generate(&mut self, create: &CreateTable) -> Vec<Diagnostic> {
        let generation = |definition: &ColumnDef| {
            definition.options.iter().find_map(|option| match &option.option {
                ColumnOption::Generated { generation_expr, .. } => generation_expr.clone(),
                _ => None,
            })
        };
        let generated: Vec<_> = create.columns.iter().map(generation).collect();
        let physical = self.columns.iter().zip(&generated).filter(|(_, expr)| expr.is_none());
        let hidden = self.columns.iter().zip(&generated).filter(|(_, expr)| expr.is_some());
        let hidden: Vec<_> = hidden.map(|(column, _)| column.name.clone()).collect();
        let schema = Schema::new(physical.map(|(column, _)| column.field()).collect::<Vec<_>>());
        let mut errors = Vec::new();
        for (index, expr) in generated.into_iter().enumerate() {
            let (Some(expr), Some(column)) = (expr, self.columns.get(index)) else { continue };
            let scope = Scope { catalog: self.catalog, source: self.source, schema: &schema };
            let within = self.source.item(column.range.start);
            match scope.plan(&expr, &column.data_type, &within) {
                Ok(planned) => {
                    if let Some(column) = self.columns.get_mut(index) {
                        column.generated = Some(planned);
                    }
                }
                Err(found) => {
                    let hidden = hidden.iter().map(String::as_str);
                    errors
                        .extend(found.into_iter().map(|error| regenerated(error, hidden.clone())));
                }
            }
        }
        errors
    }
}

/// An unknown column in a generated one, which may well be a column, but one of the `generated`.
fn regenerated<'g>(error: Diagnostic, mut generated: impl Iterator<Item = &'g str>) -> Diagnostic {
    if error.code != codes::UNKNOWN_COLUMN {
        return error;
    }
    let error = Diagnostic { code: codes::BAD_GENERATED, ..error };
    let unknown = |name: &&str| error.message == format!("column `{name}` does not exist");
    match generated.find(unknown) {
        Some(name) => Diagnostic {
            message: format!("`{name}` is generated itself, so no column can be generated from it"),
            ..error.clone()
        }
        .hint(format!("repeat what `{name}` is computed from, or compute this in the query")),
        None => error,
    }
}

/// Where an expression of a DDL statement looks for columns.
struct Scope<'c, 's, 'a> {
    catalog: &'c Catalog,
    source: &'s SourceText<'a>,
    schema: &'c Schema,
}

impl Scope<'_, '_, '_> {
    /// Plans, coerces and casts an expression.
    fn plan(
        &self,
        expr: &SqlExpr,
        to: &DataType,
        within: &Range<usize>,
    ) -> Result<Expr, Vec<Diagnostic>> {
        let found = checks::row_expression(self.catalog, self.source, expr);
        if !found.is_empty() {
            return Err(found);
        }
        let explain = |error| errors::explain(&error, self.source, within);
        let schema = DFSchema::try_from(self.schema.clone()).map_err(explain)?;
        let mut named = expr.clone();
        fields::name(&mut named);
        let planned = SqlToRel::new(self.catalog)
            .sql_to_expr(named, &schema, &mut PlannerContext::new())
            .and_then(|planned| self.catalog.functions.rewrite(planned, &schema))
            .map_err(explain)?;
        let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        let simplifier = ExprSimplifier::new(context);
        let coerced = simplifier.coerce(planned, &schema).map_err(explain)?;
        let found = coerced.get_type(&schema).map_err(explain)?;
        let casted =
            if found == *to { coerced } else { coerced.cast_to(to, &schema).map_err(explain)? };
        if let Some(error) = growth::check_expr(&casted, self.source, within) {
            return Err(vec![error]);
        }
        simplifier.simplify(casted).map_err(explain)
    }
}
