//! `postrider state list`.

use postrider_core::{Clock, format_time};
use postrider_engine::SystemClock;
use postrider_store::{CheckpointError, CheckpointStore, Manifest};
use serde_json::json;

use super::{all, size};
use crate::{
    args::{ListArgs, ShownAs},
    columns::{Align, aligned},
    commands::plan::age,
    console::{self, bytes, count},
    outcome::Outcome,
};

/// A checkpoint or savepoint.
struct Entry {
    number: Option<u64>,
    savepoint: Option<String>,
    read: Result<Manifest, CheckpointError>,
}

pub(super) async fn run(args: &ListArgs) -> Outcome {
    let now = SystemClock::new().now().0;
    let pipelines = all(&args.state_dir).await?;
    if pipelines.is_empty() {
        console::note(&format!("{} has no checkpoints yet", args.state_dir.display()));
    }
    for (name, store) in pipelines {
        let entries = entries(&store).await?;
        match args.format {
            ShownAs::Json => entries.iter().for_each(|entry| console::line(json(&name, entry))),
            ShownAs::Text => text(&name, &entries, now),
        }
    }
    Ok(())
}

async fn entries(store: &CheckpointStore) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    for id in store.manifests().await?.into_iter().rev() {
        let read = store.load(id).await;
        // A process that runs may have collected it meanwhile.
        if read.is_ok() || store.manifests().await?.contains(&id) {
            entries.push(Entry { number: Some(id), savepoint: None, read });
        }
    }
    for name in store.savepoints().await? {
        let read = store.savepoint(&name).await;
        let number = read.as_ref().ok().map(|manifest| manifest.id);
        entries.push(Entry { number, savepoint: Some(name), read });
    }
    Ok(entries)
}

fn text(name: &str, entries: &[Entry], now: i64) {
    console::line(format!("pipeline {name}"));
    let heads = ["checkpoint", "epoch", "age", "rows", "state", "generation", "savepoint"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| cells(entry, now)));
    let mut align = [Align::Right; 7];
    align[6] = Align::Left;
    for line in aligned(&rows, &align) {
        console::line(format!("  {line}"));
    }
}

fn cells(entry: &Entry, now: i64) -> Vec<String> {
    let number = entry.number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let name = entry.savepoint.clone().unwrap_or_default();
    match &entry.read {
        Ok(manifest) => {
            let (rows, state) = size(manifest);
            vec![
                number,
                count(manifest.checkpoint.epoch),
                age(manifest.created_at, now),
                count(rows),
                bytes(state),
                manifest.generation.to_string(),
                name,
            ]
        }
        Err(_) => {
            let none = || "-".to_owned();
            let name =
                if name.is_empty() { "damaged".to_owned() } else { format!("{name}, damaged") };
            vec![number, none(), none(), none(), none(), none(), name]
        }
    }
}

fn json(name: &str, entry: &Entry) -> String {
    let read = entry.read.as_ref();
    let of = |value: &dyn Fn(&Manifest) -> serde_json::Value| read.ok().map(value);
    json!({
        "pipeline": name,
        "checkpoint": entry.number,
        "savepoint": entry.savepoint,
        "epoch": of(&|manifest| manifest.checkpoint.epoch.into()),
        "created_at": of(&|manifest| format_time(manifest.created_at).into()),
        "rows": of(&|manifest| size(manifest).0.into()),
        "bytes": of(&|manifest| size(manifest).1.into()),
        "generation": of(&|manifest| manifest.generation.into()),
        "damaged": read.err().map(ToString::to_string),
    })
    .to_string()
}
