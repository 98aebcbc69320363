//! `postrider state verify`: every file that a kept checkpoint or savepoint needs, each read once, and whether they are of this
//! directory's log.

use std::collections::{BTreeMap, HashSet};

use postrider_store::{BlobRef, CheckpointError, CheckpointStore, LogIdentity, Manifest};

use super::{all, one};
use crate::{
    args::VerifyStateArgs,
    columns::{Align, aligned},
    console::{self, bytes, counted},
    outcome::{Failure, Outcome},
};

/// What an object is.
const OK: &str = "ok";
const DAMAGED: &str = "damaged";
/// A checkpoint of another log.
const FOREIGN: &str = "foreign";

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
    let log = LogIdentity::of_directory(dir)?;
    let (mut read, mut damaged, mut foreign) = (0, 0, 0);
    for (name, store) in &pipelines {
        console::line(format!("pipeline {name}"));
        let checked = check(store, log).await?;
        read += checked.len() as u64;
        damaged += checked.iter().filter(|line| line[1] == DAMAGED).count() as u64;
        foreign += checked.iter().filter(|line| line[1] == FOREIGN).count() as u64;
        for line in aligned(&checked, &[Align::Left; 3]) {
            console::line(format!("  {line}"));
        }
    }
    match damaged {
        0 if foreign > 0 => Err(Failure::failed(format!(
            "{} of {} of another log: a run refuses them; give the --state-dir of that log, or move them away to start anew from \
             what this one has",
            foreign,
            counted(read, "object")
        ))),
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

/// One line an object: its name, what it is, and what is known.
async fn check(store: &CheckpointStore, log: Option<LogIdentity>) -> Outcome<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    let mut manifests = Vec::new();
    for name in names(store).await? {
        match load(store, &name).await {
            Ok(manifest) => {
                let (word, known) = match manifest.checkpoint.is_of(log) {
                    Ok(()) => (OK, needs(&manifest)),
                    Err(misfit) => (FOREIGN, misfit.to_string()),
                };
                lines.push(vec![name.shown(), word.to_owned(), known]);
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
            Ok(read) => lines.push(vec![format!("state/{file}"), OK.to_owned(), bytes(read)]),
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
    Ok(Some(vec![object, DAMAGED.to_owned(), format!("{reason}{of}")]))
}
