//! `postrider state verify`: every file that a kept checkpoint or savepoint needs, each read once.

use std::collections::{BTreeMap, HashSet};

use postrider_store::{BlobRef, CheckpointError, CheckpointStore, Manifest};

use super::{all, one};
use crate::{
    args::VerifyStateArgs,
    columns::{Align, aligned},
    console::{self, bytes, counted},
    outcome::{Failure, Outcome},
};

/// A checkpoint or savepoint, as it is named in messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Checkpoint(u64),
    Savepoint(String),
}

impl Name {
    fn shown(&self) -> String {
        match self {
            Self::Checkpoint(number) => format!("checkpoint {number}"),
            Self::Savepoint(name) => format!("savepoint {name}"),
        }
    }
}

pub(super) async fn run(args: &VerifyStateArgs) -> Outcome {
    let dir = &args.state_dir;
    let pipelines = match &args.pipeline {
        Some(name) => vec![(name.clone(), one(dir, name).await?)],
        None => all(dir).await?,
    };
    let (mut read, mut damaged) = (0, 0);
    for (name, store) in &pipelines {
        console::line(format!("pipeline {name}"));
        let checked = check(store).await?;
        read += checked.len() as u64;
        damaged += checked.iter().filter(|line| line[1] != "ok").count() as u64;
        for line in aligned(&checked, &[Align::Left; 3]) {
            console::line(format!("  {line}"));
        }
    }
    match damaged {
        0 => {
            console::note(&format!("{}: all intact", counted(read, "object")));
            Ok(())
        }
        damaged => Err(Failure::failed(format!(
            "{} of {} damaged; restore what is damaged from a copy: a run goes on from the newest checkpoint that is whole",
            damaged,
            counted(read, "object")
        ))),
    }
}

/// One line an object: its name, `ok` or `damaged`, and what is known.
async fn check(store: &CheckpointStore) -> Outcome<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    let mut manifests = Vec::new();
    for name in names(store).await? {
        match load(store, &name).await {
            Ok(manifest) => {
                lines.push(vec![name.shown(), "ok".to_owned(), needs(&manifest)]);
                manifests.push((name, manifest));
            }
            Err(error) => lines.extend(damage(store, name.shown(), &[name], error).await?),
        }
    }
    let mut files = BTreeMap::<&str, (HashSet<&BlobRef>, Vec<Name>)>::new();
    for (name, manifest) in &manifests {
        for blob in manifest.checkpoint.blobs() {
            let (blobs, needed_by) = files.entry(&blob.file).or_default();
            blobs.insert(blob);
            if needed_by.last() != Some(name) {
                needed_by.push(name.clone());
            }
        }
    }
    for (file, (blobs, needed_by)) in files {
        let blobs: Vec<_> = blobs.into_iter().collect();
        match store.check_file(file, &blobs).await {
            Ok(read) => lines.push(vec![format!("state/{file}"), "ok".to_owned(), bytes(read)]),
            Err(error) => {
                lines.extend(damage(store, format!("state/{file}"), &needed_by, error).await?);
            }
        }
    }
    Ok(lines)
}

async fn names(store: &CheckpointStore) -> Outcome<Vec<Name>> {
    let checkpoints = store.manifests().await?.into_iter().map(Name::Checkpoint);
    let savepoints = store.savepoints().await?.into_iter().map(Name::Savepoint);
    Ok(checkpoints.chain(savepoints).collect())
}

async fn load(store: &CheckpointStore, name: &Name) -> Result<Manifest, CheckpointError> {
    match name {
        Name::Checkpoint(number) => store.load(*number).await,
        Name::Savepoint(name) => store.savepoint(name).await,
    }
}

fn needs(manifest: &Manifest) -> String {
    let files: HashSet<_> = manifest.checkpoint.blobs().map(|blob| &blob.file).collect();
    counted(files.len() as u64, "file")
}

/// The line of a damaged object. None if a process that runs has given up all that needed it meanwhile.
async fn damage(
    store: &CheckpointStore,
    object: String,
    needed_by: &[Name],
    error: CheckpointError,
) -> Outcome<Option<Vec<String>>> {
    let reason = match error {
        CheckpointError::Damaged { reason, .. } => reason,
        CheckpointError::Savepoint { .. } => return Ok(None),
        error => return Err(error.into()),
    };
    let left = names(store).await?;
    let needed_by: Vec<_> = needed_by.iter().filter(|name| left.contains(name)).collect();
    if needed_by.is_empty() {
        return Ok(None);
    }
    let of: Vec<_> = needed_by.iter().map(|name| name.shown()).collect();
    let of = if of == [object.as_str()] { String::new() } else { format!(" ({})", of.join(", ")) };
    Ok(Some(vec![object, "damaged".to_owned(), format!("{reason}{of}")]))
}
