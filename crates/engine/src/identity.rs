//! What state belongs to: programs and operators, by what they compute.

use bytes::Bytes;
use datafusion::{
    common::tree_node::TreeNode,
    logical_expr::{Extension, LogicalPlan},
};
use postrider_plan::{Program, SinkTarget, Table, WindowAggregate};

use crate::{dataflow::StageNode, planner::scanned_table};

/// Identifies what a program computes: its tables' columns and its plans, not its comments,
/// template names or connector options.
pub(crate) fn fingerprint(program: &Program) -> Bytes {
    let reads = |plan: &LogicalPlan, table: &Table| {
        let found = plan.exists(|node| {
            Ok(matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == table.name))
        });
        found.unwrap_or(false)
    };
    let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 program fingerprint");
    for query in &program.queries {
        let sink = match &query.sink {
            SinkTarget::Table(table) => table.name.as_str(),
            SinkTarget::Print => "stdout",
        };
        hasher.update(sink.as_bytes()).update(b"\n");
        hasher.update(query.plan.display_indent_schema().to_string().as_bytes()).update(b"\n");
    }
    for table in program.tables.values() {
        add_table(&mut hasher, table);
        if table.holds_changes() && program.queries.iter().any(|query| reads(&query.plan, table)) {
            hasher.update(b"changes\n");
        }
    }
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

/// Identifies what an operator computes and from what: its window, keys and aggregates, the plan below it, and the
/// columns, generated columns and watermarks of the tables that are read there. What is done with its results does not count. An operator
/// that computes the same as an earlier one of its program is told from it by a number.
pub(crate) fn stage_identity(node: &LogicalPlan, earlier: &[StageNode]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 operator identity");
    hasher.update(node.display_indent_schema().to_string().as_bytes()).update(b"\n");
    if let LogicalPlan::Extension(Extension { node }) = node
        && let Some(aggregate) = node.as_any().downcast_ref::<WindowAggregate>()
    {
        hasher.update(window(aggregate).as_bytes()).update(b"\n");
    }
    node.inputs().into_iter().for_each(|input| add_scanned(&mut hasher, input));
    let identity = hasher.finalize().to_hex().to_string();
    let same = earlier.iter().filter(|stage| stage.identity.starts_with(&identity)).count();
    if same == 0 { identity } else { format!("{identity}-{}", same + 1) }
}

/// A window as the first version wrote it, which knew no offsets: its state goes on.
fn window(node: &WindowAggregate) -> String {
    format!("{:?}", node.window).replace(", offset_ns: 0 }", " }")
}

fn add_scanned(hasher: &mut blake3::Hasher, plan: &LogicalPlan) {
    if let LogicalPlan::TableScan(scan) = plan
        && let Ok(table) = scanned_table(scan)
    {
        add_table(hasher, &table);
        if table.holds_changes() {
            hasher.update(b"changes\n");
        }
    }
    plan.inputs().into_iter().for_each(|input| add_scanned(hasher, input));
}

fn add_table(hasher: &mut blake3::Hasher, table: &Table) {
    hasher.update(format!("{} {:?}\n", table.name, table.schema().fields()).as_bytes());
    for (column, expr) in table.columns.iter().filter_map(|c| Some((c, c.generated.as_ref()?))) {
        hasher.update(format!("{} = {expr}\n", column.name).as_bytes());
    }
    for (column, key) in table.columns.iter().filter_map(|c| Some((c, c.metadata.as_ref()?))) {
        hasher.update(format!("{} is metadata {key}\n", column.name).as_bytes());
    }
    if let Some(watermark) = &table.watermark {
        hasher.update(format!("{} {}\n", watermark.column, watermark.expr).as_bytes());
    }
    // It decides which records become rows.
    if let Some(skew) = table.common.max_future_skew {
        hasher.update(format!("at most {skew} ahead\n").as_bytes());
    }
}
