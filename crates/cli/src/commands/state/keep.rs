//! `postrider state save`, `forget` and `gc`: what is kept.

use std::sync::Arc;

use postrider_core::{ErrorKind, PipelineName};
use postrider_engine::SystemClock;
use postrider_store::{CheckpointStore, Log, LogSpan, Manifest, Retention, checkpointed_pipelines};

use super::{objects, one};
use crate::{
    args::{GcArgs, NameArgs},
    checkpoints::CheckpointSettings,
    console::{self, bytes, count, counted},
    outcome::{Failure, Outcome},
    services,
};

pub(super) async fn save(args: &NameArgs) -> Outcome {
    let store = one(&args.state_dir, &args.pipeline).await?;
    let manifest = store.save(&args.name).await?;
    console::line(format!(
        "pipeline {}  checkpoint {} (epoch {}) is kept as `{}`",
        args.pipeline,
        manifest.id,
        count(manifest.checkpoint.epoch),
        args.name
    ));
    Ok(())
}

pub(super) async fn forget(args: &NameArgs) -> Outcome {
    let store = one(&args.state_dir, &args.pipeline).await?;
    if !store.forget_savepoint(&args.name).await? {
        return Err(Failure::invalid(format!(
            "pipeline `{}` has no savepoint `{}`; `postrider state list` shows which there are",
            args.pipeline, args.name
        )));
    }
    console::line(format!("pipeline {}  savepoint `{}` is forgotten", args.pipeline, args.name));
    Ok(())
}

pub(super) async fn collect(args: &GcArgs) -> Outcome {
    if objects(&args.state_dir)?.is_none() {
        console::note(&format!("{} has no checkpoints yet", args.state_dir.display()));
        return Ok(());
    }
    let log = Log::open(services::log_options(&args.state_dir)).map_err(|error| {
        let running = error.kind() == ErrorKind::Fenced;
        let mut failure = Failure::from(error);
        if running {
            failure.text.push_str("\na process that runs collects garbage by itself");
        }
        failure
    })?;
    let settings = CheckpointSettings::local(&args.state_dir, 0)?;
    for name in checkpointed_pipelines(&*settings.objects).await? {
        collect_one(&settings, &name, &log.log, args.keep).await?;
    }
    Ok(())
}

async fn collect_one(
    settings: &CheckpointSettings,
    name: &PipelineName,
    log: &Log,
    keep: Option<u32>,
) -> Outcome {
    let (clock, nonces) = (Arc::new(SystemClock::new()), Arc::new(rand::random::<u128>));
    let objects = Arc::clone(&settings.objects);
    let store = CheckpointStore::new(objects, name, log.generation(), clock, nonces);
    let span = LogSpan::of(log);
    // What a run could not go on from must not push out what it could.
    let fits = move |manifest: &Manifest| span.fits(&manifest.checkpoint);
    let recovery = store.take_over(&fits).await?;
    for (id, why) in &recovery.skipped {
        console::note(&format!("pipeline {name}  checkpoint {id} is passed over: {why}"));
    }
    let retention = keep
        .map_or_else(Retention::default, |keep| Retention { manifests: keep as usize, age_ns: 0 });
    let collected = store.collect_garbage(&retention).await?;
    for (savepoint, why) in &collected.damaged_savepoints {
        console::note(&format!("pipeline {name}  savepoint {savepoint} is damaged: {why}"));
    }
    console::line(format!(
        "pipeline {name}  deleted {} and {} ({})",
        counted(collected.manifests as u64, "checkpoint"),
        counted(collected.files as u64, "file"),
        bytes(collected.bytes)
    ));
    Ok(())
}
