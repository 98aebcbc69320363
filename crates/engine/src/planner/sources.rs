//! Which columns of each table are read.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Field, Schema};
use datafusion::{
    common::{DFSchema, TableReference},
    logical_expr::{Expr, TableScan},
};
use postrider_core::{Diagnostic, Diagnostics};
use postrider_plan::{Column, StreamTable, Table};

use super::expressions::{physical, plan_error};
use crate::{
    changes::with_kinds,
    dataflow::{EventTimeSpec, SourceNode},
};

/// The table behind a scan.
pub(crate) fn scanned_table(scan: &TableScan) -> Result<Arc<Table>, Diagnostics> {
    let table = scan.source.downcast_ref::<StreamTable>();
    table.map(|stream| Arc::clone(&stream.0)).ok_or_else(|| {
        Diagnostic::error("PR0420", format!("`{}` is no stream", scan.table_name)).into()
    })
}

/// A table and the columns that some query reads.
pub(super) struct SourceUse {
    table: Arc<Table>,
    /// Positions in the table, physical columns that generated ones need included.
    used: BTreeSet<usize>,
}

impl SourceUse {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let mut source = Self { used: BTreeSet::new(), table };
        if let Some(watermark) = source.table.watermark.clone() {
            source.add_named(&watermark.column);
            source.add_expr(&watermark.expr);
        }
        source
    }

    pub(super) fn add(&mut self, scan: &TableScan) {
        let all = || (0..self.table.columns.len()).collect();
        for index in scan.projection.clone().unwrap_or_else(all) {
            self.add_index(index);
        }
    }

    fn add_index(&mut self, index: usize) {
        if self.used.insert(index)
            && let Some(generated) = &Arc::clone(&self.table).columns[index].generated
        {
            self.add_expr(generated);
        }
    }

    fn add_expr(&mut self, expr: &Expr) {
        for column in expr.column_refs() {
            self.add_named(&column.name);
        }
    }

    fn add_named(&mut self, name: &str) {
        if let Some(index) = self.table.columns.iter().position(|column| column.name == name) {
            self.add_index(index);
        }
    }

    /// The columns in use: physical ones first, then generated ones.
    fn order(&self) -> Vec<usize> {
        let generated = |&index: &usize| self.table.columns[index].generated.is_some();
        let (computed, mut order): (Vec<_>, Vec<_>) =
            self.used.iter().copied().partition(generated);
        order.extend(computed);
        order
    }

    /// Where the columns of a scan stand among those in use.
    pub(super) fn positions(&self, scan: &TableScan) -> Result<Vec<usize>, Diagnostics> {
        let order = self.order();
        let all = || (0..self.table.columns.len()).collect();
        let columns = scan.projection.clone().unwrap_or_else(all).into_iter();
        let position = |index| order.iter().position(|&used| used == index);
        let positions = columns.map(position).collect::<Option<Vec<_>>>();
        let mut positions = positions.ok_or_else(|| {
            Diagnostic::error("PR0420", "a scan reads a column that was not collected")
        })?;
        // The kinds of the rows are behind all columns.
        positions.extend(self.table.holds_changes().then_some(order.len()));
        Ok(positions)
    }

    pub(super) fn node(&self) -> Result<SourceNode, Diagnostics> {
        let columns: Vec<&Column> =
            self.order().into_iter().map(|index| &self.table.columns[index]).collect();
        let fields: Vec<Field> = columns.iter().map(|column| column.field()).collect();
        let physical_count = columns.iter().filter(|column| column.generated.is_none()).count();
        let held = columns[..physical_count].iter().map(|column| column.decoded_field());
        let decoded = Arc::new(Schema::new(held.collect::<Vec<_>>()));
        let schema = Arc::new(Schema::new(fields));
        let relation = |schema: &Schema| {
            DFSchema::try_from_qualified_schema(TableReference::bare(&*self.table.name), schema)
                .map_err(|error| plan_error(&error))
        };
        let (decoded_relation, relation) = (relation(&decoded)?, relation(&schema)?);
        let generated = columns.iter().filter_map(|column| column.generated.as_ref());
        let generated = generated.map(|expr| physical(expr, &decoded_relation));
        let event_time = match &self.table.watermark {
            None => None,
            Some(watermark) => Some(EventTimeSpec {
                column: schema.index_of(&watermark.column).map_err(|e| plan_error(&e.into()))?,
                watermark: physical(&watermark.expr, &relation)?,
            }),
        };
        let schema = if self.table.holds_changes() { with_kinds(&schema) } else { schema };
        Ok(SourceNode {
            table: Arc::clone(&self.table),
            generated: generated.collect::<Result<_, _>>()?,
            decoded,
            columns: schema,
            event_time,
            outputs: Vec::new(),
        })
    }
}
