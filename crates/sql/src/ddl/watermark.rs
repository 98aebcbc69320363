//! `WATERMARK FOR` to [`WatermarkDef`].

use datafusion::{
    arrow::datatypes::{DataType, Field, TimeUnit},
    common::DFSchema,
    logical_expr::{Expr, ExprSchemable, cast},
    sql::planner::{PlannerContext, SqlToRel},
};
use postrider_core::Diagnostic;
use postrider_plan::{Column, Table, WatermarkDef};

use super::Scope;
use crate::{
    catalog::{Catalog, fold},
    codes, errors,
    prepass::WatermarkClause,
    suggest,
    text::SourceText,
};

/// The event time of a table, and how far behind the newest the watermark is.
pub(super) fn define(
    catalog: &Catalog,
    source: &SourceText<'_>,
    table: &Table,
    clause: &WatermarkClause,
) -> Result<WatermarkDef, Vec<Diagnostic>> {
    let name = fold(&clause.column);
    let place = source.range(clause.column.span).unwrap_or_else(|| clause.range.clone());
    let wrong = |message: String, hint: String| {
        vec![Diagnostic::error(codes::BAD_WATERMARK, message).at(place.clone()).hint(hint)]
    };
    let Some(column) = table.columns.iter().find(|column| column.name == name) else {
        let names = table.columns.iter().map(|column| column.name.as_str());
        return Err(wrong(
            format!("WATERMARK FOR `{name}`, which is no column of `{}`", table.name),
            suggest::hint(&name, "columns", names),
        ));
    };
    if !matches!(column.data_type, DataType::Timestamp(_, _)) {
        return Err(wrong(
            format!("WATERMARK FOR `{name}`, which is no TIMESTAMP"),
            generated_time(&name, &column.data_type),
        ));
    }
    if column.nullable {
        return Err(wrong(
            format!("the event time `{name}` may be NULL"),
            format!("declare it NOT NULL: {name} TIMESTAMP NOT NULL"),
        ));
    }
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let Some(written) = &clause.expr else {
        let column = Expr::Column(datafusion::common::Column::new_unqualified(name));
        let expr = if table_type(table, &column) == Some(nanoseconds.clone()) {
            column
        } else {
            cast(column, nanoseconds)
        };
        return Ok(WatermarkDef {
            column: clause_column(clause),
            expr,
            range: clause.range.clone(),
        });
    };
    let schema = table.schema();
    let scope = Scope { catalog, source, schema: &schema };
    let untyped = DFSchema::try_from(schema.as_ref().clone()).and_then(|schema| {
        let context = &mut PlannerContext::new();
        let planned = SqlToRel::new(catalog).sql_to_expr(written.clone(), &schema, context)?;
        planned.get_type(&schema)
    });
    if let Ok(found) = untyped
        && !matches!(found, DataType::Timestamp(_, _))
    {
        return Err(vec![
            Diagnostic::error(
                codes::BAD_WATERMARK,
                format!("the watermark must be a TIMESTAMP, not {}", errors::type_name(&found)),
            )
            .at(clause.range.clone())
            .hint(format!("for example WATERMARK FOR {name} AS {name} - INTERVAL '5 seconds'")),
        ]);
    }
    let expr = scope.plan(written, &nanoseconds, &clause.range)?;
    Ok(WatermarkDef { column: clause_column(clause), expr, range: clause.range.clone() })
}

/// How a column that is no TIMESTAMP becomes the event time.
fn generated_time(name: &str, data_type: &DataType) -> String {
    let (function, others) = if data_type.is_integer() {
        ("to_timestamp_millis", "; to_timestamp takes seconds")
    } else {
        ("to_timestamp", "")
    };
    format!(
        "generate one: event_time TIMESTAMP NOT NULL GENERATED ALWAYS AS ({function}({name})){others}"
    )
}

fn clause_column(clause: &WatermarkClause) -> String {
    fold(&clause.column)
}

fn table_type(table: &Table, column: &Expr) -> Option<DataType> {
    let Expr::Column(column) = column else { return None };
    let fields: Vec<Field> = table.columns.iter().map(Column::field).collect();
    fields.into_iter().find(|field| *field.name() == column.name).map(|f| f.data_type().clone())
}
