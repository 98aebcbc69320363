//! A planned pipeline.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use datafusion::logical_expr::LogicalPlan;
use postrider_core::{Diagnostic, PipelineName};

use crate::Table;

/// One SQL program, planned.
#[derive(Debug, Clone)]
pub struct Program {
    /// The pipeline's name.
    pub name: PipelineName,
    /// The text that was planned; every byte range in the program points into it.
    pub sql: Arc<str>,
    /// Tables by lower-case name. A sink declared without columns has those of the query that fills it.
    pub tables: BTreeMap<String, Arc<Table>>,
    /// The queries in the order of the text.
    pub queries: Vec<Query>,
    /// The materialized views in the order of the text. Queries read them as they do other views.
    pub materialized_views: Vec<MaterializedView>,
    /// Findings that don't stop the program.
    pub warnings: Vec<Diagnostic>,
}

/// `CREATE MATERIALIZED VIEW`: a query whose latest rows are of interest by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterializedView {
    /// Its name.
    pub name: String,
    /// The statement in the text.
    pub range: Range<usize>,
}

/// A plan and where its rows go.
#[derive(Debug, Clone)]
pub struct Query {
    /// Who takes the rows.
    pub sink: SinkTarget,
    /// Analyzed and optimized; its output is already cast and ordered to the sink's columns.
    pub plan: LogicalPlan,
    /// The statement in the text.
    pub range: Range<usize>,
}

/// Who takes the rows of a query.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// A table written by INSERT.
    Table(Arc<Table>),
    /// The terminal: a SELECT on its own.
    Print,
}
