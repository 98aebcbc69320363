//! `postrider state show`.

use postrider_core::{Clock, format_time};
use postrider_engine::SystemClock;
use postrider_store::{Manifest, OperatorState, SinkState, SourceState, SourceStatus};
use serde_json::json;

use super::{find, one};
use crate::{
    args::{ShowArgs, ShownAs},
    columns::{Align, aligned},
    commands::plan::age,
    console::{self, bytes, count, counted},
    outcome::Outcome,
};

pub(super) async fn run(args: &ShowArgs) -> Outcome {
    let store = one(&args.state_dir, &args.pipeline).await?;
    let manifest = find(&store, args.checkpoint.as_ref()).await?;
    match args.format {
        ShownAs::Json => console::line(json(&manifest)),
        ShownAs::Text => text(&manifest, SystemClock::new().now().0),
    }
    Ok(())
}

fn text(manifest: &Manifest, now: i64) {
    let checkpoint = &manifest.checkpoint;
    console::line(format!(
        "pipeline {}  checkpoint {} (epoch {}, {} old), generation {}, Postrider {}",
        checkpoint.pipeline,
        manifest.id,
        count(checkpoint.epoch),
        age(manifest.created_at, now),
        manifest.generation,
        manifest.engine_version,
    ));
    console::line(format!("  goes on at position {} of the log", checkpoint.log_position));
    let mut rows: Vec<_> = checkpoint.sources.iter().map(source).collect();
    rows.extend(checkpoint.sinks.iter().map(sink));
    let operators = checkpoint.operators.iter().enumerate();
    rows.extend(operators.map(|(index, state)| operator(index + 1, state)));
    for line in aligned(&rows, &[Align::Left; 4]) {
        console::line(format!("  {line}"));
    }
}

fn source(state: &SourceState) -> Vec<String> {
    let part = if state.part.is_empty() { String::new() } else { format!("{} at ", state.part) };
    let position = format!("{part}{}, {}", state.offset, status(state.status));
    vec!["source".to_owned(), state.table.clone(), position, watermark(state.watermark)]
}

fn sink(state: &SinkState) -> Vec<String> {
    let position = state.position.map_or_else(|| "-".to_owned(), |position| position.to_string());
    vec!["sink".to_owned(), state.sink.clone(), position, watermark(state.watermark)]
}

fn operator(number: usize, state: &OperatorState) -> Vec<String> {
    let (rows, size) = totals(state);
    let size = format!(
        "{} in {} on {}, {}",
        counted(rows, "row"),
        counted(state.parts.len() as u64, "part"),
        counted(state.shards.into(), "shard"),
        bytes(size)
    );
    vec![format!("operator {number}"), state.name.clone(), size, watermark(state.watermark)]
}

fn totals(state: &OperatorState) -> (u64, u64) {
    state.parts.iter().fold((0, 0), |(rows, bytes), part| {
        (
            rows + part.rows,
            bytes + part.blob.bytes + part.dead.as_ref().map_or(0, |dead| dead.bytes),
        )
    })
}

const fn status(status: SourceStatus) -> &'static str {
    match status {
        SourceStatus::Unspecified => "unknown",
        SourceStatus::Active => "active",
        SourceStatus::Idle => "idle",
        SourceStatus::Finished => "finished",
    }
}

fn watermark(ns: i64) -> String {
    match ns {
        i64::MIN => "no watermark yet".to_owned(),
        i64::MAX => "watermark at the end".to_owned(),
        ns => format!("watermark {}", format_time(ns)),
    }
}

fn json(manifest: &Manifest) -> String {
    let checkpoint = &manifest.checkpoint;
    // The first and the last watermark are no times.
    let time = |ns: i64| (ns != i64::MIN && ns != i64::MAX).then(|| format_time(ns));
    let source = |state: &SourceState| {
        json!({
            "table": state.table, "part": state.part, "offset": state.offset,
            "status": status(state.status), "watermark": time(state.watermark),
        })
    };
    let sink = |state: &SinkState| json!({"sink": state.sink, "position": state.position, "watermark": time(state.watermark)});
    let operator = |state: &OperatorState| {
        let (rows, bytes) = totals(state);
        json!({
            "name": state.name, "identity": state.identity, "rows": rows, "bytes": bytes,
            "shards": state.shards, "parts": state.parts.len(), "watermark": time(state.watermark),
        })
    };
    json!({
        "pipeline": checkpoint.pipeline,
        "checkpoint": manifest.id,
        "epoch": checkpoint.epoch,
        "created_at": format_time(manifest.created_at),
        "generation": manifest.generation,
        "engine_version": manifest.engine_version,
        "log_position": checkpoint.log_position,
        "sources": checkpoint.sources.iter().map(source).collect::<Vec<_>>(),
        "sinks": checkpoint.sinks.iter().map(sink).collect::<Vec<_>>(),
        "operators": checkpoint.operators.iter().map(operator).collect::<Vec<_>>(),
    })
    .to_string()
}
