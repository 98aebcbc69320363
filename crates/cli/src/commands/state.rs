//! `postrider state`: the checkpoints of a state directory. All but `gc` only read, or add and delete a name, so they may be
//! used beside the process that writes them.

mod export;
mod keep;
mod list;
mod show;
mod verify;

use std::{path::Path, sync::Arc};

use object_store::ObjectStore;
use postrider_core::{Generation, PipelineName};
use postrider_engine::{RestoreFrom, SystemClock};
use postrider_store::{CheckpointStore, Manifest, checkpointed_pipelines, existing_checkpoints};

use super::plan;
use crate::{
    args::{DiffArgs, StateCommand},
    checkpoints::CHECKPOINTS,
    outcome::{Failure, Outcome},
    project::load,
    services,
};

/// Looks after checkpoints.
pub(crate) fn run(command: &StateCommand) -> Outcome {
    match command {
        StateCommand::List(args) => services::block_on(list::run(args))?,
        StateCommand::Show(args) => services::block_on(show::run(args))?,
        StateCommand::Verify(args) => services::block_on(verify::run(args))?,
        StateCommand::Export(args) => services::block_on(export::run(args))?,
        StateCommand::Diff(args) => diff(args),
        StateCommand::Save(args) => services::block_on(keep::save(args))?,
        StateCommand::Forget(args) => services::block_on(keep::forget(args))?,
        StateCommand::Gc(args) => services::block_on(keep::collect(args))?,
    }
}

fn diff(args: &DiffArgs) -> Outcome {
    let pipelines = args.files.iter().map(|file| load(file)).collect::<Outcome<Vec<_>>>()?;
    super::run::names_differ(&pipelines)?;
    let dir = super::run::state_dir(args.state_dir.as_deref(), &pipelines)?;
    plan::show(dir.as_deref(), &pipelines, None)
}

/// The checkpoints below a state directory; `None` if there never were any.
fn objects(dir: &Path) -> Outcome<Option<Arc<dyn ObjectStore>>> {
    if !dir.is_dir() {
        let shown = dir.display();
        return Err(Failure::invalid(format!(
            "there is no directory {shown}; give the --state-dir of a run"
        )));
    }
    Ok(existing_checkpoints(&dir.join(CHECKPOINTS))?)
}

/// The checkpoints of a pipeline, for somebody who does not write any.
fn reader(objects: Arc<dyn ObjectStore>, pipeline: &PipelineName) -> CheckpointStore {
    let (clock, nonces) = (Arc::new(SystemClock::new()), Arc::new(rand::random::<u128>));
    CheckpointStore::new(objects, pipeline, Generation(0), clock, nonces)
}

/// The checkpoints of a pipeline of a state directory that need not be there.
pub(super) fn store(dir: &Path, pipeline: &str) -> Outcome<Option<CheckpointStore>> {
    let objects = existing_checkpoints(&dir.join(CHECKPOINTS))?;
    Ok(objects.map(|objects| reader(objects, &PipelineName(pipeline.to_owned()))))
}

/// Every pipeline of a state directory.
async fn all(dir: &Path) -> Outcome<Vec<(String, CheckpointStore)>> {
    let Some(objects) = objects(dir)? else { return Ok(Vec::new()) };
    let names = checkpointed_pipelines(&*objects).await?;
    let store = |name: PipelineName| (name.0.clone(), reader(Arc::clone(&objects), &name));
    Ok(names.into_iter().map(store).collect())
}

/// One pipeline of a state directory.
async fn one(dir: &Path, pipeline: &str) -> Outcome<CheckpointStore> {
    let mut known = Vec::new();
    for (name, store) in all(dir).await? {
        if name == pipeline {
            return Ok(store);
        }
        known.push(format!("`{name}`"));
    }
    let (shown, known) = (dir.display(), known.join(", "));
    let known =
        if known.is_empty() { "none at all".to_owned() } else { format!("those of {known}") };
    Err(Failure::invalid(format!(
        "there are no checkpoints of pipeline `{pipeline}` in {shown}, but {known}"
    )))
}

/// The manifest of the checkpoint or savepoint that is asked for, or of the newest that can be read.
pub(super) async fn find(
    store: &CheckpointStore,
    wanted: Option<&RestoreFrom>,
) -> Outcome<Manifest> {
    let ids = store.manifests().await?;
    match wanted {
        Some(RestoreFrom::Savepoint(name)) => Ok(store.savepoint(name).await?),
        Some(RestoreFrom::Number(number)) if ids.contains(number) => {
            Ok(store.load(*number).await?)
        }
        Some(wanted) => Err(Failure::invalid(format!(
            "{wanted} is not there; `postrider state list` shows what is"
        ))),
        None => match ids.last() {
            Some(newest) => Ok(store.load(*newest).await?),
            None => Err(Failure::invalid("there is no checkpoint yet")),
        },
    }
}

/// Rows and bytes of the state that a checkpoint refers to.
fn size(manifest: &Manifest) -> (u64, u64) {
    let parts = manifest.checkpoint.operators.iter().flat_map(|operator| &operator.parts);
    parts.fold((0, 0), |(rows, bytes), part| {
        let dead = part.dead.as_ref().map_or(0, |dead| dead.bytes);
        (rows + part.rows, bytes + part.blob.bytes + dead)
    })
}
