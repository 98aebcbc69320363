//! A program's dataflow in words and as a Mermaid diagram.

mod words;

use std::{fmt::Write, sync::Arc};

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    physical_expr::{PhysicalExpr, expressions::Column},
};
use postrider_core::{Diagnostics, format_duration};
use postrider_plan::Program;

use self::words::Words;
pub(crate) use self::words::of_expression;
use crate::{
    chain::ChainStep,
    dataflow::{Dataflow, Output, SourceNode, Target},
    operator::OperatorSpec,
    planner::plan_dataflow,
};

/// The dataflow as text: sources, stages with their keys, state and timers, sinks.
///
/// # Errors
/// The program can't run.
pub fn explain_text(program: &Program) -> Result<String, Diagnostics> {
    let flow = plan_dataflow(program)?;
    let mut text = String::new();
    // Writing to a String can't fail.
    let _infallible = write_text(&mut text, &flow, program);
    Ok(text)
}

fn write_text(text: &mut String, flow: &Dataflow, program: &Program) -> std::fmt::Result {
    let sql = &program.sql;
    writeln!(text, "pipeline {}", program.name)?;
    for source in &flow.sources {
        let read: Vec<_> = source.columns.fields().iter().map(|f| f.name().as_str()).collect();
        writeln!(text, "\nsource {} ({})", source.table.name, source.table.connector)?;
        writeln!(text, "  reads      {}", read.join(", "))?;
        writeln!(text, "  event time {}", event_time(source, sql))?;
        writeln!(text, "  quiet      {}", quiet(source))?;
        write_outputs(text, flow, &source.outputs)?;
    }
    for (index, stage) in flow.stages.iter().enumerate() {
        writeln!(text, "\nstage {} {}", index + 1, stage.words.what)?;
        let keys = &stage.words.keys;
        let by = if keys.is_empty() { "nothing: one shard".to_owned() } else { keys.join(", ") };
        writeln!(text, "  keyed by   {by}")?;
        if let Some(condition) = condition(&stage.operator, &Words::new(flow)) {
            writeln!(text, "  if         {condition}")?;
        }
        let aggregates = &stage.words.aggregates;
        if !aggregates.is_empty() {
            writeln!(text, "  computes   {}", aggregates.join("\n             "))?;
        }
        writeln!(text, "  state      {}", stage.words.state)?;
        writeln!(text, "  timers     {}", stage.words.timers)?;
        writeln!(text, "  yields     {}", changes(stage.updating))?;
        write_outputs(text, flow, &stage.outputs)?;
    }
    for sink in &flow.sinks {
        let connector = sink.table.as_ref().map_or("terminal", |table| &table.connector);
        writeln!(text, "\nsink {} ({connector})", sink.name)?;
        let takes: Vec<_> = sink.schema.fields().iter().map(|f| f.name().as_str()).collect();
        writeln!(text, "  takes      {}", takes.join(", "))?;
        let how = if sink.is_action() {
            "each row is sealed with its epoch in the log, then decided and sent at most once"
        } else {
            "written with the epoch; a restart cuts off what was not sealed"
        };
        writeln!(text, "  rows       {how}")?;
        if sink.updating {
            writeln!(text, "  changes    {}", changes(true))?;
        }
    }
    Ok(())
}

/// Of which kinds the rows of a relation are.
const fn changes(updating: bool) -> &'static str {
    if updating {
        "rows that change: +I new, -U and +U before and behind an update, -D gone"
    } else {
        "rows that stay"
    }
}

/// What else a pair of a join must meet.
fn condition(operator: &OperatorSpec, words: &Words) -> Option<String> {
    let (filter, left) = match operator {
        OperatorSpec::IntervalJoin(join) => (join.filter.as_ref()?, join.columns[0].len()),
        OperatorSpec::TableJoin(join) => (join.filter.as_ref()?, join.columns[0].len()),
        OperatorSpec::UpdatingJoin(join) => (join.filter.as_ref()?, join.columns[0].len()),
        _ => return None,
    };
    let sided = Arc::clone(filter).transform(|part| {
        let Some(column) = part.downcast_ref::<Column>() else { return Ok(Transformed::no(part)) };
        let side = if column.index() < left { "left" } else { "right" };
        let name = format!("{side}.{}", column.name());
        Ok(Transformed::yes(Arc::new(Column::new(&name, column.index())) as Arc<dyn PhysicalExpr>))
    });
    Some(words.of(&sided.map_or_else(|_| Arc::clone(filter), |sided| sided.data)))
}

fn event_time(source: &SourceNode, sql: &str) -> String {
    source.table.watermark.as_ref().map_or_else(
        || "none: no windows over this table".to_owned(),
        |watermark| {
            let clause = sql.get(watermark.range.clone()).unwrap_or_default();
            format!(
                "{}, {}",
                watermark.column,
                clause.split_whitespace().collect::<Vec<_>>().join(" ")
            )
        },
    )
}

fn quiet(source: &SourceNode) -> String {
    match source.table.common.idle_timeout {
        None if source.table.is_lookup() => {
            "read to its end first; what looks it up waits for that".to_owned()
        }
        None => "waits for ever: windows fire only when a later event comes (set idle_timeout)"
            .to_owned(),
        Some(timeout) if source.table.common.idle_advance => format!(
            "after {} without events its clock runs on, so that windows still fire",
            format_duration(timeout)
        ),
        Some(timeout) => format!(
            "after {} without events it no longer holds back other sources",
            format_duration(timeout)
        ),
    }
}

fn write_outputs(text: &mut String, flow: &Dataflow, outputs: &[Output]) -> std::fmt::Result {
    let words = Words::new(flow);
    for output in outputs {
        let steps = steps(output, &words);
        let steps = if steps.is_empty() { String::new() } else { format!("{steps}, ") };
        writeln!(text, "  -> {steps}to {}", target_name(flow, output.target))?;
    }
    Ok(())
}

fn steps(output: &Output, words: &Words) -> String {
    let steps = output.chain.0.iter().filter_map(|step| match step {
        ChainStep::Filter(predicate) | ChainStep::FilterChanges(predicate) => {
            Some(format!("where {}", words.of(predicate)))
        }
        ChainStep::Project(..) => Some("compute columns".to_owned()),
        ChainStep::OwnDays { .. } => Some("find the day in each row's time zone".to_owned()),
        ChainStep::Late(_) => Some("keep what is at or before the watermark".to_owned()),
        ChainStep::Windows { .. } => Some("put each row into its windows".to_owned()),
        ChainStep::Unnest(_) => Some("make a row of each item of a list".to_owned()),
        ChainStep::Pick(..) | ChainStep::Time(_) | ChainStep::Clock(_) => None,
    });
    let mut steps: Vec<_> = steps.collect();
    steps.dedup();
    steps.join(", ")
}

fn target_name(flow: &Dataflow, target: Target) -> String {
    match target {
        Target::Stage(stage) => format!("stage {}", stage + 1),
        Target::Sink(sink) => flow.sinks[sink].name.clone(),
    }
}

/// The dataflow as a Mermaid flowchart.
///
/// # Errors
/// The program can't run.
pub fn explain_mermaid(program: &Program) -> Result<String, Diagnostics> {
    let flow = plan_dataflow(program)?;
    let mut text = String::from("flowchart LR\n");
    // Writing to a String can't fail.
    let _infallible = write_mermaid(&mut text, &flow);
    Ok(text)
}

fn write_mermaid(text: &mut String, flow: &Dataflow) -> std::fmt::Result {
    let node = |target| match target {
        Target::Stage(stage) => format!("stage{stage}"),
        Target::Sink(sink) => format!("sink{sink}"),
    };
    let outputs = |text: &mut String, from: &str, outputs: &[Output]| {
        let mut targets: Vec<_> = outputs.iter().map(|output| node(output.target)).collect();
        targets.dedup();
        targets.iter().try_for_each(|to| writeln!(text, "  {from} --> {to}"))
    };
    for (index, source) in flow.sources.iter().enumerate() {
        let (name, connector) = (&source.table.name, &source.table.connector);
        writeln!(text, "  source{index}([\"{name}<br/>{connector}\"])")?;
        outputs(text, &format!("source{index}"), &source.outputs)?;
    }
    for (index, stage) in flow.stages.iter().enumerate() {
        let by = stage.words.keys.join(", ");
        writeln!(text, "  stage{index}[\"{}<br/>by {by}\"]", stage.words.what)?;
        outputs(text, &format!("stage{index}"), &stage.outputs)?;
    }
    for (index, sink) in flow.sinks.iter().enumerate() {
        let connector = sink.table.as_ref().map_or("terminal", |table| &table.connector);
        writeln!(text, "  sink{index}[/\"{}<br/>{connector}\"/]", sink.name)?;
    }
    Ok(())
}
