//! A list's items as rows: a step behind whatever the rows come from.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::{
    common::{DataFusionError, NullHandling},
    logical_expr::{ColumnUnnestList, Unnest as UnnestNode},
};
use postrider_core::{Diagnostic, Diagnostics};
use postrider_plan::is_updating;

use super::{Branch, Planner, expressions::plan_error};
use crate::{
    chain::{ChainStep, Unnest},
    changes::with_kinds,
};

impl Planner {
    pub(super) fn unnest(&mut self, node: &UnnestNode) -> Result<Vec<Branch>, Diagnostics> {
        let ([(list, unnested)], true) =
            (node.list_type_columns.as_slice(), node.struct_type_columns.is_empty())
        else {
            return Err(Diagnostic::error("PR0420", "one list is unnested at a time").into());
        };
        let mut columns = repeated(node, unnested).map_err(|error| plan_error(&error))?;
        let mut schema: Arc<Schema> = Arc::new(node.schema.as_arrow().clone());
        let is_updating = is_updating(&node.input);
        if is_updating {
            columns.push(Some(node.input.schema().fields().len()));
            schema = with_kinds(&schema);
        }
        let step = Unnest {
            list: *list,
            depth: unnested.depth,
            keeps_empty: node.options.null_handling == NullHandling::PreserveAndExpandEmpty,
            columns: columns.into(),
            is_updating,
            schema,
        };
        self.behind(&node.input, &[ChainStep::Unnest(step)])
    }
}

/// Which column of the input each column of the result repeats; `None`: the items.
fn repeated(
    node: &UnnestNode,
    unnested: &ColumnUnnestList,
) -> Result<Vec<Option<usize>>, DataFusionError> {
    let input = node.input.schema();
    let columns = node.schema.columns().into_iter().map(|column| {
        if column == unnested.output_column {
            return Ok(None);
        }
        input.index_of_column(&column).map(Some)
    });
    columns.collect()
}
