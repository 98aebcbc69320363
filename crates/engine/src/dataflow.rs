//! The physical dataflow: what the planner makes of a program, and what the runtime runs.
//!
//! Nouns: a *node* is a source, a stage (one stateful operator, run as one instance a shard) or a
//! sink; an *output* leads from a node through a chain of stateless operators to another node.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use postrider_plan::Table;

use crate::{chain::Chain, changes::written_schema, exchange::Route, operator::OperatorSpec};

/// Names a node that has inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// The index of a stage.
    Stage(usize),
    /// The index of a sink.
    Sink(usize),
}

/// From a node to the next one.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) chain: Chain,
    pub(crate) target: Target,
    /// Which input of the target it is; only joins have a second one.
    pub(crate) port: usize,
    pub(crate) route: Route,
}

/// A table that is read, once however many queries read it.
#[derive(Debug, Clone)]
pub(crate) struct SourceNode {
    pub(crate) table: Arc<Table>,
    /// What the decoder is asked for: the physical columns in use.
    pub(crate) decoded: SchemaRef,
    /// Generated columns in use, computed over the decoded ones and appended to them.
    pub(crate) generated: Vec<Arc<dyn PhysicalExpr>>,
    /// Decoded and generated columns, and behind them the kinds of rows if the table holds changes: what chains start from.
    pub(crate) columns: SchemaRef,
    /// The event time, by position in `columns`, and the watermark a row promises.
    pub(crate) event_time: Option<EventTimeSpec>,
    pub(crate) outputs: Vec<Output>,
}

/// How a source tells the time.
#[derive(Debug, Clone)]
pub(crate) struct EventTimeSpec {
    pub(crate) column: usize,
    pub(crate) watermark: Arc<dyn PhysicalExpr>,
}

/// One stateful operator.
#[derive(Debug, Clone)]
pub(crate) struct StageNode {
    pub(crate) operator: OperatorSpec,
    /// What it computes and from what, as a hash in hexadecimal: state is kept under it.
    pub(crate) identity: String,
    pub(crate) outputs: Vec<Output>,
    /// Whether its results are a changelog.
    pub(crate) updating: bool,
    /// What `explain` says about it.
    pub(crate) words: StageWords,
}

/// A stage in words.
#[derive(Debug, Clone)]
pub(crate) struct StageWords {
    /// Such as `session window, gap 1 hour`.
    pub(crate) what: String,
    /// The key columns.
    pub(crate) keys: Vec<String>,
    /// The aggregates.
    pub(crate) aggregates: Vec<String>,
    /// What each column of a result is.
    pub(crate) results: Vec<String>,
    /// What it remembers and until when.
    pub(crate) state: String,
    /// What its timers are for.
    pub(crate) timers: String,
}

/// Where rows leave.
#[derive(Debug, Clone)]
pub(crate) struct SinkNode {
    /// The name under which it is sealed: the table's, or `stdout`, `stdout 2` and so on.
    pub(crate) name: String,
    /// The table, or `None` for the terminal.
    pub(crate) table: Option<Arc<Table>>,
    pub(crate) schema: SchemaRef,
    /// Whether it takes a changelog.
    pub(crate) updating: bool,
}

impl SinkNode {
    /// The columns that it is given: of a changelog, the kinds of rows first.
    pub(crate) fn written_schema(&self) -> SchemaRef {
        if self.updating { written_schema(&self.schema) } else { Arc::clone(&self.schema) }
    }

    /// Whether its rows act on the world and therefore pass through the log.
    pub(crate) fn is_action(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.is_email())
    }
}

/// A whole pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dataflow {
    pub(crate) sources: Vec<SourceNode>,
    /// In topological order: an output of a stage leads to a later stage or a sink.
    pub(crate) stages: Vec<StageNode>,
    pub(crate) sinks: Vec<SinkNode>,
}
